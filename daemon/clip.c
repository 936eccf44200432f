// MJPEG and YUV4MPEG2 framing.
#include "daemon/clip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SIDE_PX 8192

#define BROKEN 0        // jpeg_end: no picture begins here
#define CUT    SIZE_MAX // jpeg_end: the data end before the picture does

// Offset behind the JPEG that starts at `at` (its SOI), or BROKEN or CUT. One that is cut short by the next ends where
// that begins: it is left to the decoder to complain, and the next stays whole.
static size_t jpeg_end(const uint8_t *d, size_t size, size_t at)
{
    size_t i = at + 2;
    while (i + 4 <= size) {
        if (d[i] != 0xff)
            return BROKEN;
        uint8_t marker = d[i + 1];
        if (marker == 0xff) { // fill byte
            i++;
            continue;
        }
        if (marker == 0xd9)
            return i + 2;
        if (marker == 0xd8)
            return i > at + 2 ? i : BROKEN;
        if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd7)) {
            i += 2;
            continue;
        }
        size_t length = (size_t)d[i + 2] << 8 | d[i + 3];
        if (length < 2)
            return BROKEN;
        i += 2 + length;
        if (marker != 0xda)
            continue;
        // Entropy-coded data ends at a marker that is neither a stuffed byte nor a restart.
        for (;;) {
            const uint8_t *p = i < size ? memchr(d + i, 0xff, size - i) : NULL;
            if (!p || (size_t)(p - d) + 1 >= size)
                return CUT;
            i = (size_t)(p - d);
            if (d[i + 1] != 0 && (d[i + 1] & 0xf8) != 0xd0 && d[i + 1] != 0xff)
                break;
            i += d[i + 1] == 0xff ? 1 : 2;
        }
    }
    return i + 2 <= size && d[i] == 0xff && d[i + 1] == 0xd9 ? i + 2 : CUT;
}

enum clip_found clip_next_jpeg(const uint8_t *data, size_t size, size_t *offset, size_t *ret_start, size_t *ret_size)
{
    size_t i = *offset;
    for (; i + 3 <= size; i++) {
        const uint8_t *p = memchr(data + i, 0xff, size - i);
        i = p ? (size_t)(p - data) : size;
        if (i + 3 > size)
            break;
        if (data[i + 1] != 0xd8 || data[i + 2] != 0xff)
            continue;
        size_t end = jpeg_end(data, size, i);
        if (end == BROKEN)
            continue;
        *offset = i;
        if (end == CUT)
            return CLIP_CUT;
        *ret_start = i;
        *ret_size = end - i;
        *offset = end;
        return CLIP_FRAME;
    }
    *offset = i;
    return CLIP_NONE;
}

// A positive decimal number of at most 9 digits up to a delimiter; 0 if it is none.
static int number(const char *text, const char *end, const char **ret_next)
{
    int v = 0, digits = 0;
    while (text < end && *text >= '0' && *text <= '9' && digits < 9) {
        v = v * 10 + (*text++ - '0');
        digits++;
    }
    *ret_next = text;
    return v;
}

// Bytes of a frame by the header's C tag (NULL = 4:2:0); 0 if it is none that we read.
static size_t y4m_frame_bytes(const char *tag, size_t length, size_t w, size_t h)
{
    static const char *const sub420[] = {"420", "420jpeg", "420mpeg2", "420paldv"};
    if (!tag)
        return w * h + 2 * ((w + 1) / 2) * ((h + 1) / 2);
    for (size_t i = 0; i < sizeof(sub420) / sizeof(sub420[0]); i++)
        if (length == strlen(sub420[i]) && !memcmp(tag, sub420[i], length))
            return w * h + 2 * ((w + 1) / 2) * ((h + 1) / 2);
    if (length == 3 && !memcmp(tag, "422", 3))
        return w * h + 2 * ((w + 1) / 2) * h;
    if (length == 3 && !memcmp(tag, "444", 3))
        return 3 * w * h;
    if (length == 4 && !memcmp(tag, "mono", 4))
        return w * h;
    return 0;
}

int clip_parse_y4m(const uint8_t *data, size_t size, struct y4m *ret_y4m)
{
    static const char magic[] = "YUV4MPEG2 ";
    size_t room = size < CLIP_Y4M_HEADER_MAX ? size : CLIP_Y4M_HEADER_MAX;
    const char *text = (const char *)data;
    const char *end = room > 10 ? memchr(text, '\n', room) : NULL;
    if (!end || memcmp(text, magic, sizeof(magic) - 1) != 0)
        return -EBADMSG;

    struct y4m y = {.first = (size_t)(end - text) + 1};
    const char *colour = NULL;
    size_t colour_length = 0;
    for (const char *p = text + sizeof(magic) - 1; p < end;) {
        const char *stop = memchr(p, ' ', (size_t)(end - p));
        if (!stop)
            stop = end;
        const char *next;
        if (*p == 'W') {
            y.width = number(p + 1, stop, &next);
        } else if (*p == 'H') {
            y.height = number(p + 1, stop, &next);
        } else if (*p == 'F') {
            int n = number(p + 1, stop, &next);
            int d = next < stop && *next == ':' ? number(next + 1, stop, &next) : 1;
            y.fps = d > 0 ? (double)n / d : 0;
        } else if (*p == 'C') {
            colour = p + 1;
            colour_length = (size_t)(stop - colour);
        }
        p = stop + 1;
    }
    if (y.width <= 0 || y.height <= 0)
        return -EBADMSG;
    if (y.width > MAX_SIDE_PX || y.height > MAX_SIDE_PX)
        return -EMSGSIZE;
    y.frame_bytes = y4m_frame_bytes(colour, colour_length, (size_t)y.width, (size_t)y.height);
    if (!y.frame_bytes)
        return -EOPNOTSUPP;
    *ret_y4m = y;
    return 0;
}

size_t clip_y4m_line(const uint8_t *data, size_t size)
{
    size_t room = size < CLIP_Y4M_LINE_MAX ? size : CLIP_Y4M_LINE_MAX;
    const uint8_t *end = room > 5 && !memcmp(data, "FRAME", 5) ? memchr(data, '\n', room) : NULL;
    return end ? (size_t)(end - data) + 1 : 0;
}
