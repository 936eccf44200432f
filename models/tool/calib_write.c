#include "models/tool/calib_write.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libnpu/graph.h"
#include "models/tool/npy.h"

static int make_folder(const char *path)
{
    return mkdir(path, 0777) < 0 && errno != EEXIST ? -errno : 0;
}

static int write_sample(const struct named_net *net, float *sample, const char *folder)
{
    const npu_graph *g = net->net.graph;
    int r = make_folder(folder);
    for (int i = 0; i < net->input_count && r >= 0; i++) {
        struct npu_tensor t = {.dtype = NPU_F32, .shape = *npu_val_shape(g, net->inputs[i]), .data = sample};
        char *path = npy_array_path(folder, npu_value_of(g, net->inputs[i])->name);
        r = path ? npy_write(path, &t) : -ENOMEM;
        free(path);
        sample += net->input_elements[i];
    }
    return r;
}

int calib_write(const struct calib_set *set, const struct named_net *net, const char *folder, char *message)
{
    int r = make_folder(folder);
    for (int i = 0; i < set->count && r >= 0; i++) {
        char path[PATH_MAX];
        r = snprintf(path, sizeof(path), "%s/%d", folder, i) < (int)sizeof(path) ? 0 : -ENAMETOOLONG;
        if (r >= 0)
            r = write_sample(net, set->samples[i], path);
    }
    if (r < 0)
        snprintf(message, MODEL_MESSAGE_SIZE, "%.250s: %s", folder, strerror(-r));
    return r;
}
