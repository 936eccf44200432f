/* net_by_name.c - gazed's networks as graphs by their names: the same inputs and outputs as in the service. */
#include "models/tool/net_by_name.h"

#include <errno.h>
#include <string.h>

#include "models/face_finder.h"
#include "models/gaze_vit.h"
#include "models/landmarks.h"

static void build_gaze_vit(struct net *net, int batch)
{
    const struct gaze_vit_config *c = &gaze_vit_config;
    npu_graph *g = net->graph;
    const int64_t image[4] = {batch, EYE_STRIP_HEIGHT_PX, EYE_STRIP_WIDTH_PX, 1}, pose[2] = {batch, GAZE_VIT_POSE};
    npu_val x = npu_input(g, "image", NPU_F32, 4, image), p = npu_input(g, "pose", NPU_F32, 2, pose), feature;

    x = gaze_vit_pose(net, c, gaze_vit_tokens(net, c, x), p);
    feature = gaze_vit_bottleneck(net, c, gaze_vit_encode(net, c, x));
    npu_output(g, "feature", feature);
    npu_output(g, "angles", gaze_vit_angles(net, feature));
    npu_output(g, "log_sigma", gaze_vit_log_sigma(net, feature));
}

static void build_landmarks(struct net *net, int batch)
{
    const int64_t dim[4] = {batch, LANDMARKS_SIZE_PX, LANDMARKS_SIZE_PX, 1};
    struct landmarks_values v;

    landmarks_build(net, npu_input(net->graph, "image", NPU_F32, 4, dim), &v);
    npu_output(net->graph, "points", v.points);
    npu_output(net->graph, "log_sigma", v.log_sigma);
    npu_output(net->graph, "rotation", v.rotation);
    npu_output(net->graph, "blink", v.blink);
    npu_output(net->graph, "face", v.face);
}

/* The size that face_finder_open takes by default. */
static void build_face_finder(struct net *net, int batch)
{
    const int64_t dim[4] = {batch, 192, 256, 1};
    npu_val levels[FACE_FINDER_LEVELS];

    face_finder_build(net, npu_input(net->graph, "image", NPU_F32, 4, dim), levels);
    npu_output(net->graph, "level8", levels[0]);
    npu_output(net->graph, "level32", levels[1]);
}

static const struct {
    const char *name;
    void (*build)(struct net *net, int batch);
} networks[] = {{"gaze_vit", build_gaze_vit}, {"landmarks", build_landmarks}, {"face_finder", build_face_finder}};

int net_by_name(struct net *net, const char *name, int batch)
{
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++)
        if (strcmp(networks[i].name, name) == 0) {
            const int r = net_init(net, false);

            if (r == 0)
                networks[i].build(net, batch);
            return r;
        }
    return -ENOENT;
}
