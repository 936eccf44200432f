// Raw camera frames (V4L2's uncompressed formats) to RGB or grey.
//
// YUV is BT.601 limited range, V4L2's default for webcams; grey is the luma stretched to 0..255, so that the grey and
// RGB ways agree. Rounding is to nearest.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vision/image.h"

enum pixel_format {
    PIXEL_GREY,
    PIXEL_RGB24,
    PIXEL_BGR24,
    PIXEL_YUYV, // Y0 U Y1 V; an odd width has a last pair whose second pixel is unused
    PIXEL_NV12, // luma plane, then interleaved UV plane of the same stride, at stride * height
    PIXEL_FORMATS
};

// Smallest stride for a width: bytes of one row. 0 for an unknown format or a width outside 1..IMAGE_MAX_SIDE_PX.
int pixel_min_stride(enum pixel_format format, int width);
// Bytes that a frame needs (the last row need not be padded); 0 for bad arguments. stride 0 = the smallest.
size_t pixel_frame_bytes(enum pixel_format format, int width, int height, int stride);
// Converts one frame. dst gives the size and, by its channels, grey or RGB; allocated by the caller. stride 0 = the
// smallest. -EINVAL for an unknown format, bad image or a stride too small; -EMSGSIZE when size is too short. No
// allocation.
int pixel_convert(enum pixel_format format, const uint8_t *data, size_t size, int stride, struct image *dst);
