// Where frames come from: a V4L2 camera or a file, behind one table of functions.
//
// A source is opened, started, polled on its descriptor and asked for the newest frame; all calls are made from one
// thread. Nothing here decodes a picture, except that image files become frames of their own format.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOURCE_MESSAGE_SIZE  240
#define SOURCE_NAME_SIZE     64
#define SOURCE_MAX_WIDTH_PX  4096
#define SOURCE_MAX_HEIGHT_PX 4096

enum frame_format { FRAME_JPEG, FRAME_GREY, FRAME_YUYV, FRAME_NV12, FRAME_RGB24, FRAME_FORMATS };

// A borrowed frame: valid until source_release, which must be called before the next source_next.
struct frame {
    enum frame_format format;
    int width, height, stride; // stride in bytes; 0 for JPEG
    const uint8_t *data;
    size_t size;
    int64_t capture_ns; // CLOCK_MONOTONIC, when the driver had it (file: when it was due)
    uint64_t sequence;  // counts this source's frames, dropped ones too
    int slot;           // the source's own
};

struct source_settings {
    int width, height; // wanted; 0 = the default 1280x720
    double fps;        // wanted; 0 = the default 30 (file: the file's own, else 30)
    bool loop;         // file: begin again at the end
    bool fast;         // file: no pacing, every frame as soon as it is asked for
};

struct source_info {
    char name[SOURCE_NAME_SIZE]; // "v4l2:/dev/video0", "file:clip.mjpeg"
    char format[8];              // "MJPG", "YUYV", "NV12", "GREY", "RGB"
    int width, height;
    double fps;       // as the driver says; 0 = unknown
    uint64_t frames;  // of a file; 0 = a camera
    uint64_t dropped; // frames passed over for newer ones
    uint64_t bad;     // frames with an error flag or too short
};

struct source;

struct source_ops {
    int (*start)(struct source *s, char *message);
    void (*stop)(struct source *s);
    int (*next)(struct source *s, int64_t now_ns, struct frame *ret_frame);
    void (*release)(struct source *s, const struct frame *frame);
    void (*close)(struct source *s);
};

struct source {
    const struct source_ops *ops;
    struct source_info info;
    int fd; // readable when a frame may be ready; -1 = always
    // What was wrong with the last frame that was counted as bad, or why the last source_next failed, if there is more
    // to say than the status does; else empty.
    char why[SOURCE_MESSAGE_SIZE];
};

// spec: "v4l2" (the first capture device), "v4l2:/dev/videoN", "file:PATH" (JPEG, PNG, a folder of them, MJPEG, Y4M),
// "auto" (= v4l2). settings may be NULL. On failure message says what and the remedy.
// -EINVAL bad spec; -ENODEV no such camera; -ENOENT, -EACCES, -EBUSY, -EOPNOTSUPP no usable format; -EBADMSG a file
// that is no picture; -ENOMEM; other -errno of the system.
int source_open(const char *spec, const struct source_settings *settings, struct source **ret_source,
                char message[SOURCE_MESSAGE_SIZE]);
// Accepts NULL; returns NULL.
static inline struct source *source_close(struct source *s)
{
    if (s)
        s->ops->close(s);
    return NULL;
}

// Starts streaming. -ENOSPC: no USB bandwidth left; -ENODEV; -EIO.
static inline int source_start(struct source *s, char *message)
{
    return s->ops->start(s, message);
}
static inline void source_stop(struct source *s)
{
    s->ops->stop(s);
}
// The newest frame. -EAGAIN none yet; -ENODEV the camera is gone; -ENODATA the end of a file that does not loop;
// -ESTALE a clip that was cut short while it played: it is at its end, or is opened anew; -EIO and others: restart the
// stream.
static inline int source_next(struct source *s, int64_t now_ns, struct frame *ret_frame)
{
    return s->ops->next(s, now_ns, ret_frame);
}
static inline void source_release(struct source *s, const struct frame *frame)
{
    s->ops->release(s, frame);
}
