/* bench_train.c - npu-bench --train: a step of gaze_vit's training on all tokens: forward, the loss of angles and their
 * sigma, gradients, AdamW with a limit to the gradient's norm, as gaze-train takes it. */
#include <errno.h>
#include <string.h>

#include "models/gaze_vit.h"
#include "models/tool/bench.h"

static npu_val input(struct bench_net *n, const char *name, int rank, const int64_t *dim)
{
    const npu_val v = npu_input(n->graph, name, NPU_F32, rank, dim);

    bench_note(n->in, &n->n_in, name, v);
    return v;
}

/* Kendall and Gal 2017 with Laplace's distribution: |error| / sigma + log sigma. */
static npu_val loss_of(npu_graph *g, npu_val angles, npu_val log_sigma, npu_val target)
{
    const npu_val error = npu_abs(g, npu_sub(g, angles, target));
    npu_val likely = npu_mul(g, error, npu_exp(g, npu_scale(g, log_sigma, -1, 0)));

    likely = npu_reduce(g, npu_add(g, likely, log_sigma), NPU_REDUCE_MEAN, 0);
    return npu_add(g, npu_scale(g, npu_l1(g, angles, target, NPU_NONE), 5.73f, 0), npu_scale(g, likely, 0.1f, 0));
}

int bench_train_build(const struct bench_args *a, struct bench_net *n)
{
    const struct gaze_vit_config *c = &gaze_vit_config;
    const struct npu_adamw_opts adamw = {
        .beta1 = 0.9f, .beta2 = 0.99f, .eps = 1e-8f, .weight_decay = 0.05f, .clip_norm = 2};
    const int64_t image[4] = {a->batch, GAZE_VIT_IMAGE_ROWS, GAZE_VIT_EYE_WIDTH_PX, 1},
                  pose[2] = {a->batch, GAZE_VIT_POSE}, angles[2] = {a->batch, 2};
    struct gaze_vit_values v;
    npu_val x, p, target, loss;

    if (net_init(&n->net, NPU_GRAPH_TRAIN | (a->precision == BENCH_BF16 ? NPU_GRAPH_MIXED : 0)) < 0)
        return bench_fail("out of memory");
    n->graph = n->net.graph;
    x = input(n, "image", 4, image);
    p = input(n, "pose", 2, pose);
    target = input(n, "angles", 2, angles);
    gaze_vit_build(&n->net, c, x, p, &v);
    loss = loss_of(n->graph, v.angles, v.log_sigma, target);
    npu_output(n->graph, "loss", loss);
    bench_note(n->out, &n->n_out, "loss", loss);
    if (npu_graph_backward(n->graph, loss) < 0 || npu_graph_adamw(n->graph, &adamw) < 0)
        return bench_fail("%s: %s", a->what, npu_graph_error(n->graph));
    return 0;
}

int bench_train_start(npu_plan *plan)
{
    const float rate = 1e-4f, step = 1000;
    int r = npu_plan_write(plan, "lr", &rate, sizeof rate);

    return r < 0 ? r : npu_plan_write(plan, "step", &step, sizeof step);
}
