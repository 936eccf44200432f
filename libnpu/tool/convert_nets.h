/* convert_nets.h - gazed's networks by name, as graphs. */
#ifndef NPU_TOOL_CONVERT_NETS_H
#define NPU_TOOL_CONVERT_NETS_H

#include "models/net.h"

/* gaze_vit, landmarks or face_finder (192 x 256) for `batch` pictures, with named inputs and outputs. -ENOENT: no such
 * network; the caller clears *net after success. */
int convert_build_net(struct net *net, const char *name, int batch);

#endif
