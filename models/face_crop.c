// The square cut out of a frame for the landmark network, and the virtual camera that would have taken it.
#include <errno.h>
#include <math.h>

#include "models/landmarks.h"
#include "vision/normalise.h"
#include "vision/warp.h"

// Side of the crop against the larger edge of the face box.
#define CROP_FACTOR 1.4f
// For points: the box's larger edge is 3.08 times their root mean square distance from their mean, and the box's middle
// lies 0.12 of that distance above it (means over frontal photographs).
#define EDGE_FROM_RMS  3.08f
#define RISE_FROM_RMS  0.12f
#define CROP_DEVIATION 8.0f // grey levels: what counts as flat

struct face_crop face_crop_from_box(struct box box)
{
    return (struct face_crop){.centre = {box.x + box.w / 2, box.y + box.h / 2},
                              .side_px = CROP_FACTOR * fmaxf(box.w, box.h)};
}

struct face_crop face_crop_from_points(const struct point points[FACE_LANDMARKS])
{
    float x = 0, y = 0, square = 0;
    for (int i = 0; i < FACE_LANDMARKS; i++) {
        x += points[i].x / FACE_LANDMARKS;
        y += points[i].y / FACE_LANDMARKS;
    }
    for (int i = 0; i < FACE_LANDMARKS; i++)
        square += (points[i].x - x) * (points[i].x - x) + (points[i].y - y) * (points[i].y - y);
    float rms = sqrtf(square / FACE_LANDMARKS);
    const struct point *p = points;
    float right =
        p[FACE_LEFT_EYE_OUTER].x + p[FACE_LEFT_EYE_INNER].x - p[FACE_RIGHT_EYE_OUTER].x - p[FACE_RIGHT_EYE_INNER].x;
    float down =
        p[FACE_LEFT_EYE_OUTER].y + p[FACE_LEFT_EYE_INNER].y - p[FACE_RIGHT_EYE_OUTER].y - p[FACE_RIGHT_EYE_INNER].y;
    float roll = atan2f(down, right);
    struct face_crop crop = {.side_px = CROP_FACTOR * EDGE_FROM_RMS * rms, .roll_rad = roll};
    crop.centre.x = x + RISE_FROM_RMS * rms * sinf(roll);
    crop.centre.y = y - RISE_FROM_RMS * rms * cosf(roll);
    return crop;
}

int face_crop_make(const struct face_crop *crop, const struct camera *camera, struct mat3 *ret_patch_from_frame,
                   struct mat3 *ret_rotation)
{
    if (!(crop->side_px > 0) || !isfinite(crop->side_px) || !isfinite(crop->centre.x) || !isfinite(crop->centre.y))
        return -EINVAL;
    struct vec3 level = vec3_make(cosf(crop->roll_rad), sinf(crop->roll_rad), 0);
    int r = normalise_rotation(camera_ray(camera, crop->centre), level, ret_rotation);
    if (r < 0)
        return r;
    *ret_patch_from_frame = warp_from_square(crop->centre, crop->side_px, crop->roll_rad, LANDMARKS_SIZE_PX);
    return 0;
}

int face_crop_pixels(const struct image *frame, const struct mat3 *patch_from_frame, float *pixels)
{
    const struct warp_norm plain = {{0, 0, 0}, {1, 1, 1}};
    int r = warp_to_f32(frame, patch_from_frame, LANDMARKS_SIZE_PX, LANDMARKS_SIZE_PX, 1, &plain, pixels);
    if (r >= 0)
        warp_standardise(pixels, LANDMARKS_SIZE_PX * LANDMARKS_SIZE_PX, CROP_DEVIATION);
    return r;
}
