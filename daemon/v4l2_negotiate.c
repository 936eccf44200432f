// Format negotiation with a V4L2 driver; nothing a driver says is believed before it is read back.
#include "daemon/v4l2_negotiate.h"

#include <errno.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <string.h>

int v4l2_call(const struct v4l2_sys *sys, int fd, unsigned long request, void *arg)
{
    int r;
    do
        r = sys->ioctl(sys->userdata, fd, request, arg);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

void v4l2_fourcc_text(uint32_t fourcc, char *text)
{
    for (int i = 0; i < 4; i++) {
        char c = (char)(fourcc >> (8 * i));
        text[i] = c >= ' ' && c <= '~' ? c : '?';
    }
    text[4] = 0;
    for (int i = 3; i > 0 && text[i] == ' '; i--)
        text[i] = 0;
}

int v4l2_check_capture(const struct v4l2_sys *sys, int fd, const char *path, char *message)
{
    struct v4l2_capability cap = {0};
    int r = v4l2_call(sys, fd, VIDIOC_QUERYCAP, &cap);
    if (r < 0) {
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s is not a V4L2 device (%s)", path, strerror(-r));
        return -ENODEV;
    }
    uint32_t can = cap.capabilities & V4L2_CAP_DEVICE_CAPS ? cap.device_caps : cap.capabilities;
    if (!(can & V4L2_CAP_VIDEO_CAPTURE)) {
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s (%.32s) does not capture video%s", path, (const char *)cap.card,
                 can & V4L2_CAP_VIDEO_CAPTURE_MPLANE ? " in single-planar form, the only one supported"
                                                     : ": a metadata or output node; try the next /dev/video*");
        return -ENODEV;
    }
    if (!(can & V4L2_CAP_STREAMING)) {
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s (%.32s) can't stream into mapped buffers", path,
                 (const char *)cap.card);
        return -ENODEV;
    }
    return 0;
}

static int clamp_step(int wish, uint32_t low, uint32_t high, uint32_t step)
{
    if (wish <= (int)low || high < low)
        return (int)low;
    uint32_t v = (uint32_t)wish > high ? high : (uint32_t)wish;
    return (int)(low + (step > 1 ? (v - low) / step * step : v - low));
}

static double fraction_fps(struct v4l2_fract f)
{
    return f.numerator ? (double)f.denominator / f.numerator : 0;
}

// Appends the offers of one format and size, one an interval.
static int add_intervals(const struct v4l2_sys *sys, int fd, struct v4l2_offer offer, const struct v4l2_wish *wish,
                         struct v4l2_offer *offers, int count, int cap)
{
    for (uint32_t i = 0; i < V4L2_MAX_FORMATS && count < cap; i++) {
        struct v4l2_frmivalenum e = {
            .index = i, .pixel_format = offer.fourcc, .width = (uint32_t)offer.width, .height = (uint32_t)offer.height};
        if (v4l2_call(sys, fd, VIDIOC_ENUM_FRAMEINTERVALS, &e) < 0) {
            if (i == 0)
                offers[count++] = offer; // the driver doesn't say: rate unknown
            break;
        }
        if (e.type == V4L2_FRMIVAL_TYPE_DISCRETE) {
            offer.fps = fraction_fps(e.discrete);
        } else {
            double most = fraction_fps(e.stepwise.min), least = fraction_fps(e.stepwise.max);
            offer.fps = wish->fps > most ? most : wish->fps < least ? least : wish->fps;
        }
        offers[count++] = offer;
        if (e.type != V4L2_FRMIVAL_TYPE_DISCRETE)
            break;
    }
    return count;
}

static int add_sizes(const struct v4l2_sys *sys, int fd, uint32_t fourcc, const struct v4l2_wish *wish,
                     struct v4l2_offer *offers, int count, int cap)
{
    for (uint32_t i = 0; i < V4L2_MAX_OFFERS && count < cap; i++) {
        struct v4l2_frmsizeenum e = {.index = i, .pixel_format = fourcc};
        struct v4l2_offer offer = {.fourcc = fourcc, .width = wish->width, .height = wish->height};
        if (v4l2_call(sys, fd, VIDIOC_ENUM_FRAMESIZES, &e) < 0) {
            if (i == 0)
                count = add_intervals(sys, fd, offer, wish, offers, count, cap);
            break;
        }
        bool discrete = e.type == V4L2_FRMSIZE_TYPE_DISCRETE;
        if (discrete) {
            offer.width = (int)e.discrete.width;
            offer.height = (int)e.discrete.height;
        } else {
            offer.width = clamp_step(wish->width, e.stepwise.min_width, e.stepwise.max_width, e.stepwise.step_width);
            offer.height =
                clamp_step(wish->height, e.stepwise.min_height, e.stepwise.max_height, e.stepwise.step_height);
        }
        if (offer.width > 0 && offer.width <= SOURCE_MAX_WIDTH_PX && offer.height > 0 &&
            offer.height <= SOURCE_MAX_HEIGHT_PX)
            count = add_intervals(sys, fd, offer, wish, offers, count, cap);
        if (!discrete)
            break;
    }
    return count;
}

int v4l2_enumerate(const struct v4l2_sys *sys, int fd, const struct v4l2_wish *wish, struct v4l2_offer *offers, int cap)
{
    int count = 0;
    for (uint32_t i = 0; i < V4L2_MAX_FORMATS && count < cap; i++) {
        struct v4l2_fmtdesc f = {.index = i, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
        int r = v4l2_call(sys, fd, VIDIOC_ENUM_FMT, &f);
        if (r == -EINVAL)
            break;
        if (r < 0)
            return r;
        if (v4l2_format_class(f.pixelformat) >= 0)
            count = add_sizes(sys, fd, f.pixelformat, wish, offers, count, cap);
    }
    return count;
}

static int frame_format_of(uint32_t fourcc, enum frame_format *ret_format)
{
    switch (fourcc) {
    case V4L2_PIX_FMT_MJPEG:
    case V4L2_PIX_FMT_JPEG:
        *ret_format = FRAME_JPEG;
        return 0;
    case V4L2_PIX_FMT_YUYV:
        *ret_format = FRAME_YUYV;
        return 0;
    case V4L2_PIX_FMT_NV12:
        *ret_format = FRAME_NV12;
        return 0;
    case V4L2_PIX_FMT_GREY:
        *ret_format = FRAME_GREY;
        return 0;
    default:
        return -EINVAL;
    }
}

static size_t bytes_needed(enum frame_format format, int stride, int height)
{
    size_t plane = (size_t)stride * (size_t)height;
    return format == FRAME_NV12 ? plane + (size_t)stride * (size_t)((height + 1) / 2) : plane;
}

int v4l2_apply(const struct v4l2_sys *sys, int fd, const struct v4l2_offer *offer, struct v4l2_agreed *ret_agreed)
{
    struct v4l2_format f = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
    f.fmt.pix.width = (uint32_t)offer->width;
    f.fmt.pix.height = (uint32_t)offer->height;
    f.fmt.pix.pixelformat = offer->fourcc;
    f.fmt.pix.field = V4L2_FIELD_NONE;
    int r = v4l2_call(sys, fd, VIDIOC_S_FMT, &f);
    if (r < 0)
        return r;

    struct v4l2_agreed a = {.fourcc = f.fmt.pix.pixelformat, .image_size = f.fmt.pix.sizeimage};
    if (f.fmt.pix.width == 0 || f.fmt.pix.width > SOURCE_MAX_WIDTH_PX || f.fmt.pix.height == 0 ||
        f.fmt.pix.height > SOURCE_MAX_HEIGHT_PX)
        return -EINVAL;
    a.width = (int)f.fmt.pix.width;
    a.height = (int)f.fmt.pix.height;
    r = frame_format_of(a.fourcc, &a.format);
    if (r < 0)
        return r;
    if (a.format != FRAME_JPEG) {
        int least = a.format == FRAME_YUYV ? 2 * ((a.width + 1) / 2 * 2) : a.width;
        if (f.fmt.pix.bytesperline > 4u * SOURCE_MAX_WIDTH_PX)
            return -EINVAL;
        a.stride = (int)f.fmt.pix.bytesperline > least ? (int)f.fmt.pix.bytesperline : least;
        if (a.image_size < bytes_needed(a.format, a.stride, a.height))
            return -EINVAL;
    }

    // Not all drivers have a rate to set; what they say afterwards counts.
    struct v4l2_streamparm p = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
    if (v4l2_call(sys, fd, VIDIOC_G_PARM, &p) == 0 && (p.parm.capture.capability & V4L2_CAP_TIMEPERFRAME) &&
        offer->fps > 0) {
        p.parm.capture.timeperframe = (struct v4l2_fract){1000, (uint32_t)(offer->fps * 1000 + 0.5)};
        r = v4l2_call(sys, fd, VIDIOC_S_PARM, &p);
        if (r == -EBUSY || r == -ENODEV)
            return r;
    }
    a.fps = fraction_fps(p.parm.capture.timeperframe);
    *ret_agreed = a;
    return 0;
}
