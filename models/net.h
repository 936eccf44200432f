// Layers from which the networks are built, twice from one description: for training (batch norm with its statistics)
// and for use (batch norm folded into the convolution's weight and bias).
//
// A layer's parameters are named after it: <layer>.weight, <layer>.bias; while training, a convolution with batch norm
// has <layer>.weight and <layer>.bn.{gamma,beta,mean,var}. The net remembers what it made, so that net_export can turn
// trained parameters into deployed ones without knowing the network.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "libnpu/npu.h"

#define NET_MAX_TENSORS 256
#define NET_BN_EPS      1e-3f
#define NET_BN_MOMENTUM 0.02f

struct net_tensor {
    char name[NPU_MAX_NAME];
    size_t elements;
    bool trained; // a parameter, not a state
};

struct net_fold {
    char layer[NPU_MAX_NAME];
    size_t weights, channels;
};

struct net {
    npu_graph *graph;
    bool train;
    struct net_tensor tensors[NET_MAX_TENSORS]; // everything that a weight file holds or would hold
    int tensor_count;
    struct net_fold folds[NET_MAX_TENSORS / 4]; // convolutions with batch norm
    int fold_count;
};

// A new graph. -ENOMEM and other failures of npu_graph_new.
int net_init(struct net *net, unsigned flags); // enum npu_graph_flags
// Frees the graph; plans on it must be gone. An all-zero net is fine.
void net_clear(struct net *net);

struct net_conv {
    int channels; // of the output
    int kernel;   // square, odd; padded by kernel / 2 unless `valid`
    int stride;   // 0 means 1
    bool valid;   // no padding (patch embeddings)
    bool plain;   // bias and no batch norm
    enum npu_act act;
    npu_val residual; // added before the activation
};
// x [n, h, w, c] -> [n, oh, ow, channels].
npu_val net_conv(struct net *net, const char *layer, npu_val x, const struct net_conv *conv);

struct net_linear {
    int channels;
    enum npu_act act;
    npu_val residual; // added after the activation
    float weight_std; // 0: sqrt(2 / fan-in) with an activation, sqrt(1 / fan-in) without
    float bias;       // its starting value
};
// x [..., k] -> [..., channels].
npu_val net_linear(struct net *net, const char *layer, npu_val x, const struct net_linear *linear);
// Over the last axis, with <layer>.gamma and <layer>.beta.
npu_val net_layer_norm(struct net *net, const char *layer, npu_val x);
// A tensor that is neither trained nor computed (position codes); written by the caller after npu_plan_init.
npu_val net_state(struct net *net, const char *name, int rank, const int64_t *dim);

// Copies what `trained` (a plan of a training net) has learned into `deployed` (a plan of the same network built
// without training): batch norm goes into weight and bias. Both plans stay usable. Errors of npu_plan_read/write;
// -EINVAL when the nets differ; -ENOMEM.
int net_export(const struct net *train_net, npu_plan *trained, const struct net *deploy_net, npu_plan *deployed);
