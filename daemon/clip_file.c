// Finding a clip's frames through a window that moves over the file, and reading them.
#include "daemon/clip_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/file_bytes.h"
#include "daemon/source.h"

#define WINDOW_FIRST_BYTES ((size_t)1 << 20) // doubles while a frame does not fit

// Bytes [at, at + have) of the file.
struct window {
    uint8_t *data;
    size_t room, have;
    uint64_t at;
    bool last; // it reaches the end of the file
};

bool clip_file_is_clip(const uint8_t *head, size_t size)
{
    return (size > 9 && !memcmp(head, "YUV4MPEG2", 9)) || (size > 3 && !memcmp(head, "\xff\xd8\xff", 3));
}

static int add_frame(struct clip_file *c, uint64_t offset, size_t bytes)
{
    if ((c->count & (c->count - 1)) == 0) { // 0 or a power of two: full
        struct clip_frame *frames = reallocarray(c->frames, c->count ? 2 * c->count : 1, sizeof(*frames));
        if (!frames)
            return -ENOMEM;
        c->frames = frames;
    }
    c->frames[c->count++] = (struct clip_frame){offset, bytes};
    return 0;
}

// Leaves out the window's first bytes and fills it up.
static int move_on(struct window *w, int fd, size_t bytes)
{
    memmove(w->data, w->data + bytes, w->have - bytes);
    w->at += bytes;
    w->have -= bytes;
    int64_t n = file_bytes_read(fd, w->at + w->have, w->data + w->have, w->room - w->have);
    if (n < 0)
        return (int)n;
    w->have += (size_t)n;
    w->last = w->have < w->room;
    return 0;
}

static int grow(struct window *w)
{
    uint8_t *data = realloc(w->data, 2 * w->room);
    if (!data)
        return -ENOMEM;
    w->data = data;
    w->room *= 2;
    return 0;
}

// Frames that are whole in the window. *ret_kept: where the bytes begin that are wanted once more with those behind.
static int index_window(struct clip_file *c, struct window *w, size_t *ret_kept)
{
    size_t at = 0, start, bytes;
    while (c->count < CLIP_FILE_MAX_FRAMES) {
        enum clip_found found = clip_next_jpeg(w->data, w->have, &at, &start, &bytes);
        if (found == CLIP_FRAME) {
            int r = add_frame(c, w->at + start, bytes);
            if (r < 0)
                return r;
        } else if (found == CLIP_CUT && (w->last || (at == 0 && w->room >= CLIP_FILE_MAX_FRAME_BYTES))) {
            at++; // there is no more of it, or too much
        } else {
            break;
        }
    }
    *ret_kept = at;
    return 0;
}

static int index_jpegs(struct clip_file *c)
{
    struct window w = {.data = malloc(WINDOW_FIRST_BYTES), .room = WINDOW_FIRST_BYTES};
    size_t kept = 0;
    int r = w.data ? move_on(&w, c->fd, 0) : -ENOMEM;
    while (r >= 0) {
        r = index_window(c, &w, &kept);
        if (r < 0 || w.last || c->count >= CLIP_FILE_MAX_FRAMES)
            break;
        if (kept == 0)
            r = grow(&w);
        if (r >= 0)
            r = move_on(&w, c->fd, kept);
    }
    free(w.data);
    return r;
}

static int index_y4m(struct clip_file *c, uint64_t size, const char *path, char *message)
{
    uint8_t text[CLIP_Y4M_HEADER_MAX];
    int64_t n = file_bytes_read(c->fd, 0, text, sizeof(text));
    int r = n < 0 ? (int)n : clip_parse_y4m(text, (size_t)n, &c->y4m);
    if (r < 0) {
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s: %s", path,
                 n < 0              ? strerror(-r)
                 : r == -EOPNOTSUPP ? "only 8-bit Y4M of 4:2:0, 4:2:2, 4:4:4 or mono can be read"
                 : r == -EMSGSIZE   ? "pictures of more than 8192 pixels a side can't be read"
                                    : "broken Y4M header");
        return r;
    }
    size_t luma = (size_t)c->y4m.width * (size_t)c->y4m.height, line;
    for (uint64_t at = c->y4m.first; c->count < CLIP_FILE_MAX_FRAMES; at += line + c->y4m.frame_bytes) {
        n = file_bytes_read(c->fd, at, text, CLIP_Y4M_LINE_MAX);
        if (n < 0)
            return (int)n;
        line = clip_y4m_line(text, (size_t)n);
        if (!line || at + line + c->y4m.frame_bytes > size)
            break;
        r = add_frame(c, at + line, luma);
        if (r < 0)
            return r;
    }
    return 0;
}

int clip_file_open(int fd, uint64_t size, const char *path, struct clip_file *ret_clip, char *message)
{
    struct clip_file c = {.fd = fd};
    uint8_t head[16];
    int64_t n = file_bytes_read(fd, 0, head, sizeof(head));
    int r = n < 0 ? (int)n : 0;
    c.is_y4m = n > 0 && head[0] == 'Y';
    if (r >= 0)
        r = c.is_y4m ? index_y4m(&c, size, path, message) : index_jpegs(&c);
    if (r >= 0 && c.count == 0) {
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s holds no whole frame: it is truncated or damaged", path);
        r = -EBADMSG;
    }
    size_t largest = 0;
    for (uint64_t i = 0; i < c.count; i++)
        largest = c.frames[i].bytes > largest ? c.frames[i].bytes : largest;
    if (r >= 0 && !(c.data = malloc(largest)))
        r = -ENOMEM;
    if (r < 0) {
        clip_file_close(&c);
        return r;
    }
    *ret_clip = c;
    return 0;
}

int clip_file_read(struct clip_file *clip, uint64_t index)
{
    const struct clip_frame *f = &clip->frames[index];
    int64_t n = file_bytes_read(clip->fd, f->offset, clip->data, f->bytes);
    return n < 0 ? (int)n : (size_t)n == f->bytes ? 0 : -ESTALE;
}

void clip_file_close(struct clip_file *clip)
{
    if (clip->fd >= 0)
        close(clip->fd);
    free(clip->data);
    free(clip->frames);
    *clip = (struct clip_file){.fd = -1};
}
