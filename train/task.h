// What the trainer needs to know of a network: its inputs, a sample, its loss, and how good it is.
#pragma once

#include <stdbool.h>

#include "libnpu/npu.h"
#include "models/net.h"
#include "train/face_set.h"
#include "train/loader.h"
#include "train/render/rng.h"

#define TASK_MAX_FOLDERS 32
#define TASK_MAX_FIGURES 32

struct task_input {
    const char *name;
    int rank;
    int64_t dim[3]; // of one sample
};

struct task_settings {
    const char *folders[TASK_MAX_FOLDERS]; // training data
    int folder_count;
    const char *judge_folder; // rendered test set, or NULL
    const char *landmarks;    // gaze_vit: weights whose own landmarks and pose the network shall learn with, or NULL
    int limit;                // pictures a rendered folder, 0 = all
    npu_dev *dev;
};

// A named number that tells how good the network is.
struct figure {
    char name[48];
    double value;
};
struct figures {
    struct figure list[TASK_MAX_FIGURES];
    int count;
};
void figures_add(struct figures *f, const char *name, double value);

struct task {
    const char *name; // of the network and its weight file
    const struct task_input *inputs;
    int input_count;
    int batch; // by default
    float lr, weight_decay;
    // Reads the data sets. message: FACE_SET_MESSAGE_SIZE.
    int (*open)(const struct task_settings *settings, void **ret_data, char *message);
    void (*close)(void *data);
    loader_fill_fn *fill; // user is the data
    // The training graph: inputs in the order above, with the batch as first dimension; returns the loss (a scalar).
    npu_val (*build)(struct net *net, const npu_val *inputs, int batch);
    // The deployed graph, of batch 1, for net_export.
    void (*build_deployed)(struct net *net);
    // Writes states that are not learned; may be NULL.
    int (*prepare)(npu_plan *plan);
    // Adjusts the deployed parameters, saved in `path`, by what the network does with the training data; may be NULL.
    int (*calibrate)(void *data, npu_dev *dev, const char *path, npu_plan *deployed, char *message);
    // How good the weights in `path` are on pictures that are held out.
    int (*judge)(void *data, npu_dev *dev, const char *path, struct figures *ret, char *message);
};

extern const struct task task_face_finder, task_landmarks, task_gaze_vit;
// NULL if there is none of this name.
const struct task *task_find(const char *name);
