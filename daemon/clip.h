// Finding the frames in a file's bytes: concatenated JPEGs (MJPEG) and YUV4MPEG2. Pure.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The next whole JPEG at or after *offset: its first byte and its size; *offset moves behind it. False when there is
// none. Segments are walked, so that a thumbnail inside a picture is not taken for a frame.
bool clip_next_jpeg(const uint8_t *data, size_t size, size_t *offset, size_t *ret_start, size_t *ret_size);

struct y4m {
    int width, height;
    double fps;
    size_t first;       // offset of the first FRAME line
    size_t frame_bytes; // of one picture, without its FRAME line
};

// Header of a YUV4MPEG2 file of 8 bits: C420*, C422, C444, Cmono. -EBADMSG not such a file or cut off; -EOPNOTSUPP
// another colour space or depth; -EMSGSIZE too large (8192 pixels a side).
int clip_parse_y4m(const uint8_t *data, size_t size, struct y4m *ret_y4m);
// The next frame's luma plane (width x height bytes, tight); *offset moves behind the whole frame.
bool clip_next_y4m(const struct y4m *y4m, const uint8_t *data, size_t size, size_t *offset, size_t *ret_luma);
