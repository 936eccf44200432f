// A file as a camera: paced by a timer (late frames are passed over, as a camera would) or as fast as asked for.
#include "daemon/source_file.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/clip_file.h"
#include "daemon/file_bytes.h"
#include "vision/image_file.h"

struct file_source {
    struct source base;
    bool loop, fast, started;
    double fps;
    int64_t start_ns;
    uint64_t taken;        // frames given or passed over since the start
    uint64_t frames;       // in the file
    struct clip_file clip; // if `path` is NULL
    char **path;           // of each picture
    uint8_t *picture;      // the bytes of the one that is out
    size_t picture_room;
    struct image decoded; // of a PNG
};

static struct file_source *of(struct source *s)
{
    return (struct file_source *)s;
}

static int64_t monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool is_png(const uint8_t *data, size_t size)
{
    return size > 8 && !memcmp(data, "\x89PNG\r\n\x1a\n", 8);
}

static int wanted_name(const struct dirent *e)
{
    const char *dot = strrchr(e->d_name, '.');
    return dot && (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg") || !strcasecmp(dot, ".png"));
}

static int list_folder(struct file_source *f, const char *path, char *message)
{
    struct dirent **names;
    int n = scandir(path, &names, wanted_name, alphasort);
    if (n < 0) {
        int r = -errno;
        snprintf(message, SOURCE_MESSAGE_SIZE, "can't read folder %s: %s", path, strerror(-r));
        return r;
    }
    int r = 0;
    f->path = calloc((size_t)n + 1, sizeof(*f->path));
    for (int i = 0; i < n; i++) {
        if (f->path && r == 0 && f->frames < CLIP_FILE_MAX_FRAMES) {
            if (asprintf(&f->path[f->frames], "%s/%s", path, names[i]->d_name) < 0) {
                f->path[f->frames] = NULL;
                r = -ENOMEM;
            } else {
                f->frames++;
            }
        }
        free(names[i]);
    }
    free(names);
    if (!f->path)
        r = -ENOMEM;
    if (r == 0 && f->frames == 0) {
        snprintf(message, SOURCE_MESSAGE_SIZE, "folder %s has no .jpg, .jpeg or .png in it", path);
        r = -ENOENT;
    }
    return r;
}

// A clip, or a list of pictures: by what it begins with.
static int identify(struct file_source *f, const char *path, char *message)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        int r = -errno;
        snprintf(message, SOURCE_MESSAGE_SIZE, "can't open %s: %s", path, strerror(-r));
        return r;
    }
    if (S_ISDIR(st.st_mode))
        return list_folder(f, path, message);

    uint8_t head[16];
    uint64_t size;
    int fd, r = file_bytes_open(path, CLIP_FILE_MAX_BYTES, &fd, &size, message);
    if (r < 0)
        return r;
    int64_t n = file_bytes_read(fd, 0, head, sizeof(head));
    if (n > 0 && clip_file_is_clip(head, (size_t)n)) {
        r = clip_file_open(fd, size, path, &f->clip, message);
        if (r < 0)
            return r;
        if (f->clip.is_y4m && f->clip.y4m.fps > 0 && f->clip.y4m.fps <= 1000)
            f->fps = f->clip.y4m.fps;
        f->frames = f->clip.count;
        return 0;
    }
    close(fd);
    if (n < 0)
        return (int)n;
    if (!is_png(head, (size_t)n)) {
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s is neither JPEG, PNG, MJPEG nor Y4M", path);
        return -EBADMSG;
    }
    f->path = calloc(2, sizeof(*f->path));
    if (!f->path || !(f->path[0] = strdup(path)))
        return -ENOMEM;
    f->frames = 1;
    return 0;
}

static int file_start(struct source *s, char *message)
{
    struct file_source *f = of(s);
    f->start_ns = monotonic_ns();
    f->taken = 0;
    f->started = true;
    if (!f->fast) {
        int64_t period_ns = (int64_t)(1e9 / f->fps);
        struct timespec period = {period_ns / 1000000000, period_ns % 1000000000};
        struct itimerspec t = {.it_value = {0, 1}, .it_interval = period};
        if (timerfd_settime(s->fd, 0, &t, NULL) < 0) {
            snprintf(message, SOURCE_MESSAGE_SIZE, "can't start the frame timer: %s", strerror(errno));
            return -errno;
        }
    }
    return 0;
}

static void file_stop(struct source *s)
{
    struct file_source *f = of(s);
    f->started = false;
    struct itimerspec off = {0};
    if (!f->fast)
        timerfd_settime(s->fd, 0, &off, NULL);
}

// The bytes of a picture into f->picture. Returns how many or a negative status.
static int64_t read_picture(struct file_source *f, const char *path, char *message)
{
    int fd;
    uint64_t size;
    int r = file_bytes_open(path, IMAGE_FILE_MAX_BYTES, &fd, &size, message);
    if (r < 0)
        return r;
    if (size > f->picture_room) {
        free(f->picture);
        f->picture = malloc(size);
        f->picture_room = f->picture ? size : 0;
    }
    int64_t n = f->picture ? file_bytes_read(fd, 0, f->picture, size) : -ENOMEM;
    close(fd);
    if (n < 0)
        snprintf(message, SOURCE_MESSAGE_SIZE, "can't read %s: %s", path, strerror((int)-n));
    return n;
}

static int load_picture(struct file_source *f, const char *path, struct frame *frame)
{
    char why[IMAGE_MESSAGE_SIZE] = "";
    image_free(&f->decoded);
    int64_t n = read_picture(f, path, f->base.why);
    if (n < 0)
        return (int)n;
    if (!is_png(f->picture, (size_t)n)) { // whatever it is, the decoder will say
        frame->format = FRAME_JPEG;
        frame->data = f->picture;
        frame->size = (size_t)n;
        return 0;
    }
    int r = png_decode(f->picture, (size_t)n, 3, &f->decoded, why);
    if (r < 0) {
        snprintf(f->base.why, SOURCE_MESSAGE_SIZE, "%.120s: %.110s", path, why);
        return r;
    }
    frame->format = FRAME_RGB24;
    frame->width = f->decoded.width;
    frame->height = f->decoded.height;
    frame->stride = f->decoded.stride;
    frame->data = f->decoded.data;
    frame->size = (size_t)f->decoded.stride * (size_t)f->decoded.height;
    return 0;
}

static int load_clip_frame(struct file_source *f, uint64_t index, struct frame *frame)
{
    struct clip_file *c = &f->clip;
    int r = clip_file_read(c, index);
    if (r < 0) {
        snprintf(f->base.why, SOURCE_MESSAGE_SIZE, "frame %llu of %llu can't be read: %s",
                 (unsigned long long)index + 1, (unsigned long long)f->frames,
                 r == -ESTALE ? "the file was cut short while it played" : strerror(-r));
        return r;
    }
    frame->format = c->is_y4m ? FRAME_GREY : FRAME_JPEG;
    frame->data = c->data;
    frame->size = c->frames[index].bytes;
    if (c->is_y4m) {
        frame->width = frame->stride = c->y4m.width;
        frame->height = c->y4m.height;
    }
    return 0;
}

static int file_next(struct source *s, int64_t now_ns, struct frame *ret_frame)
{
    struct file_source *f = of(s);
    if (!f->started)
        return -EAGAIN;
    s->why[0] = 0;
    uint64_t number = f->taken;
    int64_t due_ns = now_ns;
    if (!f->fast) {
        uint64_t ticks;
        if (read(s->fd, &ticks, sizeof(ticks)) < 0)
            return -EAGAIN;
        int64_t since_ns = now_ns - f->start_ns;
        uint64_t due = since_ns > 0 ? (uint64_t)((double)since_ns * 1e-9 * f->fps) : 0;
        if (due > number) {
            s->info.dropped += due - number;
            number = due;
        }
        if (!f->loop && number >= f->frames && f->taken < f->frames) // the last frame is never passed over
            number = f->frames - 1;
        due_ns = f->start_ns + (int64_t)((double)number / f->fps * 1e9);
        if (due_ns > now_ns)
            due_ns = now_ns;
    }
    if (!f->loop && number >= f->frames)
        return -ENODATA;
    f->taken = number + 1;

    uint64_t index = number % f->frames;
    struct frame frame = {.capture_ns = due_ns, .sequence = number + 1};
    int r = f->path ? load_picture(f, f->path[index], &frame) : load_clip_frame(f, index, &frame);
    if (r < 0 && f->path && r != -ENOMEM) { // the next picture may be a good one
        s->info.bad++;
        r = -EAGAIN;
    }
    if (r < 0)
        return r;
    *ret_frame = frame;
    return 0;
}

static void file_release(struct source *s, const struct frame *frame) {}

static void file_close(struct source *s)
{
    struct file_source *f = of(s);
    if (s->fd >= 0)
        close(s->fd);
    clip_file_close(&f->clip);
    image_free(&f->decoded);
    for (uint64_t i = 0; f->path && i < f->frames; i++)
        free(f->path[i]);
    free(f->path);
    free(f->picture);
    free(f);
}

static const struct source_ops file_ops = {
    .start = file_start,
    .stop = file_stop,
    .next = file_next,
    .release = file_release,
    .close = file_close,
};

int source_file_open(const char *path, const struct source_settings *settings, struct source **ret_source,
                     char message[SOURCE_MESSAGE_SIZE])
{
    struct file_source *f = calloc(1, sizeof(*f));
    if (!f)
        return -ENOMEM;
    struct source *s = &f->base;
    s->ops = &file_ops;
    s->fd = -1;
    f->clip.fd = -1;
    f->loop = settings && settings->loop;
    f->fast = settings && settings->fast;
    f->fps = 30;
    message[0] = 0;
    int r = identify(f, path, message);
    if (settings && settings->fps > 0 && settings->fps <= 1000)
        f->fps = settings->fps;
    if (r == 0) {
        // A descriptor that is always readable stands in for the timer where there is no pacing.
        s->fd = f->fast ? eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)
                        : timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (s->fd < 0)
            r = -errno;
    }
    if (r < 0) {
        if (!message[0])
            snprintf(message, SOURCE_MESSAGE_SIZE, "%s: %s", path, strerror(-r));
        file_close(s);
        return r;
    }
    const char *slash = strrchr(path, '/');
    snprintf(s->info.name, sizeof(s->info.name), "file:%.*s", SOURCE_NAME_SIZE - 6,
             slash && slash[1] ? slash + 1 : path);
    snprintf(s->info.format, sizeof(s->info.format), "%s", f->path ? "FILES" : f->clip.is_y4m ? "Y4M" : "MJPG");
    s->info.fps = f->fps;
    s->info.frames = f->frames;
    *ret_source = s;
    return 0;
}
