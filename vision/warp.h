// Warps of a u8 image into a patch by a homography: crops, similarity alignments, normalisations.
//
// Bilinear; where the patch is smaller than what it covers, a grid of samples a pixel averages the area (up to
// WARP_MAX_SAMPLES a side, enough for a shrink by 8). Outside the frame the border repeats.
#pragma once

#include "vision/geometry.h"
#include "vision/image.h"

#define WARP_MAX_SAMPLES 8

// Output = (pixel - mean[channel]) * scale[channel], pixel 0..255.
struct warp_norm {
    float mean[3], scale[3];
};

#define WARP_NORM_UNIT   ((struct warp_norm){{0, 0, 0}, {1 / 255.0f, 1 / 255.0f, 1 / 255.0f}})
#define WARP_NORM_SIGNED ((struct warp_norm){{127.5f, 127.5f, 127.5f}, {1 / 127.5f, 1 / 127.5f, 1 / 127.5f}})

// patch_from_frame: homography from frame to patch pixels (its inverse drives the sampling). Channels may differ: RGB
// to grey by luma, grey to RGB by repetition. -EINVAL for bad images, -EDOM for a singular homography or one whose
// horizon crosses the patch. No allocation.
int warp_to_u8(const struct image *frame, const struct mat3 *patch_from_frame, struct image *patch);
// The same into floats, height x width x channels (NHWC of batch 1), tight. channels 1 or 3;
// sides 1..IMAGE_MAX_SIDE_PX.
int warp_to_f32(const struct image *frame, const struct mat3 *patch_from_frame, int width_px, int height_px,
                int channels, const struct warp_norm *norm, float *patch);
// Mean 0 and standard deviation 1 over `count` values in place; a flat patch (deviation < min_deviation) is divided by
// min_deviation instead, so noise is not blown up. min_deviation > 0.
void warp_standardise(float *values, size_t count, float min_deviation);

// patch_from_frame of a plain crop: the rectangle x, y, w, h (frame pixels, may lie outside) stretched to the patch.
struct mat3 warp_from_rect(float x, float y, float w, float h, int patch_width_px, int patch_height_px);
// patch_from_frame of the whole frame fitted into the patch with its aspect kept, centred, border repeated beside it.
struct mat3 warp_letterbox(int frame_width_px, int frame_height_px, int patch_width_px, int patch_height_px);
// patch_from_frame of a square of side `side_px` round `centre`, turned so that the frame direction `roll_rad`
// (clockwise from +x) becomes the patch's +x.
struct mat3 warp_from_square(struct point centre, float side_px, float roll_rad, int patch_side_px);
// Least-squares similarity (rotation, one scale, shift; no reflection; Umeyama 1991) that sends from[i] to to[i]. count
// >= 2; without `rotate` only scale and shift. -EINVAL for count < 2, -EDOM when the points coincide. ret_rms_px (may
// be NULL) is what remains.
int warp_fit_similarity(const struct point *from, const struct point *to, int count, bool rotate,
                        struct mat3 *ret_to_from_from, double *ret_rms_px);
