// Finding the frames in a file's bytes: concatenated JPEGs (MJPEG) and YUV4MPEG2. Pure.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CLIP_Y4M_HEADER_MAX 1024 // bytes that a Y4M's first line may have
#define CLIP_Y4M_LINE_MAX   256  // bytes that a FRAME line may have

enum clip_found { CLIP_NONE, CLIP_FRAME, CLIP_CUT };

// The next JPEG at or after *offset. CLIP_FRAME: it is whole; its first byte and size are given, and *offset moves
// behind it. CLIP_CUT: one begins at *offset, but the data end before it does: with more data the search goes on from
// there; if there are no more it is no frame, and the search goes on at *offset + 1. CLIP_NONE: none begins; more data
// are searched from *offset on. Segments are walked, so that a thumbnail inside a picture is not taken for a frame.
enum clip_found clip_next_jpeg(const uint8_t *data, size_t size, size_t *offset, size_t *ret_start, size_t *ret_size);

struct y4m {
    int width, height;
    double fps;
    size_t first;       // offset of the first FRAME line
    size_t frame_bytes; // of one picture, without its FRAME line
};

// Header of a YUV4MPEG2 file of 8 bits: C420*, C422, C444, Cmono. -EBADMSG not such a file or cut off; -EOPNOTSUPP
// another colour space or depth; -EMSGSIZE too large (8192 pixels a side).
int clip_parse_y4m(const uint8_t *data, size_t size, struct y4m *ret_y4m);
// Bytes of the FRAME line that data begin with, its end of line too; 0 if they don't begin with one. Behind it stands
// the luma plane (width x height bytes, tight), then the chroma.
size_t clip_y4m_line(const uint8_t *data, size_t size);
