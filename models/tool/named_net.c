// Builds the product's networks as their own files do, with batch 1.
#include "models/tool/named_net.h"

#include <errno.h>
#include <string.h>

#include "models/face_finder.h"
#include "models/gaze_vit.h"
#include "models/landmarks.h"

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

static void add_input(struct named_net *n, const char *name, int rank, const int64_t *dim)
{
    size_t elements = 1;
    for (int i = 0; i < rank; i++)
        elements *= (size_t)dim[i];
    n->input_elements[n->input_count] = elements;
    n->inputs[n->input_count++] = npu_input(n->net.graph, name, NPU_F32, rank, dim);
}

static void build_face_finder(struct named_net *n)
{
    const int64_t dim[4] = {1, FINDER_HEIGHT_PX, FINDER_WIDTH_PX, 1};
    npu_val levels[FACE_FINDER_LEVELS];
    add_input(n, "image", 4, dim);
    face_finder_build(&n->net, n->inputs[0], levels);
    npu_output(n->net.graph, "level8", levels[0]);
    npu_output(n->net.graph, "level32", levels[1]);
}

static void build_landmarks(struct named_net *n)
{
    const int64_t dim[4] = {1, LANDMARKS_SIZE_PX, LANDMARKS_SIZE_PX, 1};
    struct landmarks_values v;
    add_input(n, "image", 4, dim);
    landmarks_build(&n->net, n->inputs[0], &v);
    npu_output(n->net.graph, "points", v.points);
    npu_output(n->net.graph, "log_sigma", v.log_sigma);
    npu_output(n->net.graph, "rotation", v.rotation);
    npu_output(n->net.graph, "blink", v.blink);
    npu_output(n->net.graph, "face", v.face);
}

static void build_gaze_vit(struct named_net *n)
{
    const struct gaze_vit_config *c = &gaze_vit_config;
    const int64_t image[4] = {1, EYE_STRIP_HEIGHT_PX, EYE_STRIP_WIDTH_PX, 1}, pose[2] = {1, GAZE_VIT_POSE};
    add_input(n, "image", 4, image);
    add_input(n, "pose", 2, pose);
    npu_val x = gaze_vit_pose(&n->net, c, gaze_vit_tokens(&n->net, c, n->inputs[0]), n->inputs[1]);
    npu_val feature = gaze_vit_bottleneck(&n->net, c, gaze_vit_encode(&n->net, c, x));
    npu_output(n->net.graph, "feature", feature);
    npu_output(n->net.graph, "angles", gaze_vit_angles(&n->net, feature));
    npu_output(n->net.graph, "log_sigma", gaze_vit_log_sigma(&n->net, feature));
}

int named_net_open(npu_dev *dev, enum named_net_kind kind, const char *path, struct named_net *ret_net, char *message)
{
    static void (*const build[NET_KINDS])(struct named_net *) = {build_face_finder, build_landmarks, build_gaze_vit};
    struct named_net n = {0};
    int r = net_init(&n.net, false);
    if (r >= 0) {
        build[kind](&n);
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
