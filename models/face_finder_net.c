// The graph of face_finder: a plain convolutional trunk down to stride 32, one step back up to stride 8, two heads.
// About 95 million multiply-adds at 256 x 192.
#include "models/face_finder.h"

#include <stdio.h>

const struct face_finder_level face_finder_levels[FACE_FINDER_LEVELS] = {
    {.stride_px = 8, .unit_px = 12, .min_px = 0, .max_px = 56},
    {.stride_px = 32, .unit_px = 48, .min_px = 44, .max_px = 1e9f},
};

static npu_val conv(struct net *net, const char *layer, npu_val x, int channels, int kernel, int stride)
{
    return net_conv(net, layer, x,
                    &(struct net_conv){.channels = channels, .kernel = kernel, .stride = stride, .act = NPU_ACT_RELU});
}

// Two convolutions round which the input passes.
static npu_val residual(struct net *net, const char *stage, npu_val x, int channels)
{
    char a[64], b[64];
    snprintf(a, sizeof(a), "%s.a", stage);
    snprintf(b, sizeof(b), "%s.b", stage);
    npu_val y = conv(net, a, x, channels, 3, 1);
    return net_conv(net, b, y,
                    &(struct net_conv){.channels = channels, .kernel = 3, .act = NPU_ACT_RELU, .residual = x});
}

static npu_val head(struct net *net, const char *layer, npu_val x)
{
    return net_conv(net, layer, x, &(struct net_conv){.channels = FACE_FINDER_CHANNELS, .kernel = 1, .plain = true});
}

void face_finder_build(struct net *net, npu_val x, npu_val ret_levels[FACE_FINDER_LEVELS])
{
    npu_val s2 = conv(net, "s2", x, 16, 3, 2);
    npu_val s4 = conv(net, "s4", s2, 24, 3, 2);
    npu_val s8 = residual(net, "s8.res", conv(net, "s8", s4, 40, 3, 2), 40);
    npu_val s16 = residual(net, "s16.res", conv(net, "s16", s8, 64, 3, 2), 64);
    npu_val s32 = residual(net, "s32.res", conv(net, "s32", s16, 96, 3, 2), 96);
    npu_val deep = residual(net, "s32.deep", s32, 96);

    npu_val up = conv(net, "up.lateral", deep, 40, 1, 1);
    const struct npu_shape *s = npu_val_shape(net->graph, s8);
    npu_val wide = s ? npu_resize(net->graph, up, s->dim[1], s->dim[2], NPU_RESIZE_NEAREST) : s8;
    npu_val mid = conv(net, "up.mid", s16, 40, 1, 1);
    npu_val near = s ? npu_resize(net->graph, mid, s->dim[1], s->dim[2], NPU_RESIZE_NEAREST) : s8;
    npu_val fine = npu_add(net->graph, npu_add(net->graph, s8, near), wide);
    fine = conv(net, "up.mix", fine, 40, 3, 1);

    ret_levels[0] = head(net, "head8", fine);
    ret_levels[1] = head(net, "head32", conv(net, "head32.mix", deep, 96, 3, 1));
}

npu_val face_finder_build_served(struct net *net, int batch, int width_px, int height_px,
                                 npu_val ret_levels[FACE_FINDER_LEVELS])
{
    static const char *const names[FACE_FINDER_LEVELS] = {"level8", "level32"};
    const int64_t dim[4] = {batch, height_px, width_px, 1};
    npu_val image = npu_input(net->graph, "image", NPU_F32, 4, dim);
    face_finder_build(net, image, ret_levels);
    for (int i = 0; i < FACE_FINDER_LEVELS; i++)
        npu_output(net->graph, names[i], ret_levels[i]);
    return image;
}
