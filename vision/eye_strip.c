// The gaze network's input transform: see eye_strip.h.
#include "vision/eye_strip.h"

#include <errno.h>
#include <math.h>

#include "vision/normalise.h"

// The x axis that the virtual camera starts from: the head's, or the line of the outer eye corners.
static struct vec3 level_axis(const struct camera *camera, const struct mat3 *head, const struct point corners[4],
                              enum eye_strip_roll roll)
{
    if (roll == EYE_STRIP_ROLL_HEAD)
        return mat3_column(head, 0);
    return vec3_sub(camera_ray(camera, corners[3]), camera_ray(camera, corners[0]));
}

// Frame pixels per strip pixel at the strip's middle.
static int strip_scale(const struct mat3 *strip_from_frame, int width_px, int height_px, double *ret_scale)
{
    struct mat3 back;
    struct point mid = {width_px / 2.0f, height_px / 2.0f}, a, b, c;
    int r = mat3_invert(strip_from_frame, &back);
    if (r < 0)
        return r;
    double w = back.m[2][0] * mid.x + back.m[2][1] * mid.y + back.m[2][2];
    for (int i = 0; i < 9; i++)
        back.m[i / 3][i % 3] /= w;
    if ((r = homography_apply(&back, mid, &a)) < 0 ||
        (r = homography_apply(&back, (struct point){mid.x + 1, mid.y}, &b)) < 0 ||
        (r = homography_apply(&back, (struct point){mid.x, mid.y + 1}, &c)) < 0)
        return r;
    double bx = b.x - a.x, by = b.y - a.y, cx = c.x - a.x, cy = c.y - a.y;
    *ret_scale = sqrt(fabs(bx * cy - by * cx));
    return 0;
}

int eye_strip_make(const struct camera *camera, struct vec3 centre_mm, const struct mat3 *head,
                   const struct point corners[4], enum eye_strip_roll roll, int width_px, int height_px,
                   struct eye_strip *ret_strip)
{
    const float share[4] = {EYE_STRIP_OUTER_SHARE, EYE_STRIP_INNER_SHARE, 1 - EYE_STRIP_INNER_SHARE,
                            1 - EYE_STRIP_OUTER_SHARE};
    struct point seen[4], places[4];
    struct mat3 look, fit;
    struct eye_strip strip;
    if (width_px < 1 || height_px < 1 || (roll == EYE_STRIP_ROLL_HEAD && !head))
        return -EINVAL;
    int r = normalise_rotation(centre_mm, level_axis(camera, head, corners, roll), &look);
    if (r < 0)
        return r;
    struct mat3 from_pixel = camera_matrix_inverse(camera);
    struct mat3 seen_from_frame = mat3_mul(&look, &from_pixel);
    for (int i = 0; i < 4; i++) {
        if ((r = homography_apply(&seen_from_frame, corners[i], &seen[i])) < 0)
            return r;
        places[i] = (struct point){share[i] * (float)width_px, (float)height_px / 2};
    }
    r = warp_fit_similarity(seen, places, 4, roll == EYE_STRIP_ROLL_CORNERS, &fit, &strip.corner_rms_px);
    if (r < 0)
        return r;
    // The similarity's turn is a turn about the virtual camera's axis, so the label turns along.
    double turn = hypot(fit.m[0][0], fit.m[1][0]), c = fit.m[0][0] / turn, s = fit.m[1][0] / turn;
    struct mat3 about_axis = {{{c, -s, 0}, {s, c, 0}, {0, 0, 1}}};
    strip.rotation = mat3_mul(&about_axis, &look);
    strip.strip_from_frame = mat3_mul(&fit, &seen_from_frame);
    r = strip_scale(&strip.strip_from_frame, width_px, height_px, &strip.frame_px_per_strip_px);
    if (r < 0)
        return r;
    *ret_strip = strip;
    return 0;
}
