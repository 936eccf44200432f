/* net_by_name.c - gazed's networks as graphs by their names: the same inputs and outputs as in the service. */
#include "models/tool/net_by_name.h"

#include <errno.h>
#include <string.h>

#include "models/face_finder.h"
#include "models/gaze_vit.h"
#include "models/landmarks.h"

static void build_gaze_vit(struct net *net, int batch)
{
    struct gaze_vit_values v;

    gaze_vit_build_served(net, batch, &v);
}

static void build_landmarks(struct net *net, int batch)
{
    struct landmarks_values v;

    landmarks_build_served(net, batch, &v);
}

/* The size that face_finder_open takes by default. */
static void build_face_finder(struct net *net, int batch)
{
    npu_val levels[FACE_FINDER_LEVELS];

    face_finder_build_served(net, batch, 256, 192, levels);
}

static const struct {
    const char *name;
    void (*build)(struct net *net, int batch);
} networks[] = {{"gaze_vit", build_gaze_vit}, {"landmarks", build_landmarks}, {"face_finder", build_face_finder}};

int net_by_name(struct net *net, const char *name, int batch)
{
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++)
        if (strcmp(networks[i].name, name) == 0) {
            const int r = net_init(net, 0);

            if (r == 0)
                networks[i].build(net, batch);
            return r;
        }
    return -ENOENT;
}
