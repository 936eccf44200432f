// The graph of gaze_vit: tokens, pose, encoder, bottleneck, head.
#include "models/gaze_vit.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define PATCH_PX 16
#define COLUMNS  (GAZE_VIT_EYE_WIDTH_PX / PATCH_PX)
#define ROWS     (GAZE_VIT_EYE_HEIGHT_PX / PATCH_PX) // of one eye
#define TOKENS   (2 * ROWS * COLUMNS)
#define EYE_SEEN 128 // numbers that the readout makes of one eye

const struct gaze_vit_config gaze_vit_config = {.width = 128, .heads = 4, .blocks = 3, .mlp_ratio = 2, .stem = true};

static npu_val conv(struct net *net, const char *layer, npu_val x, int channels, int stride, npu_val residual)
{
    return net_conv(
        net, layer, x,
        &(struct net_conv){
            .channels = channels, .kernel = 3, .stride = stride, .act = NPU_ACT_RELU, .residual = residual});
}

// Convolutions down to stride 16, the same for both eyes, with a residual pair at strides 4 and 8: few pictures teach
// them what an iris's edge is.
static npu_val stem(struct net *net, const struct gaze_vit_config *c, npu_val image, int64_t n)
{
    const int64_t eyes[4] = {2 * n, GAZE_VIT_EYE_HEIGHT_PX, GAZE_VIT_EYE_WIDTH_PX, 1};
    npu_val x = conv(net, "tokens.stem2", npu_reshape(net->graph, image, 4, eyes), 16, 2, NPU_NONE);
    x = conv(net, "tokens.stem4", x, 32, 2, NPU_NONE);
    x = conv(net, "tokens.stem4.b", conv(net, "tokens.stem4.a", x, 32, 1, NPU_NONE), 32, 1, x);
    x = conv(net, "tokens.stem8", x, 64, 2, NPU_NONE);
    x = conv(net, "tokens.stem8.b", conv(net, "tokens.stem8.a", x, 64, 1, NPU_NONE), 64, 1, x);
    return conv(net, "tokens.stem16", x, c->width, 2, NPU_NONE);
}

// The pixels of a patch in one row, and one linear map.
static npu_val patches(struct net *net, const struct gaze_vit_config *c, npu_val image, int64_t n)
{
    static const int order[5] = {0, 1, 3, 2, 4};
    const int64_t split[5] = {n, 2 * ROWS, PATCH_PX, COLUMNS, PATCH_PX}, flat[3] = {n, TOKENS, PATCH_PX * PATCH_PX};
    npu_val x = npu_permute(net->graph, npu_reshape(net->graph, image, 5, split), order);
    return net_linear(net, "tokens.patch", npu_reshape(net->graph, x, 3, flat),
                      &(struct net_linear){.channels = c->width});
}

npu_val gaze_vit_tokens(struct net *net, const struct gaze_vit_config *c, npu_val image)
{
    const struct npu_shape *s = npu_val_shape(net->graph, image);
    if (!s)
        return image;
    const int64_t n = s->dim[0], dim[3] = {n, TOKENS, c->width}, code[2] = {TOKENS, c->width};
    npu_val x = c->stem ? stem(net, c, image, n) : patches(net, c, image, n);
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

npu_val gaze_vit_eyes(struct net *net, npu_val encoded)
{
    const struct npu_shape *s = npu_val_shape(net->graph, encoded);
    if (!s)
        return encoded;
    const int64_t eyes[2] = {2 * s->dim[0], s->dim[1] / 2 * s->dim[2]};
    return net_linear(net, "bottleneck.eye", npu_reshape(net->graph, encoded, 2, eyes),
                      &(struct net_linear){.channels = EYE_SEEN, .act = NPU_ACT_GELU});
}

npu_val gaze_vit_bottleneck(struct net *net, npu_val eyes, npu_val pose)
{
    npu_graph *g = net->graph;
    const struct npu_shape *s = npu_val_shape(g, eyes);
    if (!s)
        return eyes;
    const int64_t both[2] = {s->dim[0] / 2, 2 * s->dim[1]};
    npu_val x = npu_concat(g, (npu_val[]){npu_reshape(g, eyes, 2, both), pose}, 2, 1);
    x = net_linear(net, "bottleneck.hidden1", x, &(struct net_linear){.channels = 256, .act = NPU_ACT_GELU});
    x = net_linear(net, "bottleneck.hidden2", x, &(struct net_linear){.channels = 128, .act = NPU_ACT_GELU});
    return net_linear(net, "bottleneck.feature", x, &(struct net_linear){.channels = GAZE_VIT_FEATURES});
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
    ret->eyes = gaze_vit_eyes(net, gaze_vit_encode(net, c, tokens));
    ret->feature = gaze_vit_bottleneck(net, ret->eyes, pose);
    ret->angles = gaze_vit_angles(net, ret->feature);
    ret->log_sigma = gaze_vit_log_sigma(net, ret->feature);
}

void gaze_vit_build_served(struct net *net, int batch, struct gaze_vit_values *ret)
{
    npu_graph *g = net->graph;
    const int64_t image[4] = {batch, GAZE_VIT_IMAGE_ROWS, GAZE_VIT_EYE_WIDTH_PX, 1}, pose[2] = {batch, GAZE_VIT_POSE};
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
