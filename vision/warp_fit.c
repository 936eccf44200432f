// The homographies that warps are made of - crops, letterboxes, similarities: see warp.h.
#include "vision/warp.h"

#include <errno.h>
#include <math.h>

struct mat3 warp_from_rect(float x, float y, float w, float h, int patch_width_px, int patch_height_px)
{
    double sx = patch_width_px / (double)w, sy = patch_height_px / (double)h;
    return (struct mat3){{{sx, 0, -x * sx}, {0, sy, -y * sy}, {0, 0, 1}}};
}

struct mat3 warp_letterbox(int frame_width_px, int frame_height_px, int patch_width_px, int patch_height_px)
{
    double s = fmin((double)patch_width_px / frame_width_px, (double)patch_height_px / frame_height_px);
    return (struct mat3){{{s, 0, (patch_width_px - s * frame_width_px) / 2},
                          {0, s, (patch_height_px - s * frame_height_px) / 2},
                          {0, 0, 1}}};
}

struct mat3 warp_from_square(struct point centre, float side_px, float roll_rad, int patch_side_px)
{
    double s = patch_side_px / (double)side_px, c = s * cos(roll_rad), d = s * sin(roll_rad);
    double half = patch_side_px / 2.0;
    return (struct mat3){
        {{c, d, half - c * centre.x - d * centre.y}, {-d, c, half + d * centre.x - c * centre.y}, {0, 0, 1}}};
}

int warp_fit_similarity(const struct point *from, const struct point *to, int count, bool rotate,
                        struct mat3 *ret_to_from_from, double *ret_rms_px)
{
    if (count < 2)
        return -EINVAL;
    double fx = 0, fy = 0, tx = 0, ty = 0;
    for (int i = 0; i < count; i++) {
        fx += from[i].x / (double)count;
        fy += from[i].y / (double)count;
        tx += to[i].x / (double)count;
        ty += to[i].y / (double)count;
    }
    // As complex numbers to = a from + b; the least-squares a = sum conj(from) to / sum |from|^2 about the means.
    double re = 0, im = 0, spread = 0;
    for (int i = 0; i < count; i++) {
        double ax = from[i].x - fx, ay = from[i].y - fy, bx = to[i].x - tx, by = to[i].y - ty;
        re += ax * bx + ay * by;
        im += ax * by - ay * bx;
        spread += ax * ax + ay * ay;
    }
    re /= spread;
    im = rotate ? im / spread : 0;
    if (!isfinite(re) || !isfinite(im) || !(hypot(re, im) > 0) || (!rotate && !(re > 0)))
        return -EDOM;
    struct mat3 m = {{{re, -im, tx - re * fx + im * fy}, {im, re, ty - im * fx - re * fy}, {0, 0, 1}}};
    double squares = 0;
    for (int i = 0; i < count; i++) {
        struct vec3 p = mat3_apply(&m, vec3_make(from[i].x, from[i].y, 1));
        squares += (p.x - to[i].x) * (p.x - to[i].x) + (p.y - to[i].y) * (p.y - to[i].y);
    }
    *ret_to_from_from = m;
    if (ret_rms_px)
        *ret_rms_px = sqrt(squares / count);
    return 0;
}
