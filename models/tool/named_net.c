// Opens one of the product's networks, with batch 1.
#include "models/tool/named_net.h"

#include <errno.h>
#include <string.h>

#include "models/face_finder.h"
#include "models/gaze_vit.h"
#include "models/landmarks.h"
#include "models/tool/net_by_name.h"

#define FINDER_WIDTH_PX  256
#define FINDER_HEIGHT_PX 192

const char *const named_net_names[NET_KINDS] = {"face_finder", "landmarks", "gaze_vit"};

int named_net_kind(const char *name, enum named_net_kind *ret_kind)
{
    for (int i = 0; i < NET_KINDS; i++) {
        if (!strcmp(name, named_net_names[i])) {
            *ret_kind = (enum named_net_kind)i;
            return 0;
        }
    }
    return -ENOENT;
}

size_t named_net_sample_elements(enum named_net_kind kind)
{
    static const size_t elements[NET_KINDS] = {FINDER_WIDTH_PX * FINDER_HEIGHT_PX,
                                               LANDMARKS_SIZE_PX * LANDMARKS_SIZE_PX, GAZE_VIT_PIXELS + GAZE_VIT_POSE};
    return elements[kind];
}

static void note_input(struct named_net *n, const char *name)
{
    npu_val v = npu_graph_find(n->net.graph, name);
    if (v <= 0)
        return;
    const struct npu_shape *s = npu_val_shape(n->net.graph, v);
    size_t elements = 1;
    for (int i = 0; i < s->rank; i++)
        elements *= (size_t)s->dim[i];
    n->input_elements[n->input_count] = elements;
    n->inputs[n->input_count++] = v;
}

int named_net_open(npu_dev *dev, enum named_net_kind kind, const char *path, struct named_net *ret_net, char *message)
{
    struct named_net n = {0};
    int r = net_by_name(&n.net, named_net_names[kind], 1);
    if (r >= 0) {
        note_input(&n, "image");
        note_input(&n, "pose");
        const struct npu_plan_opts keep = {.keep_values = true};
        r = model_plan_open_as(dev, n.net.graph, path, named_net_names[kind], &keep, &n.plan, message);
    }
    if (r < 0) {
        named_net_close(&n);
        return r;
    }
    *ret_net = n;
    return 0;
}

void named_net_close(struct named_net *n)
{
    npu_plan_free(n->plan);
    net_clear(&n->net);
    memset(n, 0, sizeof(*n));
}

int named_net_run(struct named_net *n, const float *sample)
{
    int r = 0;
    for (int i = 0; i < n->input_count && r >= 0; i++) {
        r = npu_plan_write_val(n->plan, n->inputs[i], sample, n->input_elements[i] * sizeof(float));
        sample += n->input_elements[i];
    }
    return r < 0 ? r : npu_plan_run(n->plan);
}
