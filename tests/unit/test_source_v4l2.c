// The V4L2 source over a made-up driver: negotiation, streaming, and every failure that a camera is known for.
#include <errno.h>
#include <linux/videodev2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "daemon/source_v4l2.h"
#include "daemon/v4l2_negotiate.h"

#define FAKE_BUFFERS 4
#define FAKE_FD      1000

struct mode {
    uint32_t fourcc;
    int width, height, fps;
};

// The driver's state and the faults it has been told to make.
struct fake {
    const struct mode *modes;
    int mode_count;
    uint32_t caps;
    uint32_t size_type, interval_type; // not 0: sizes or rates come in steps, whatever the modes say
    struct v4l2_frmsize_stepwise sizes;
    struct v4l2_frmival_stepwise intervals;
    int enum_fmt_errno, enum_size_errno, enum_interval_errno;
    uint32_t line_padding; // bytes behind each line
    int open_errno, streamon_errno, streamon_failures, s_fmt_errno, dqbuf_errno, querycap_errno;
    int force_width; // S_FMT answers with this width whatever was asked
    uint32_t force_fourcc;
    size_t short_bytes; // frames are this much too short
    uint32_t buffer_flags;
    uint32_t buffers_given; // REQBUFS grants so many, 0 = as asked
    bool wild_index;        // DQBUF names a buffer that does not exist
    struct v4l2_pix_format pix;
    int fps;
    uint8_t *memory[FAKE_BUFFERS];
    bool queued[FAKE_BUFFERS];
    int filled; // frames waiting
    int next;   // buffer that is filled next
    bool streaming, opened;
    int mapped, interrupts;
};

static struct fake fake;

static size_t frame_bytes(const struct v4l2_pix_format *p)
{
    size_t lines = (size_t)p->bytesperline * p->height;
    return p->pixelformat == V4L2_PIX_FMT_NV12 ? lines * 3 / 2 : lines;
}

static int refuse(int e)
{
    errno = e;
    return -1;
}

static int fake_open(void *u, const char *path, int flags)
{
    if (fake.open_errno)
        return refuse(fake.open_errno);
    fake.opened = true;
    return FAKE_FD;
}
static int fake_close(void *u, int fd)
{
    assert_int_equal(fd, FAKE_FD);
    assert_int_equal(fake.mapped, 0); // nothing stays mapped
    assert_false(fake.streaming);
    fake.opened = false;
    return 0;
}
static void *fake_mmap(void *u, size_t size, int fd, off_t offset)
{
    fake.mapped++;
    return fake.memory[offset / 4096];
}
static int fake_munmap(void *u, void *p, size_t size)
{
    fake.mapped--;
    return 0;
}

// Formats in the order of their first mode.
static int enum_format(struct v4l2_fmtdesc *f)
{
    uint32_t seen[16], n = 0;
    if (fake.enum_fmt_errno)
        return refuse(fake.enum_fmt_errno);
    for (int i = 0; i < fake.mode_count; i++) {
        bool old = false;
        for (uint32_t k = 0; k < n; k++)
            old = old || seen[k] == fake.modes[i].fourcc;
        if (!old)
            seen[n++] = fake.modes[i].fourcc;
    }
    if (f->index >= n)
        return refuse(EINVAL);
    f->pixelformat = seen[f->index];
    return 0;
}

static int enum_size(struct v4l2_frmsizeenum *e)
{
    uint32_t n = 0;
    if (fake.enum_size_errno)
        return refuse(fake.enum_size_errno);
    if (fake.size_type) {
        e->type = fake.size_type;
        e->stepwise = fake.sizes;
        return e->index == 0 ? 0 : refuse(EINVAL);
    }
    for (int i = 0; i < fake.mode_count; i++)
        if (fake.modes[i].fourcc == e->pixel_format && n++ == e->index) {
            e->type = V4L2_FRMSIZE_TYPE_DISCRETE;
            e->discrete.width = (uint32_t)fake.modes[i].width;
            e->discrete.height = (uint32_t)fake.modes[i].height;
            return 0;
        }
    return refuse(EINVAL);
}

static int enum_interval(struct v4l2_frmivalenum *e)
{
    if (fake.enum_interval_errno)
        return refuse(fake.enum_interval_errno);
    if (fake.interval_type) {
        e->type = fake.interval_type;
        e->stepwise = fake.intervals;
        return e->index == 0 ? 0 : refuse(EINVAL);
    }
    for (int i = 0; i < fake.mode_count; i++)
        if (e->index == 0 && fake.modes[i].fourcc == e->pixel_format && fake.modes[i].width == (int)e->width) {
            e->type = V4L2_FRMIVAL_TYPE_DISCRETE;
            e->discrete = (struct v4l2_fract){1, (uint32_t)fake.modes[i].fps};
            return 0;
        }
    return refuse(EINVAL);
}

static int set_format(struct v4l2_format *f)
{
    if (fake.s_fmt_errno)
        return refuse(fake.s_fmt_errno);
    struct v4l2_pix_format *p = &f->fmt.pix;
    if (fake.force_width)
        p->width = (uint32_t)fake.force_width;
    if (fake.force_fourcc)
        p->pixelformat = fake.force_fourcc;
    p->bytesperline = (p->pixelformat == V4L2_PIX_FMT_YUYV ? 2 * p->width : p->width) + fake.line_padding;
    p->sizeimage = (uint32_t)frame_bytes(p);
    fake.pix = *p;
    return 0;
}

static int dequeue(struct v4l2_buffer *b)
{
    if (fake.interrupts > 0) {
        fake.interrupts--;
        return refuse(EINTR);
    }
    if (fake.dqbuf_errno)
        return refuse(fake.dqbuf_errno);
    if (fake.filled == 0)
        return refuse(EAGAIN);
    int i = fake.next;
    if (!fake.queued[i])
        return refuse(EAGAIN);
    fake.filled--;
    fake.next = (i + 1) % FAKE_BUFFERS;
    fake.queued[i] = false;
    b->index = fake.wild_index ? 77 : (uint32_t)i;
    b->bytesused = (uint32_t)(frame_bytes(&fake.pix) - fake.short_bytes);
    b->flags = fake.buffer_flags | V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    b->timestamp.tv_sec = 5;
    b->timestamp.tv_usec = 250;
    return 0;
}

static int stream_on(void)
{
    if (fake.streamon_failures > 0) {
        fake.streamon_failures--;
        return refuse(fake.streamon_errno);
    }
    fake.streaming = true;
    return 0;
}

static int fake_ioctl(void *u, int fd, unsigned long request, void *arg)
{
    assert_true(fake.opened);
    switch (request) {
    case VIDIOC_QUERYCAP: {
        if (fake.querycap_errno)
            return refuse(fake.querycap_errno);
        struct v4l2_capability *c = arg;
        c->capabilities = fake.caps | V4L2_CAP_DEVICE_CAPS;
        c->device_caps = fake.caps;
        strcpy((char *)c->card, "Fake Camera");
        return 0;
    }
    case VIDIOC_ENUM_FMT:
        return enum_format(arg);
    case VIDIOC_ENUM_FRAMESIZES:
        return enum_size(arg);
    case VIDIOC_ENUM_FRAMEINTERVALS:
        return enum_interval(arg);
    case VIDIOC_S_FMT:
        return set_format(arg);
    case VIDIOC_G_PARM:
        ((struct v4l2_streamparm *)arg)->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
        return 0;
    case VIDIOC_S_PARM: {
        struct v4l2_fract f = ((struct v4l2_streamparm *)arg)->parm.capture.timeperframe;
        fake.fps = (int)(f.denominator / f.numerator);
        return 0;
    }
    case VIDIOC_REQBUFS: {
        struct v4l2_requestbuffers *r = arg;
        memset(fake.queued, 0, sizeof(fake.queued)); // old buffers are gone, queued or not
        if (r->count && fake.buffers_given)
            r->count = fake.buffers_given;
        return 0;
    }
    case VIDIOC_QUERYBUF: {
        struct v4l2_buffer *b = arg;
        b->length = (uint32_t)frame_bytes(&fake.pix);
        b->m.offset = b->index * 4096;
        return 0;
    }
    case VIDIOC_QBUF: {
        uint32_t i = ((struct v4l2_buffer *)arg)->index;
        assert_true(i < FAKE_BUFFERS);
        assert_false(fake.queued[i]); // never given back twice
        fake.queued[i] = true;
        return 0;
    }
    case VIDIOC_DQBUF:
        return dequeue(arg);
    case VIDIOC_STREAMON:
        return stream_on();
    case VIDIOC_STREAMOFF:
        fake.streaming = false;
        memset(fake.queued, 0, sizeof(fake.queued));
        return 0;
    default:
        return refuse(ENOTTY);
    }
}

static const struct v4l2_sys fake_sys = {.name = "fake",
                                         .open = fake_open,
                                         .close = fake_close,
                                         .ioctl = fake_ioctl,
                                         .mmap = fake_mmap,
                                         .munmap = fake_munmap};

static const struct mode webcam[] = {
    {V4L2_PIX_FMT_YUYV, 640, 480, 30},   {V4L2_PIX_FMT_YUYV, 1280, 720, 10},   {V4L2_PIX_FMT_MJPEG, 640, 480, 30},
    {V4L2_PIX_FMT_MJPEG, 1280, 720, 30}, {V4L2_PIX_FMT_MJPEG, 1920, 1080, 30},
};
static const struct mode infrared[] = {{V4L2_PIX_FMT_GREY, 640, 360, 30}};
static const struct mode exotic[] = {{V4L2_PIX_FMT_SBGGR8, 640, 480, 30}};

static void reset(const struct mode *modes, int count)
{
    for (int i = 0; i < FAKE_BUFFERS; i++)
        free(fake.memory[i]);
    memset(&fake, 0, sizeof(fake));
    fake.modes = modes;
    fake.mode_count = count;
    fake.caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
    for (int i = 0; i < FAKE_BUFFERS; i++)
        fake.memory[i] = calloc(1, 2u * 1920 * 1080);
}

static char message[SOURCE_MESSAGE_SIZE];

static struct source *must_open(const struct source_settings *settings)
{
    struct source *s = NULL;
    message[0] = 0;
    int r = source_v4l2_open("/dev/video9", settings, &fake_sys, &s, message);
    if (r < 0)
        print_message("%s\n", message);
    assert_int_equal(r, 0);
    return s;
}

static void takes_the_format_that_reaches_rate_and_size(void **state)
{
    reset(webcam, 5);
    struct source *s = must_open(NULL);
    assert_string_equal(s->info.format, "MJPG"); // 1280x720 as YUYV has only 10 fps
    assert_int_equal(s->info.width, 1280);
    assert_int_equal(s->info.height, 720);
    assert_int_equal(fake.fps, 30);
    source_close(s);

    struct source_settings small = {.width = 640, .height = 480};
    reset(webcam, 5);
    s = must_open(&small);
    assert_string_equal(s->info.format, "YUYV"); // as good and needs no decoding
    source_close(s);

    reset(infrared, 1);
    s = must_open(NULL);
    assert_string_equal(s->info.format, "GREY");
    source_close(s);
}

// Sizes and rates that a driver gives as ranges: the wish, within them and on a step.
static void ranges_are_met_where_they_allow(void **state)
{
    static const struct {
        uint32_t type;
        struct v4l2_frmsize_stepwise sizes;
        uint32_t most_fps, least_fps;
        struct source_settings wish;
        struct mode got;
    } cases[] = {
        {V4L2_FRMSIZE_TYPE_STEPWISE, {160, 1000, 48, 120, 700, 16}, 20, 5, {.fps = 30}, {0, 976, 696, 20}},
        {V4L2_FRMSIZE_TYPE_STEPWISE,
         {160, 1000, 48, 120, 700, 16},
         20,
         5,
         {.width = 100, .height = 80, .fps = 2},
         {0, 160, 120, 5}},
        {V4L2_FRMSIZE_TYPE_CONTINUOUS,
         {32, 4096, 1, 32, 4096, 1},
         60,
         5,
         {.width = 800, .height = 600, .fps = 15},
         {0, 800, 600, 15}},
        {V4L2_FRMSIZE_TYPE_CONTINUOUS, {64, 640, 0, 64, 480, 0}, 60, 5, {.fps = 30}, {0, 640, 480, 30}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        reset(infrared, 1);
        fake.size_type = cases[i].type;
        fake.interval_type =
            cases[i].type == V4L2_FRMSIZE_TYPE_CONTINUOUS ? V4L2_FRMIVAL_TYPE_CONTINUOUS : V4L2_FRMIVAL_TYPE_STEPWISE;
        fake.sizes = cases[i].sizes;
        fake.intervals = (struct v4l2_frmival_stepwise){{1, cases[i].most_fps}, {1, cases[i].least_fps}, {1, 1000}};
        struct source *s = must_open(&cases[i].wish);
        assert_int_equal(s->info.width, cases[i].got.width);
        assert_int_equal(s->info.height, cases[i].got.height);
        assert_int_equal(fake.fps, cases[i].got.fps);
        assert_true(s->info.fps == cases[i].got.fps);
        source_close(s);
    }
}

static void a_driver_that_says_little_is_asked_for_the_wish(void **state)
{
    struct source *s = NULL;
    struct frame f;
    reset(webcam, 0); // not one format
    assert_int_equal(source_v4l2_open("/dev/video9", NULL, &fake_sys, &s, message), -EOPNOTSUPP);
    assert_non_null(strstr(message, "no format"));
    reset(webcam, 5);
    fake.enum_fmt_errno = ENOTTY;
    assert_int_equal(source_v4l2_open("/dev/video9", NULL, &fake_sys, &s, message), -ENOTTY);
    assert_non_null(strstr(message, "/dev/video9: "));
    assert_false(fake.opened);

    reset(infrared, 1); // a format, but no sizes and no rates
    fake.enum_size_errno = ENOTTY;
    fake.enum_interval_errno = ENOTTY;
    s = must_open(NULL);
    assert_int_equal(s->info.width, 1280);
    assert_int_equal(s->info.height, 720);
    assert_int_equal(fake.fps, 0); // no rate was asked for
    assert_int_equal(source_start(s, message), 0);
    fake.filled = 1;
    assert_int_equal(source_next(s, 6000000000, &f), 0);
    assert_int_equal(f.width, 1280);
    source_release(s, &f);
    source_close(s);
}

static void raw_frames_come_with_their_lines(void **state)
{
    static const struct {
        struct mode mode;
        enum frame_format format;
        int stride;
        size_t size;
    } cases[] = {
        {{V4L2_PIX_FMT_YUYV, 640, 480, 30}, FRAME_YUYV, 1280 + 64, (1280 + 64) * 480},
        {{V4L2_PIX_FMT_NV12, 640, 480, 30}, FRAME_NV12, 640 + 64, (640 + 64) * 480 * 3 / 2},
        {{V4L2_PIX_FMT_GREY, 640, 480, 30}, FRAME_GREY, 640 + 64, (640 + 64) * 480},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct frame f;
        reset(&cases[i].mode, 1);
        fake.line_padding = 64;
        struct source *s = must_open(NULL);
        assert_int_equal(source_start(s, message), 0);
        for (int n = 0; n < 2 * FAKE_BUFFERS; n++) {
            fake.filled = 1;
            assert_int_equal(source_next(s, 6000000000, &f), 0);
            assert_int_equal(f.format, cases[i].format);
            assert_int_equal(f.width, 640);
            assert_int_equal(f.height, 480);
            assert_int_equal(f.stride, cases[i].stride);
            assert_int_equal(f.size, cases[i].size);
            assert_ptr_equal(f.data, fake.memory[n % FAKE_BUFFERS]);
            source_release(s, &f);
        }
        fake.filled = 1;
        fake.short_bytes = 1;
        assert_int_equal(source_next(s, 6000000000, &f), -EAGAIN);
        assert_int_equal(s->info.bad, 1);
        source_close(s);
    }
}

static void the_newest_frame_wins_and_all_buffers_go_back(void **state)
{
    reset(webcam, 5);
    struct source *s = must_open(NULL);
    struct frame f;
    assert_int_equal(source_start(s, message), 0);
    assert_int_equal(source_next(s, 6000000000, &f), -EAGAIN);
    fake.filled = 3;
    fake.interrupts = 2;
    assert_int_equal(source_next(s, 6000000000, &f), 0);
    assert_int_equal(f.slot, 2);
    assert_int_equal(f.sequence, 3);
    assert_int_equal(f.format, FRAME_JPEG);
    assert_int_equal(f.capture_ns, 5000250000); // the driver's time, not ours
    assert_int_equal(s->info.dropped, 2);
    source_release(s, &f);
    for (int i = 0; i < FAKE_BUFFERS; i++)
        assert_true(fake.queued[i]);
    source_stop(s);
    assert_int_equal(fake.mapped, 0);
    assert_int_equal(source_start(s, message), 0); // and again
    source_close(s);
}

static void bad_frames_are_counted_not_passed_on(void **state)
{
    reset(infrared, 1);
    struct source *s = must_open(NULL);
    struct frame f;
    assert_int_equal(source_start(s, message), 0);
    fake.filled = 1;
    fake.short_bytes = 1;
    assert_int_equal(source_next(s, 6000000000, &f), -EAGAIN);
    fake.short_bytes = 0;
    fake.filled = 1;
    fake.buffer_flags = V4L2_BUF_FLAG_ERROR;
    assert_int_equal(source_next(s, 6000000000, &f), -EAGAIN);
    assert_int_equal(s->info.bad, 2);
    fake.buffer_flags = 0;
    fake.filled = 1;
    fake.wild_index = true;
    assert_int_equal(source_next(s, 6000000000, &f), -EAGAIN);
    assert_int_equal(s->info.bad, 3);
    fake.wild_index = false;
    fake.filled = 1;
    assert_int_equal(source_next(s, 6000000000, &f), 0);
    assert_int_equal(f.format, FRAME_GREY);
    assert_int_equal(f.stride, 640);
    source_release(s, &f);
    source_close(s);
}

static void a_clock_gone_wrong_is_replaced(void **state)
{
    reset(infrared, 1);
    struct source *s = must_open(NULL);
    struct frame f;
    assert_int_equal(source_start(s, message), 0);
    fake.filled = 1;
    assert_int_equal(source_next(s, 4000000000, &f), 0); // driver's 5.00025 s would lie in the future
    assert_int_equal(f.capture_ns, 4000000000);
    source_release(s, &f);
    source_close(s);
}

static void unplugging_is_told(void **state)
{
    reset(webcam, 5);
    struct source *s = must_open(NULL);
    struct frame f;
    assert_int_equal(source_start(s, message), 0);
    fake.dqbuf_errno = ENODEV;
    assert_int_equal(source_next(s, 6000000000, &f), -ENODEV);
    source_close(s);
}

static void lack_of_bandwidth_tries_other_formats(void **state)
{
    reset(webcam, 5);
    struct source *s = must_open(NULL);
    fake.streamon_errno = ENOSPC;
    fake.streamon_failures = 2;
    assert_int_equal(source_start(s, message), 0);
    assert_true(fake.streaming);
    source_close(s);

    reset(webcam, 5);
    s = must_open(NULL);
    fake.streamon_errno = ENOSPC;
    fake.streamon_failures = 100;
    assert_int_equal(source_start(s, message), -ENOSPC);
    assert_non_null(strstr(message, "USB bandwidth"));
    source_close(s);
}

static void each_failure_has_its_message(void **state)
{
    static const struct {
        int open_errno, querycap_errno, s_fmt_errno;
        uint32_t caps;
        const struct mode *modes;
        int expected;
        const char *text;
    } cases[] = {
        {EACCES, 0, 0, 0, webcam, -EACCES, "group video"},
        {ENOENT, 0, 0, 0, webcam, -ENODEV, "is not there"},
        {EBUSY, 0, 0, 0, webcam, -EBUSY, "in use"},
        {0, ENOTTY, 0, 0, webcam, -ENODEV, "not a V4L2 device"},
        {0, 0, 0, V4L2_CAP_VIDEO_OUTPUT | V4L2_CAP_STREAMING, webcam, -ENODEV, "does not capture"},
        {0, 0, 0, V4L2_CAP_VIDEO_CAPTURE_MPLANE | V4L2_CAP_STREAMING, webcam, -ENODEV, "single-planar"},
        {0, 0, 0, V4L2_CAP_VIDEO_CAPTURE, webcam, -ENODEV, "can't stream"},
        {0, 0, EBUSY, V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING, webcam, -EBUSY, "in use"},
        {0, 0, 0, V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING, exotic, -EOPNOTSUPP, "no format"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        reset(cases[i].modes, 1);
        fake.caps = cases[i].caps;
        fake.open_errno = cases[i].open_errno;
        fake.querycap_errno = cases[i].querycap_errno;
        fake.s_fmt_errno = cases[i].s_fmt_errno;
        struct source *s = NULL;
        assert_int_equal(source_v4l2_open("/dev/video9", NULL, &fake_sys, &s, message), cases[i].expected);
        assert_non_null(strstr(message, cases[i].text));
        assert_null(s);
        assert_false(fake.opened);
    }
}

static void a_driver_that_answers_with_nonsense_is_refused(void **state)
{
    struct source *s = NULL;
    reset(webcam, 5);
    fake.force_width = 1 << 20;
    assert_int_equal(source_v4l2_open("/dev/video9", NULL, &fake_sys, &s, message), -EOPNOTSUPP);
    reset(webcam, 5);
    fake.force_fourcc = V4L2_PIX_FMT_SBGGR8;
    assert_int_equal(source_v4l2_open("/dev/video9", NULL, &fake_sys, &s, message), -EOPNOTSUPP);
    reset(webcam, 5);
    s = must_open(NULL);
    fake.buffers_given = 1; // one buffer can't stream
    assert_int_equal(source_start(s, message), -ENOMEM);
    source_close(s);
}

static void ranking_is_a_table(void **state)
{
    static const struct {
        struct v4l2_offer offers[3];
        struct v4l2_wish wish;
        int best;
    } cases[] = {
        {{{V4L2_PIX_FMT_SBGGR8, 1280, 720, 30}}, {1280, 720, 30}, -1},
        {{{V4L2_PIX_FMT_YUYV, 1280, 720, 10}, {V4L2_PIX_FMT_YUYV, 640, 480, 30}}, {1280, 720, 30}, 1},
        {{{V4L2_PIX_FMT_MJPEG, 1280, 720, 30}, {V4L2_PIX_FMT_NV12, 1280, 720, 30}}, {1280, 720, 30}, 1},
        {{{V4L2_PIX_FMT_MJPEG, 1280, 720, 60}, {V4L2_PIX_FMT_MJPEG, 1280, 720, 30}}, {1280, 720, 30}, 1},
        {{{V4L2_PIX_FMT_YUYV, 1920, 1080, 30}, {V4L2_PIX_FMT_YUYV, 960, 540, 30}}, {1280, 720, 30}, 0},
        {{{V4L2_PIX_FMT_YUYV, 0, 720, 30}, {V4L2_PIX_FMT_YUYV, 1280, 720, 0}}, {1280, 720, 30}, 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(v4l2_rank(cases[i].offers, 3, &cases[i].wish, NULL), cases[i].best);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_format_that_reaches_rate_and_size),
        cmocka_unit_test(ranges_are_met_where_they_allow),
        cmocka_unit_test(a_driver_that_says_little_is_asked_for_the_wish),
        cmocka_unit_test(raw_frames_come_with_their_lines),
        cmocka_unit_test(the_newest_frame_wins_and_all_buffers_go_back),
        cmocka_unit_test(bad_frames_are_counted_not_passed_on),
        cmocka_unit_test(a_clock_gone_wrong_is_replaced),
        cmocka_unit_test(unplugging_is_told),
        cmocka_unit_test(lack_of_bandwidth_tries_other_formats),
        cmocka_unit_test(each_failure_has_its_message),
        cmocka_unit_test(a_driver_that_answers_with_nonsense_is_refused),
        cmocka_unit_test(ranking_is_a_table),
    };
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    for (int i = 0; i < FAKE_BUFFERS; i++)
        free(fake.memory[i]);
    return r;
}
