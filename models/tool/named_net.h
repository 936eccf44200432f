// A network of the product by its name, ready to run with its values readable: for calibration and comparison.
#pragma once

#include "libnpu/npu.h"
#include "models/model_file.h"
#include "models/net.h"

enum named_net_kind { NET_FACE_FINDER, NET_LANDMARKS, NET_GAZE_VIT, NET_KINDS };
extern const char *const named_net_names[NET_KINDS];
// -ENOENT for another name.
int named_net_kind(const char *name, enum named_net_kind *ret_kind);

struct named_net {
    struct net net;
    npu_plan *plan;
    int input_count;
    npu_val inputs[2];
    size_t input_elements[2]; // all f32
};
// Elements of all inputs together: a sample.
size_t named_net_sample_elements(enum named_net_kind kind);
// Batch 1, with weights from `path`, f32 or quantised; every value can be read. message: MODEL_MESSAGE_SIZE.
int named_net_open(npu_dev *dev, enum named_net_kind kind, const char *path, struct named_net *ret_net, char *message);
void named_net_close(struct named_net *n); // an all-zero one is fine
// sample: the inputs one after the other.
int named_net_run(struct named_net *n, const float *sample);
