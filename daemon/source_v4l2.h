// The V4L2 camera as a source.
#pragma once

#include "daemon/source.h"
#include "daemon/v4l2_sys.h"

// Opens path (NULL: the first of /dev/video0../dev/video63 that captures). sys NULL: the kernel's calls, and libv4l2's
// when the camera has no format of ours. Errors and message as source_open.
int source_v4l2_open(const char *path, const struct source_settings *settings, const struct v4l2_sys *sys,
                     struct source **ret_source, char message[SOURCE_MESSAGE_SIZE]);
