// The graph of gaze_vit: tokens, pose, encoder, bottleneck, head.
#include "models/gaze_vit.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define PATCH_WIDTH_PX  16
#define PATCH_HEIGHT_PX 8
#define TOKENS          ((EYE_STRIP_WIDTH_PX / PATCH_WIDTH_PX) * (EYE_STRIP_HEIGHT_PX / PATCH_HEIGHT_PX))

const struct gaze_vit_config gaze_vit_config = {.width = 128, .heads = 4, .blocks = 4, .mlp_ratio = 2, .stem = true};

static npu_val conv(struct net *net, const char *layer, npu_val x, int channels, int stride, npu_val residual)
{
    return net_conv(
        net, layer, x,
        &(struct net_conv){
            .channels = channels, .kernel = 3, .stride = stride, .act = NPU_ACT_RELU, .residual = residual});
}

// Convolutions down to stride 8 with a residual pair at strides 4 and 8: few pictures teach them what an iris's edge
// is. Two neighbours of a row, with half the width each, then make one token.
static npu_val stem(struct net *net, const struct gaze_vit_config *c, npu_val image)
{
    npu_val x = conv(net, "tokens.stem2", image, 24, 2, NPU_NONE);
    x = conv(net, "tokens.stem4", x, 48, 2, NPU_NONE);
    x = conv(net, "tokens.stem4.b", conv(net, "tokens.stem4.a", x, 48, 1, NPU_NONE), 48, 1, x);
    x = conv(net, "tokens.stem8", x, c->width / 2, 2, NPU_NONE);
    return conv(net, "tokens.stem8.b", conv(net, "tokens.stem8.a", x, c->width / 2, 1, NPU_NONE), c->width / 2, 1, x);
}

// The pixels of a patch in one row, and one linear map.
static npu_val patches(struct net *net, const struct gaze_vit_config *c, npu_val image)
{
    static const int order[5] = {0, 1, 3, 2, 4};
    const struct npu_shape *s = npu_val_shape(net->graph, image);
    if (!s)
        return image;
    const int64_t split[5] = {s->dim[0], EYE_STRIP_HEIGHT_PX / PATCH_HEIGHT_PX, PATCH_HEIGHT_PX,
                              EYE_STRIP_WIDTH_PX / PATCH_WIDTH_PX, PATCH_WIDTH_PX};
    const int64_t flat[3] = {s->dim[0], TOKENS, PATCH_HEIGHT_PX * PATCH_WIDTH_PX};
    npu_val x = npu_permute(net->graph, npu_reshape(net->graph, image, 5, split), order);
    return net_linear(net, "tokens.patch", npu_reshape(net->graph, x, 3, flat),
                      &(struct net_linear){.channels = c->width});
}

npu_val gaze_vit_tokens(struct net *net, const struct gaze_vit_config *c, npu_val image)
{
    npu_val x = c->stem ? stem(net, c, image) : patches(net, c, image);
    const struct npu_shape *s = npu_val_shape(net->graph, x);
    if (!s)
        return x;
    const int64_t dim[3] = {s->dim[0], TOKENS, c->width}, code[2] = {TOKENS, c->width};
    x = npu_reshape(net->graph, x, 3, dim);
    return npu_add(net->graph, x, net_state(net, "tokens.position", 2, code));
}

npu_val gaze_vit_pose(struct net *net, const struct gaze_vit_config *c, npu_val tokens, npu_val pose)
{
    npu_val h = net_linear(net, "pose.hidden", pose, &(struct net_linear){.channels = 64, .act = NPU_ACT_GELU});
    h = net_linear(net, "pose.out", h, &(struct net_linear){.channels = c->width});
    const struct npu_shape *s = npu_val_shape(net->graph, h);
    if (!s)
        return h;
    const int64_t dim[3] = {s->dim[0], 1, c->width};
    return npu_add(net->graph, tokens, npu_reshape(net->graph, h, 3, dim));
}

// One pre-norm block: attention and a two-layer perceptron, each added to what came in.
static npu_val block(struct net *net, const struct gaze_vit_config *c, int index, npu_val x)
{
    char layer[6][32];
    static const char *const parts[6] = {"norm1", "qkv", "out", "norm2", "mlp1", "mlp2"};
    for (int i = 0; i < 6; i++)
        snprintf(layer[i], sizeof(layer[i]), "encoder.%d.%s", index, parts[i]);
    npu_val h = net_layer_norm(net, layer[0], x);
    h = net_linear(net, layer[1], h, &(struct net_linear){.channels = 3 * c->width});
    h = npu_attention(net->graph, h, c->heads);
    x = net_linear(net, layer[2], h, &(struct net_linear){.channels = c->width, .weight_std = 0.03f, .residual = x});
    h = net_layer_norm(net, layer[3], x);
    h = net_linear(net, layer[4], h, &(struct net_linear){.channels = c->mlp_ratio * c->width, .act = NPU_ACT_GELU});
    return net_linear(net, layer[5], h, &(struct net_linear){.channels = c->width, .weight_std = 0.03f, .residual = x});
}

npu_val gaze_vit_encode(struct net *net, const struct gaze_vit_config *c, npu_val tokens)
{
    npu_val x = tokens;
    for (int i = 0; i < c->blocks; i++)
        x = block(net, c, i, x);
    return net_layer_norm(net, "encoder.norm", x);
}

npu_val gaze_vit_bottleneck(struct net *net, const struct gaze_vit_config *c, npu_val encoded)
{
    (void)c;
    npu_val mean = npu_reduce(net->graph, encoded, NPU_REDUCE_MEAN, 1u << 1);
    return net_linear(net, "bottleneck", mean, &(struct net_linear){.channels = GAZE_VIT_FEATURES});
}

npu_val gaze_vit_angles(struct net *net, npu_val feature)
{
    return net_linear(net, "head", feature, &(struct net_linear){.channels = 2, .weight_std = 0.1f});
}

npu_val gaze_vit_log_sigma(struct net *net, npu_val feature)
{
    return net_linear(net, "sigma", feature, &(struct net_linear){.channels = 1, .weight_std = 0.02f, .bias = -2});
}

void gaze_vit_build(struct net *net, const struct gaze_vit_config *c, npu_val image, npu_val pose,
                    struct gaze_vit_values *ret)
{
    npu_val tokens = gaze_vit_pose(net, c, gaze_vit_tokens(net, c, image), pose);
    ret->image = image;
    ret->pose = pose;
    ret->encoded = gaze_vit_encode(net, c, tokens);
    ret->feature = gaze_vit_bottleneck(net, c, ret->encoded);
    ret->angles = gaze_vit_angles(net, ret->feature);
    ret->log_sigma = gaze_vit_log_sigma(net, ret->feature);
}

void gaze_vit_build_served(struct net *net, int batch, struct gaze_vit_values *ret)
{
    npu_graph *g = net->graph;
    const int64_t image[4] = {batch, EYE_STRIP_HEIGHT_PX, EYE_STRIP_WIDTH_PX, 1}, pose[2] = {batch, GAZE_VIT_POSE};
    npu_val in = npu_input(g, "image", NPU_F32, 4, image);
    gaze_vit_build(net, &gaze_vit_config, in, npu_input(g, "pose", NPU_F32, 2, pose), ret);
    npu_output(g, "feature", ret->feature);
    npu_output(g, "angles", ret->angles);
    npu_output(g, "log_sigma", ret->log_sigma);
}

// Vaswani et al. 2017: sin and cos of position / 10000^(2 i / width), one after the other.
int gaze_vit_write_positions(npu_plan *plan, const struct gaze_vit_config *c)
{
    size_t size = sizeof(float) * TOKENS * (size_t)c->width;
    float *code = malloc(size);
    if (!code)
        return -ENOMEM;
    for (int t = 0; t < TOKENS; t++) {
        for (int i = 0; i < c->width; i++) {
            double angle = t / pow(10000, (double)(i / 2 * 2) / c->width);
            code[t * c->width + i] = (float)(i % 2 ? cos(angle) : sin(angle));
        }
    }
    int r = npu_plan_write(plan, "tokens.position", code, size);
    free(code);
    return r;
}
