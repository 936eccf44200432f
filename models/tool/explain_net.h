// What npu-explain explains: one of gazed's networks or an ONNX file, as a plan with weights.
#pragma once

#include "libnpu/npu_onnx.h"
#include "models/net.h"

struct explain_net {
    npu_ctx *ctx;
    npu_dev *dev;
    struct net net;
    npu_onnx *onnx; // NULL for gazed's own networks
    npu_plan *plan;
};

struct explain_source {
    const char *model;   // gaze_vit, landmarks, face_finder or a file that ends in .onnx
    const char *weights; // safetensors, f32 or as npu-quantize writes them; NULL: random, or those of the ONNX file
    const char *device;
    int batch; // of an ONNX file: its symbolic dimensions
    bool profile;
};

// Opens all of it; parameters have their values. -ENOENT: no such network. On failure message (at least
// EXPLAIN_MESSAGE bytes) says what is wrong, and there is nothing to close.
#define EXPLAIN_MESSAGE 640
int explain_net_open(const struct explain_source *s, struct explain_net *ret_net, char *message);
void explain_net_close(struct explain_net *n);
