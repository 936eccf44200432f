// Makes a plan of a network by name or of an ONNX file, with weights from a file where one is given.
#include "models/tool/explain_net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "models/model_file.h"
#include "models/tool/net_by_name.h"

static bool is_onnx(const char *model)
{
    size_t n = strlen(model);
    return n > 5 && strcmp(model + n - 5, ".onnx") == 0;
}

static int say(char *message, int r, const char *what, const char *why)
{
    snprintf(message, EXPLAIN_MESSAGE, "%.120s: %.500s", what, *why ? why : strerror(-r));
    return r;
}

static int build(const struct explain_source *s, struct explain_net *n, npu_graph **ret_graph, char *message)
{
    if (!is_onnx(s->model)) {
        int r = net_by_name(&n->net, s->model, s->batch);
        if (r < 0)
            return say(message, r, s->model,
                       r == -ENOENT ? "no such network; there are gaze_vit, landmarks, face_finder and files ending in "
                                      ".onnx"
                                    : "");
        *ret_graph = n->net.graph;
        return 0;
    }
    const struct npu_onnx_dim batch = {NULL, s->batch};
    const struct npu_onnx_opts options = {.dims = &batch, .n_dims = 1};
    char why[NPU_ONNX_MESSAGE] = "";
    int r = npu_onnx_import(s->model, &options, &n->onnx, why);
    if (r < 0) { // of files that can't be read the text begins with the name
        const bool named = strncmp(why, s->model, strlen(s->model)) == 0;
        r = r == -ENOENT ? -EINVAL : r;
        return named ? say(message, r, "can't be imported", why) : say(message, r, s->model, why);
    }
    *ret_graph = npu_onnx_graph(n->onnx);
    return 0;
}

// The parameters' values: from the weight file, the ONNX file, or random.
static int make_plan(const struct explain_source *s, struct explain_net *n, npu_graph *graph, char *message)
{
    const struct npu_plan_opts options = {.profile = s->profile};
    if (s->weights) {
        int r = model_plan_open_as(n->dev, graph, s->weights, s->model, &options, &n->plan, message);
        return r == -ENOENT ? -EINVAL : r;
    }
    int r = npu_plan_new(n->dev, graph, &options, &n->plan);
    if (r < 0)
        return say(message, r, s->model, npu_graph_status(graph) < 0 ? npu_graph_error(graph) : npu_ctx_error(n->ctx));
    r = n->onnx ? npu_onnx_load(n->onnx, n->plan) : npu_plan_init(n->plan, 1);
    return r < 0 ? say(message, r, s->model, npu_plan_error(n->plan)) : 0;
}

static int open_all(const struct explain_source *s, struct explain_net *n, char *message)
{
    npu_graph *graph = NULL;
    int r = build(s, n, &graph, message);
    if (r < 0)
        return r;
    r = npu_ctx_new(NULL, &n->ctx);
    if (r < 0)
        return say(message, r, s->model, "");
    if (npu_dev_open(n->ctx, s->device, &n->dev) < 0)
        return say(message, -ENODEV, s->device, npu_ctx_error(n->ctx));
    return make_plan(s, n, graph, message);
}

int explain_net_open(const struct explain_source *s, struct explain_net *ret_net, char *message)
{
    _Static_assert(EXPLAIN_MESSAGE >= MODEL_MESSAGE_SIZE, "a message of model_plan_open_as");
    struct explain_net n = {0};
    int r = open_all(s, &n, message);
    if (r < 0)
        explain_net_close(&n);
    else
        *ret_net = n;
    return r;
}

void explain_net_close(struct explain_net *n)
{
    npu_plan_free(n->plan);
    npu_dev_close(n->dev);
    if (n->onnx)
        npu_onnx_free(n->onnx);
    else if (n->net.graph)
        net_clear(&n->net);
    npu_ctx_free(n->ctx);
    memset(n, 0, sizeof(*n));
}
