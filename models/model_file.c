// Finds a network's weight file and makes a plan with it.
#include "models/model_file.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "libnpu/quant.h"

#define SAY(message, ...)                                                                                              \
    do {                                                                                                               \
        if (message)                                                                                                   \
            snprintf(message, MODEL_MESSAGE_SIZE, __VA_ARGS__);                                                        \
    } while (0)

static int find_file(const char *path, const char *name, char file[PATH_MAX], char *message)
{
    struct stat st;
    int n = snprintf(file, PATH_MAX, "%s", path);
    if (n < PATH_MAX && stat(file, &st) >= 0 && S_ISDIR(st.st_mode))
        n = snprintf(file, PATH_MAX, "%s/%s.safetensors", path, name);
    if (n >= PATH_MAX) {
        SAY(message, "the path of the %s weights is too long", name);
        return -ENAMETOOLONG;
    }
    if (stat(file, &st) < 0) {
        int r = -errno;
        SAY(message, "the %s weights can't be read: %.250s: %s", name, file, strerror(-r));
        return r;
    }
    return 0;
}

int model_plan_open(npu_dev *dev, npu_graph *graph, const char *path, const char *name, npu_plan **ret_plan,
                    char *message)
{
    return model_plan_open_as(dev, graph, path, name, NULL, ret_plan, message);
}

int model_plan_open_as(npu_dev *dev, npu_graph *graph, const char *path, const char *name,
                       const struct npu_plan_opts *options, npu_plan **ret_plan, char *message)
{
    char file[PATH_MAX], reason[256] = "";
    int r = find_file(path, name, file, message);
    if (r < 0)
        return r;
    if (npu_graph_status(graph) == 0)
        r = npu_graph_quantise_as(graph, file, reason, sizeof(reason));
    if (r < 0) {
        SAY(message, "the %s weights don't fit: %.200s: %.150s", name, file, *reason ? reason : strerror(-r));
        return r;
    }
    npu_plan *plan = NULL;
    r = npu_plan_new(dev, graph, options, &plan);
    if (r < 0) {
        const char *why = npu_graph_error(graph);
        char text[256];
        npu_dev_error(dev, text, sizeof(text));
        SAY(message, "no plan of %s: %.250s", name, *why ? why : text[0] ? text : strerror(-r));
        return r;
    }
    r = npu_plan_load(plan, file, false);
    if (r < 0) {
        const char *why = npu_plan_error(plan);
        SAY(message, "the %s weights don't fit: %.300s", name, *why ? why : strerror(-r)); // with the file's name
        npu_plan_free(plan);
        return r;
    }
    *ret_plan = plan;
    return 0;
}
