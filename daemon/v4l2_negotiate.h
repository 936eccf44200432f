// From a V4L2 device node to an agreed format: capabilities, enumeration, ranking, setting and reading back.
#pragma once

#include "daemon/source.h"
#include "daemon/v4l2_rank.h"
#include "daemon/v4l2_sys.h"

// Limits on what a driver can make us enumerate.
#define V4L2_MAX_FORMATS 64
#define V4L2_MAX_OFFERS  1024

struct v4l2_agreed {
    uint32_t fourcc;
    enum frame_format format;
    int width, height, stride; // stride 0 for JPEG
    size_t image_size;         // the driver's largest frame in bytes
    double fps;                // as read back; 0 = unknown
};

// ioctl that goes on after EINTR: 0 or -errno.
int v4l2_call(const struct v4l2_sys *sys, int fd, unsigned long request, void *arg);

// 0 if the node captures video by streaming; -ENODEV with a message if it is something else or gone.
int v4l2_check_capture(const struct v4l2_sys *sys, int fd, const char *path, char *message);

// All offers of the device that v4l2_rank may choose among, at most `cap`; frame sizes that come in steps are offered
// at the wish, clamped. Returns the count (0: no format of ours) or -errno.
int v4l2_enumerate(const struct v4l2_sys *sys, int fd, const struct v4l2_wish *wish, struct v4l2_offer *offers,
                   int cap);

// Sets one offer and reads back what the driver made of it. -EBUSY: another program streams; -EINVAL: the driver turned
// it into something unusable (try the next offer); other -errno.
int v4l2_apply(const struct v4l2_sys *sys, int fd, const struct v4l2_offer *offer, struct v4l2_agreed *ret_agreed);

// "MJPG" from a fourcc; text needs 5 bytes; unprintable bytes become '?'.
void v4l2_fourcc_text(uint32_t fourcc, char *text);
