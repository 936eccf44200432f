// The graph of landmarks: a small residual network, 112 px down to 7 x 7, one hidden layer, five linear heads.
// About 55 million multiply-adds a face.
#include "models/landmarks.h"

static npu_val residual(struct net *net, const char *stage, npu_val x, int channels)
{
    char a[64], b[64];
    snprintf(a, sizeof(a), "%s.a", stage);
    snprintf(b, sizeof(b), "%s.b", stage);
    npu_val y = net_conv(net, a, x, &(struct net_conv){.channels = channels, .kernel = 3, .act = NPU_ACT_RELU});
    return net_conv(net, b, y,
                    &(struct net_conv){.channels = channels, .kernel = 3, .act = NPU_ACT_RELU, .residual = x});
}

static npu_val down(struct net *net, const char *layer, npu_val x, int channels)
{
    return net_conv(net, layer, x,
                    &(struct net_conv){.channels = channels, .kernel = 3, .stride = 2, .act = NPU_ACT_RELU});
}

static npu_val reshape(struct net *net, npu_val x, int rank, int64_t d1, int64_t d2)
{
    const struct npu_shape *s = npu_val_shape(net->graph, x);
    if (!s)
        return x;
    const int64_t dim[3] = {s->dim[0], d1, d2};
    return npu_reshape(net->graph, x, rank, dim);
}

// Smoothly into -6 .. 0, the same while training and in use, so that no point can run away with the loss.
static npu_val bounded(struct net *net, npu_val x)
{
    npu_graph *g = net->graph;
    return npu_scale(g, npu_tanh(g, npu_scale(g, x, 1 / 3.0f, 1)), 3, -3);
}

void landmarks_build(struct net *net, npu_val x, struct landmarks_values *ret)
{
    npu_val y = down(net, "s2", x, 16);
    y = residual(net, "s4.res", down(net, "s4", y, 32), 32);
    y = residual(net, "s8.res", down(net, "s8", y, 64), 64);
    y = residual(net, "s16.res", down(net, "s16", y, 128), 128);
    y = net_conv(net, "squeeze", y, &(struct net_conv){.channels = 48, .kernel = 1, .act = NPU_ACT_RELU});
    y = reshape(net, y, 2, -1, 0);
    npu_val h = net_linear(net, "hidden", y, &(struct net_linear){.channels = 256, .act = NPU_ACT_RELU});

    npu_val points =
        net_linear(net, "points", h, &(struct net_linear){.channels = 2 * FACE_POINTS, .weight_std = 0.01f});
    npu_val sigma =
        net_linear(net, "sigma", h, &(struct net_linear){.channels = FACE_POINTS, .weight_std = 0.01f, .bias = -2.5f});
    ret->points = reshape(net, points, 3, FACE_POINTS, 2);
    ret->log_sigma = bounded(net, reshape(net, sigma, 3, FACE_POINTS, 1));
    ret->rotation = net_linear(net, "rotation", h, &(struct net_linear){.channels = 6, .weight_std = 0.02f});
    ret->blink = net_linear(net, "blink", h, &(struct net_linear){.channels = 2, .weight_std = 0.02f});
    ret->face = net_linear(net, "face", h, &(struct net_linear){.channels = 1, .weight_std = 0.02f});
}

npu_val landmarks_build_served(struct net *net, int batch, struct landmarks_values *ret)
{
    npu_graph *g = net->graph;
    const int64_t dim[4] = {batch, LANDMARKS_SIZE_PX, LANDMARKS_SIZE_PX, 1};
    npu_val image = npu_input(g, "image", NPU_F32, 4, dim);
    landmarks_build(net, image, ret);
    npu_output(g, "points", ret->points);
    npu_output(g, "log_sigma", ret->log_sigma);
    npu_output(g, "rotation", ret->rotation);
    npu_output(g, "blink", ret->blink);
    npu_output(g, "face", ret->face);
    return image;
}
