// A file as a camera: paced by a timer (late frames are passed over, as a camera would) or as fast as asked for.
#include "daemon/source_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/clip.h"
#include "vision/png.h"

enum file_kind { KIND_PICTURES, KIND_MJPEG, KIND_Y4M };

struct mapping {
    const uint8_t *data;
    size_t size;
};

struct file_source {
    struct source base;
    enum file_kind kind;
    bool loop, fast, started;
    double fps;
    int64_t start_ns;
    uint64_t taken;     // frames given or passed over since the start
    uint64_t frames;    // in the file
    struct mapping map; // the clip, or the picture that is out
    struct y4m y4m;
    size_t *offset; // of each frame of a clip
    size_t *bytes;
    char **path;          // of each picture
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

static void unmap(struct mapping *m)
{
    if (m->data)
        munmap((void *)(uintptr_t)m->data, m->size);
    *m = (struct mapping){0};
}

static int map_file(const char *path, struct mapping *ret_map, char *message)
{
    int r = 0;
    struct stat st = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0) {
        r = -errno;
        snprintf(message, SOURCE_MESSAGE_SIZE, "can't read %s: %s", path, strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        r = -EINVAL;
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s is not a file", path);
    } else if (st.st_size == 0) {
        r = -EBADMSG;
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s is empty (0 bytes)", path);
    } else if ((uint64_t)st.st_size > SOURCE_FILE_MAX_BYTES) {
        r = -EFBIG;
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s is larger than 4 GiB", path);
    }
    if (r == 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            r = -errno;
            snprintf(message, SOURCE_MESSAGE_SIZE, "can't map %s: %s", path, strerror(errno));
        } else {
            *ret_map = (struct mapping){p, (size_t)st.st_size};
        }
    }
    if (fd >= 0)
        close(fd);
    return r;
}

static bool is_png(const struct mapping *m)
{
    return m->size > 8 && !memcmp(m->data, "\x89PNG\r\n\x1a\n", 8);
}
static bool is_jpeg(const struct mapping *m)
{
    return m->size > 3 && !memcmp(m->data, "\xff\xd8\xff", 3);
}

// Finds the frames of the mapped clip.
static int index_clip(struct file_source *f, const char *path, char *message)
{
    size_t at = 0, start, bytes, room = 0;
    if (f->kind == KIND_Y4M) {
        int r = clip_parse_y4m(f->map.data, f->map.size, &f->y4m);
        if (r < 0) {
            snprintf(message, SOURCE_MESSAGE_SIZE, "%s: %s", path,
                     r == -EOPNOTSUPP ? "only 8-bit Y4M of 4:2:0, 4:2:2, 4:4:4 or mono can be read"
                                      : "broken Y4M header");
            return r;
        }
        if (f->y4m.fps > 0 && f->y4m.fps <= 1000)
            f->fps = f->y4m.fps;
    }
    while (f->frames < SOURCE_FILE_MAX_FRAMES) {
        if (f->kind == KIND_Y4M ? !clip_next_y4m(&f->y4m, f->map.data, f->map.size, &at, &start)
                                : !clip_next_jpeg(f->map.data, f->map.size, &at, &start, &bytes))
            break;
        if (f->kind == KIND_Y4M)
            bytes = (size_t)f->y4m.width * (size_t)f->y4m.height;
        if (f->frames == room) {
            room = room ? 2 * room : 256;
            size_t *o = reallocarray(f->offset, room, sizeof(*o));
            if (!o)
                return -ENOMEM;
            f->offset = o;
            size_t *b = reallocarray(f->bytes, room, sizeof(*b));
            if (!b)
                return -ENOMEM;
            f->bytes = b;
        }
        f->offset[f->frames] = start;
        f->bytes[f->frames++] = bytes;
    }
    if (f->frames == 0) {
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s holds no whole frame: it is truncated or damaged", path);
        return -EBADMSG;
    }
    return 0;
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
        snprintf(message, SOURCE_MESSAGE_SIZE, "can't read folder %s: %s", path, strerror(errno));
        return -errno;
    }
    int r = 0;
    f->path = calloc((size_t)n + 1, sizeof(*f->path));
    for (int i = 0; i < n; i++) {
        if (f->path && r == 0 && f->frames < SOURCE_FILE_MAX_FRAMES) {
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

// What kind of file it is, by its first bytes; the frames it has.
static int identify(struct file_source *f, const char *path, char *message)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        snprintf(message, SOURCE_MESSAGE_SIZE, "can't open %s: %s", path, strerror(errno));
        return -errno;
    }
    f->kind = KIND_PICTURES;
    if (S_ISDIR(st.st_mode))
        return list_folder(f, path, message);

    int r = map_file(path, &f->map, message);
    if (r < 0)
        return r;
    if (f->map.size > 9 && !memcmp(f->map.data, "YUV4MPEG2", 9)) {
        f->kind = KIND_Y4M;
        return index_clip(f, path, message);
    }
    if (is_jpeg(&f->map)) {
        f->kind = KIND_MJPEG; // a lone JPEG is a clip of one frame
        return index_clip(f, path, message);
    }
    if (!is_png(&f->map)) {
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s is neither JPEG, PNG, MJPEG nor Y4M", path);
        return -EBADMSG;
    }
    unmap(&f->map);
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

static int load_picture(struct file_source *f, uint64_t index, struct frame *frame)
{
    char message[SOURCE_MESSAGE_SIZE];
    unmap(&f->map);
    image_free(&f->decoded);
    int r = map_file(f->path[index], &f->map, message);
    if (r < 0)
        return r;
    if (!is_png(&f->map)) { // whatever it is, the decoder will say
        frame->format = FRAME_JPEG;
        frame->data = f->map.data;
        frame->size = f->map.size;
        return 0;
    }
    r = png_decode(f->map.data, f->map.size, 3, &f->decoded, message);
    if (r < 0)
        return r;
    frame->format = FRAME_RGB24;
    frame->width = f->decoded.width;
    frame->height = f->decoded.height;
    frame->stride = f->decoded.stride;
    frame->data = f->decoded.data;
    frame->size = (size_t)f->decoded.stride * (size_t)f->decoded.height;
    return 0;
}

static int file_next(struct source *s, int64_t now_ns, struct frame *ret_frame)
{
    struct file_source *f = of(s);
    if (!f->started)
        return -EAGAIN;
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
    if (f->kind == KIND_PICTURES) {
        int r = load_picture(f, index, &frame);
        if (r < 0) {
            s->info.bad++;
            return r == -ENOMEM ? r : -EAGAIN;
        }
    } else {
        frame.format = f->kind == KIND_Y4M ? FRAME_GREY : FRAME_JPEG;
        frame.data = f->map.data + f->offset[index];
        frame.size = f->bytes[index];
        if (f->kind == KIND_Y4M) {
            frame.width = frame.stride = f->y4m.width;
            frame.height = f->y4m.height;
        }
    }
    *ret_frame = frame;
    return 0;
}

static void file_release(struct source *s, const struct frame *frame) {}

static void file_close(struct source *s)
{
    struct file_source *f = of(s);
    if (s->fd >= 0)
        close(s->fd);
    unmap(&f->map);
    image_free(&f->decoded);
    for (uint64_t i = 0; f->path && i < f->frames; i++)
        free(f->path[i]);
    free(f->path);
    free(f->offset);
    free(f->bytes);
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
    snprintf(s->info.format, sizeof(s->info.format), "%s",
             f->kind == KIND_Y4M     ? "Y4M"
             : f->kind == KIND_MJPEG ? "MJPG"
                                     : "FILES");
    s->info.fps = f->fps;
    s->info.frames = f->frames;
    *ret_source = s;
    return 0;
}
