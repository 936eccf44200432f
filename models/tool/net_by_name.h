/* net_by_name.h - gazed's networks by name, as graphs. */
#ifndef MODELS_TOOL_NET_BY_NAME_H
#define MODELS_TOOL_NET_BY_NAME_H

#include "models/net.h"

/* gaze_vit, landmarks or face_finder (192 x 256) for `batch` pictures, with named inputs and outputs. -ENOENT: no such
 * network; the caller clears *net after success. */
int net_by_name(struct net *net, const char *name, int batch);

#endif
