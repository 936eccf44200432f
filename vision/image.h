// 8-bit images: owned buffers, limits, resize, crop, grey, mirror.
#pragma once

#include <stddef.h>
#include <stdint.h>

#define IMAGE_MAX_SIDE_PX 8192

// Rows of `stride` bytes, pixels of `channels` bytes: 1 (grey) or 3 (RGB). An image from image_alloc owns `data`; a
// view (image_view, image_crop_view, a decoder's frame) borrows it and must not be freed.
struct image {
    int width, height, stride, channels;
    uint8_t *data;
};

// -EINVAL for sides outside 1..IMAGE_MAX_SIDE_PX or channels other than 1 or 3; -ENOMEM. Rows are tight; content is 0.
int image_alloc(int width, int height, int channels, struct image *ret_image);
// Frees the data and clears the struct; an empty (all zero) image is fine.
void image_free(struct image *image);
// 0 when sides, channels, stride and data are consistent, else -EINVAL.
int image_check(const struct image *image);
// A borrowed view of a caller's buffer of `size` bytes; -EINVAL, or -EMSGSIZE when the buffer is too short.
int image_view(uint8_t *data, size_t size, int width, int height, int stride, int channels, struct image *ret_view);
// A borrowed view of a rectangle; -EINVAL unless it lies inside and is not empty.
int image_crop_view(const struct image *image, int x, int y, int width, int height, struct image *ret_view);

// The following write into `dst`, allocated by the caller, which must not overlap `src` (image_mirror: may be the same
// image). -EINVAL for bad images or sizes that don't fit the operation.

// Same size; grey from RGB by luma (BT.601: 0.299, 0.587, 0.114), RGB from grey by repetition, else a plain copy.
int image_copy(const struct image *src, struct image *dst);
// Any size to any size, same channels: exact area averages where it shrinks, bilinear where it grows (each axis by
// itself). No allocation (96 KiB of stack).
int image_resize(const struct image *src, struct image *dst);
// Left and right swapped.
int image_mirror(const struct image *src, struct image *dst);
