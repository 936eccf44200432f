/* convert_models.c - npu-convert --model: gazed's own networks as ONNX files. */
#include <errno.h>
#include <string.h>

#include "models/model_file.h"
#include "models/tool/convert.h"
#include "models/tool/net_by_name.h"

/* The graph has been built; ref serves: nothing is run. */
static int export_net(const struct convert_args *a, struct net *net, const char *weights, const char *path)
{
    char message[NPU_ONNX_MESSAGE] = "";
    npu_ctx *ctx = NULL;
    npu_dev *dev = NULL;
    npu_plan *plan = NULL;
    int r = npu_ctx_new("", &ctx);

    if (r == 0)
        r = npu_dev_open(ctx, "ref", &dev);
    if (r == 0)
        r = model_plan_open(dev, net->graph, weights, a->model, &plan, message);
    if (r == 0)
        r = npu_onnx_export(plan, a->model, path, message);
    npu_plan_free(plan);
    npu_dev_close(dev);
    npu_ctx_free(ctx);
    return r < 0 ? convert_fail("%s", message[0] ? message : strerror(-r)) : 0;
}

int convert_export_model(const struct convert_args *a, const char *weights, const char *path)
{
    struct net net;
    int r = net_by_name(&net, a->model, a->batch);

    if (r == -ENOENT) {
        convert_fail("no network \"%s\": gaze_vit, landmarks and face_finder are there", a->model);
        return 2;
    }
    if (r < 0)
        return convert_fail("%s", strerror(-r));
    r = export_net(a, &net, weights, path);
    net_clear(&net);
    return r;
}
