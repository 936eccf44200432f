// V4L2 capture with mapped buffers: the newest frame wins, bad ones are counted and given back.
#include "daemon/source_v4l2.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "daemon/v4l2_negotiate.h"

#define BUFFERS_WANTED 4
#define BUFFERS_MAX    8
#define NODES_SEARCHED 64

struct v4l2_source {
    struct source base;
    const struct v4l2_sys *sys;
    char path[SOURCE_NAME_SIZE];
    struct v4l2_wish wish;
    struct v4l2_agreed agreed;
    struct {
        void *p;
        size_t size;
    } buffer[BUFFERS_MAX];
    int buffers;
    bool streaming;
    uint64_t sequence;
    struct v4l2_offer offers[V4L2_MAX_OFFERS];
    unsigned char skip[V4L2_MAX_OFFERS];
    int offer_count;
};

static struct v4l2_source *of(struct source *s)
{
    return (struct v4l2_source *)s;
}

static int queue(struct v4l2_source *v, uint32_t index)
{
    struct v4l2_buffer b = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP, .index = index};
    return v4l2_call(v->sys, v->base.fd, VIDIOC_QBUF, &b);
}

static void unmap_buffers(struct v4l2_source *v)
{
    for (int i = 0; i < v->buffers; i++)
        v->sys->munmap(v->sys->userdata, v->buffer[i].p, v->buffer[i].size);
    v->buffers = 0;
    struct v4l2_requestbuffers none = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
    v4l2_call(v->sys, v->base.fd, VIDIOC_REQBUFS, &none);
}

static int map_buffers(struct v4l2_source *v)
{
    struct v4l2_requestbuffers want = {
        .count = BUFFERS_WANTED, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
    int r = v4l2_call(v->sys, v->base.fd, VIDIOC_REQBUFS, &want);
    if (r < 0)
        return r;
    if (want.count < 2)
        return -ENOMEM;
    for (uint32_t i = 0; i < want.count && i < BUFFERS_MAX; i++) {
        struct v4l2_buffer b = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP, .index = i};
        r = v4l2_call(v->sys, v->base.fd, VIDIOC_QUERYBUF, &b);
        if (r < 0)
            break;
        void *p = v->sys->mmap(v->sys->userdata, b.length, v->base.fd, (off_t)b.m.offset);
        if (p == MAP_FAILED) {
            r = -errno;
            break;
        }
        v->buffer[i].p = p;
        v->buffer[i].size = b.length;
        v->buffers = (int)i + 1;
        r = queue(v, i);
        if (r < 0)
            break;
    }
    if (r < 0)
        unmap_buffers(v);
    return r;
}

// Sets the best offer that the driver really takes.
static int agree(struct v4l2_source *v)
{
    for (;;) {
        int i = v4l2_rank(v->offers, v->offer_count, &v->wish, v->skip);
        if (i < 0)
            return -EOPNOTSUPP;
        v->skip[i] = 1;
        int r = v4l2_apply(v->sys, v->base.fd, &v->offers[i], &v->agreed);
        if (r == -EINVAL)
            continue;
        if (r < 0)
            return r;
        struct source_info *info = &v->base.info;
        v4l2_fourcc_text(v->agreed.fourcc, info->format);
        info->width = v->agreed.width;
        info->height = v->agreed.height;
        info->fps = v->agreed.fps > 0 ? v->agreed.fps : v->offers[i].fps;
        return 0;
    }
}

static int explain(const struct v4l2_source *v, int r, char *message)
{
    const char *path = v->path;
    switch (r) {
    case -EACCES:
    case -EPERM:
        snprintf(message, SOURCE_MESSAGE_SIZE, "no permission for %s: the user must be in group video", path);
        return -EACCES;
    case -EBUSY:
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s is in use by another program (fuser -v %s tells which)", path, path);
        return r;
    case -ENOSPC:
        snprintf(message, SOURCE_MESSAGE_SIZE,
                 "no USB bandwidth left for %s: unplug or slow down other cameras on the same hub", path);
        return r;
    case -ENOENT:
    case -ENXIO:
    case -ENODEV:
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s is not there: no camera is plugged in under this name", path);
        return -ENODEV;
    case -EOPNOTSUPP:
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s offers no format that can be used (GREY, NV12, YUYV or MJPEG)",
                 path);
        return r;
    default:
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s: %s", path, strerror(-r));
        return r;
    }
}

static void v4l2_stop(struct source *s)
{
    struct v4l2_source *v = of(s);
    if (!v->streaming)
        return;
    int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    v4l2_call(v->sys, s->fd, VIDIOC_STREAMOFF, &type);
    v->streaming = false;
    unmap_buffers(v);
}

static int v4l2_start(struct source *s, char *message)
{
    struct v4l2_source *v = of(s);
    if (v->streaming)
        return 0;
    for (;;) {
        int r = map_buffers(v);
        if (r == 0) {
            int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
            r = v4l2_call(v->sys, s->fd, VIDIOC_STREAMON, &type);
            if (r == 0) {
                v->streaming = true;
                return 0;
            }
            unmap_buffers(v);
        }
        // No bandwidth for this format: a compressed or smaller one may still fit.
        if (r != -ENOSPC || agree(v) < 0)
            return explain(v, r, message);
    }
}

static int64_t buffer_time_ns(const struct v4l2_buffer *b, int64_t now_ns)
{
    if ((b->flags & V4L2_BUF_FLAG_TIMESTAMP_MASK) != V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC)
        return now_ns;
    int64_t t = (int64_t)b->timestamp.tv_sec * 1000000000 + (int64_t)b->timestamp.tv_usec * 1000;
    return t > now_ns || t < now_ns - INT64_C(10000000000) ? now_ns : t; // a driver's clock gone wrong is not passed on
}

static bool is_whole(const struct v4l2_source *v, const struct v4l2_buffer *b)
{
    if ((b->flags & V4L2_BUF_FLAG_ERROR) || b->index >= (uint32_t)v->buffers || b->bytesused > v->buffer[b->index].size)
        return false;
    if (v->agreed.format == FRAME_JPEG)
        return b->bytesused > 4;
    size_t rows = (size_t)v->agreed.height;
    if (v->agreed.format == FRAME_NV12)
        rows += (rows + 1) / 2;
    return b->bytesused >= (size_t)v->agreed.stride * rows;
}

static int v4l2_next(struct source *s, int64_t now_ns, struct frame *ret_frame)
{
    struct v4l2_source *v = of(s);
    struct v4l2_buffer newest = {0};
    bool have = false;
    int r;
    for (int i = 0; i < 2 * BUFFERS_MAX; i++) {
        struct v4l2_buffer b = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
        r = v4l2_call(v->sys, s->fd, VIDIOC_DQBUF, &b);
        if (r == -EAGAIN)
            break;
        if (r < 0) {
            if (have)
                queue(v, newest.index);
            return r == -ENXIO ? -ENODEV : r;
        }
        v->sequence++;
        if (!is_whole(v, &b)) {
            s->info.bad++;
            if (b.index < (uint32_t)v->buffers)
                queue(v, b.index);
            continue;
        }
        if (have) {
            s->info.dropped++;
            queue(v, newest.index);
        }
        newest = b;
        have = true;
    }
    if (!have)
        return -EAGAIN;
    *ret_frame = (struct frame){
        .format = v->agreed.format,
        .width = v->agreed.width,
        .height = v->agreed.height,
        .stride = v->agreed.stride,
        .data = v->buffer[newest.index].p,
        .size = newest.bytesused,
        .capture_ns = buffer_time_ns(&newest, now_ns),
        .sequence = v->sequence,
        .slot = (int)newest.index,
    };
    return 0;
}

static void v4l2_release(struct source *s, const struct frame *frame)
{
    struct v4l2_source *v = of(s);
    if (v->streaming && frame->slot >= 0 && frame->slot < v->buffers)
        queue(v, (uint32_t)frame->slot);
}

static void v4l2_close_source(struct source *s)
{
    struct v4l2_source *v = of(s);
    v4l2_stop(s);
    if (s->fd >= 0)
        v->sys->close(v->sys->userdata, s->fd);
    free(v);
}

static const struct source_ops v4l2_ops = {
    .start = v4l2_start,
    .stop = v4l2_stop,
    .next = v4l2_next,
    .release = v4l2_release,
    .close = v4l2_close_source,
};

static int open_node(struct v4l2_source *v, const struct v4l2_sys *sys, const char *path, char *message)
{
    v->sys = sys;
    snprintf(v->path, sizeof(v->path), "%s", path);
    snprintf(v->base.info.name, sizeof(v->base.info.name), "v4l2:%.*s", SOURCE_NAME_SIZE - 6, path);
    int fd = sys->open(sys->userdata, path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return explain(v, -errno, message);
    v->base.fd = fd;
    int r = v4l2_check_capture(sys, fd, path, message);
    if (r == 0) {
        memset(v->skip, 0, sizeof(v->skip));
        r = v4l2_enumerate(sys, fd, &v->wish, v->offers, V4L2_MAX_OFFERS);
        v->offer_count = r > 0 ? r : 0;
        if (r >= 0)
            r = agree(v);
        if (r < 0)
            r = explain(v, r, message);
    }
    if (r < 0) {
        sys->close(sys->userdata, fd);
        v->base.fd = -1;
    }
    return r;
}

// A camera with only formats that we don't know is tried again through libv4l2, which converts many of them.
static int open_converting(struct v4l2_source *v, const struct v4l2_sys *sys, const char *path, char *message)
{
    int r = open_node(v, sys ? sys : &v4l2_sys_kernel, path, message);
    if (r == -EOPNOTSUPP && !sys)
        r = open_node(v, &v4l2_sys_libv4l2, path, message);
    return r;
}

int source_v4l2_open(const char *path, const struct source_settings *settings, const struct v4l2_sys *sys,
                     struct source **ret_source, char message[SOURCE_MESSAGE_SIZE])
{
    struct v4l2_source *v = calloc(1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    v->base.ops = &v4l2_ops;
    v->base.fd = -1;
    v->wish.width = settings && settings->width > 0 ? settings->width : 1280;
    v->wish.height = settings && settings->height > 0 ? settings->height : 720;
    v->wish.fps = settings && settings->fps > 0 ? settings->fps : 30;

    int r;
    if (path) {
        r = open_converting(v, sys, path, message);
    } else {
        int first = -ENODEV;
        r = -ENODEV;
        snprintf(message, SOURCE_MESSAGE_SIZE, "no camera: none of /dev/video0 to /dev/video%d is there",
                 NODES_SEARCHED - 1);
        // A camera that is there but can't be used says more than the ones that are not.
        for (int i = 0; i < NODES_SEARCHED && r < 0; i++) {
            char node[32], why[SOURCE_MESSAGE_SIZE];
            snprintf(node, sizeof(node), "/dev/video%d", i);
            r = open_converting(v, sys, node, why);
            if (r < 0 && r != -ENODEV && first == -ENODEV) {
                first = r;
                memcpy(message, why, sizeof(why));
            }
        }
        if (r < 0)
            r = first;
    }
    if (r < 0) {
        free(v);
        return r;
    }
    *ret_source = &v->base;
    return 0;
}
