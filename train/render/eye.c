// Traces ball and cornea. Geometry: ball of 12 mm, a cornea sphere of 7.8 mm through the limbus, an iris plane 0.3 mm
// behind it seen through the cornea (refractive index 1.336), numbers of Atchison and Smith's schematic eyes.
#include "train/render/eye.h"

#include <stddef.h>

#define CORNEA_INDEX 1.336f
#define FRESNEL      0.028f
#define LAMP         1.0f // lamps on the eye are as bright as they are: their images saturate

void eye_init(struct eye *eye, const struct person *p, v3 ball_mm, v3 axis, float pupil_cm)
{
    float ball = p->ball_radius, iris = p->iris_radius;

    *eye = (struct eye){.ball = ball_mm, .axis = axis, .person = p, .lid_shadow = 0.6f, .gain = 1};
    eye->ball_r = 10 * ball;
    eye->iris_r = 10 * iris;
    eye->pupil_r = 10 * pupil_cm;
    eye->limbus_at = 10 * sqrtf(ball * ball - iris * iris);
    eye->cornea_r = 10 * EYE_CORNEA_CM;
    eye->cornea_at = eye->limbus_at - 10 * sqrtf(EYE_CORNEA_CM * EYE_CORNEA_CM - iris * iris);
    eye->right = v3_unit(v3_cross(v3_make(0, 1, 0), axis));
    eye->up = v3_cross(axis, eye->right);
}

// Nearest positive hit of the unit ray with a sphere, or -1.
static float hit_sphere(v3 ray, v3 centre, float radius)
{
    float along = v3_dot(ray, centre), gap = v3_dot(centre, centre) - along * along, d = radius * radius - gap;
    return d < 0 ? -1 : along - sqrtf(d);
}

static float polyline_distance(const float line[EYE_LID_POINTS][2], float x, float y)
{
    float best = 1e9f;

    for (int i = 0; i + 1 < EYE_LID_POINTS; i++) {
        float ax = line[i][0], ay = line[i][1], bx = line[i + 1][0] - ax, by = line[i + 1][1] - ay;
        float t = clampf(((x - ax) * bx + (y - ay) * by) / maxf(bx * bx + by * by, 1e-6f), 0, 1);
        float dx = x - ax - t * bx, dy = y - ay - t * by;
        best = minf(best, dx * dx + dy * dy);
    }
    return sqrtf(best);
}

// The lids' shadow and their contact darkening at this pixel.
static float lid_shade(const struct eye *eye, float x, float y)
{
    float upper, lower;

    if (eye->px_per_mm <= 0)
        return 1;
    upper = polyline_distance(eye->upper, x, y) / eye->px_per_mm;
    lower = polyline_distance(eye->lower, x, y) / eye->px_per_mm;
    return (1 - eye->lid_shadow * expf(-upper * upper / 4.5f)) * (1 - 0.35f * expf(-lower / 0.7f)) *
           (1 - 0.45f * expf(-upper / 0.6f));
}

static v3 iris_colour(const struct eye *eye, v3 at)
{
    const struct person *p = eye->person;
    float u = v3_dot(at, eye->right), v = v3_dot(at, eye->up), rho = sqrtf(u * u + v * v), s = rho / eye->iris_r;
    float turn = atan2f(v, u), q = clampf((rho - eye->pupil_r) / maxf(eye->iris_r - eye->pupil_r, 0.1f), 0, 1);
    float fibre = sinf(23 * turn + p->noise_at[0] + 3 * q) * sinf(9 * turn + p->noise_at[1] * 3) +
                  0.6f * sinf(41 * turn + p->noise_at[2] - 4 * q);
    v3 c = v3_mix(p->iris_inner, p->iris, smoothstepf(0.15f, 0.5f, q));
    float limbus = p->limbus_width / p->iris_radius;

    c = v3_mul(c, 1 + p->iris_grain * fibre * 0.6f + 0.25f * expf(-(q - 0.3f) * (q - 0.3f) * 60));
    c = v3_mul(c, 1 - 0.75f * smoothstepf(1 - 2.2f * limbus, 1, s));
    c = v3_mix(v3_make(.004f, .004f, .004f), c, smoothstepf(eye->pupil_r - 0.12f, eye->pupil_r + 0.12f, rho));
    return c;
}

static v3 sclera_colour(const struct eye *eye, v3 from_ball)
{
    const struct person *p = eye->person;
    float along = v3_dot(from_ball, eye->axis), off = sqrtf(maxf(0, v3_dot(from_ball, from_ball) - along * along));
    float turn = atan2f(v3_dot(from_ball, eye->up), v3_dot(from_ball, eye->right));
    float vein = powf(0.5f + 0.5f * sinf(11 * turn + p->noise_at[3] + 0.8f * off), 8) * smoothstepf(6.5f, 11, off);
    v3 c = v3_tint(p->sclera,
                   v3_mix(v3_make(1, 1, 1), v3_make(1, .72f, .68f), 0.5f * vein + 0.3f * smoothstepf(9, 13, off)));

    c = v3_mul(c, 1 - 0.35f * smoothstepf(7, 13, off)); // it lies deeper toward the corners

    if (along > 0) // the limbus is not a line
        c = v3_mix(c, v3_mul(p->iris, 0.9f), 0.75f * smoothstepf(eye->iris_r + 0.55f, eye->iris_r - 0.1f, off));
    return c;
}

static v3 reflect(v3 ray, v3 normal)
{
    return v3_mad(ray, normal, -2 * v3_dot(ray, normal));
}

static v3 shine(const struct eye *eye, v3 ray, v3 normal, float strength)
{
    float graze = powf(1 - clampf(-v3_dot(ray, normal), 0, 1), 5);
    return v3_mul(lighting_reflection(eye->lighting, reflect(ray, normal), LAMP),
                  eye->gain * strength * (FRESNEL + (1 - FRESNEL) * 0.5f * graze));
}

// Through the cornea at `hit` to the iris plane; the radiance of what is seen there.
static v3 through_cornea(const struct eye *eye, v3 ray, v3 hit, v3 normal, v3 light)
{
    float cosine = -v3_dot(ray, normal), k = 1 / CORNEA_INDEX;
    float under = 1 - k * k * (1 - cosine * cosine), depth;
    v3 inside = v3_mad(v3_mul(ray, k), normal, k * cosine - sqrtf(maxf(0, under)));
    v3 from = v3_sub(hit, eye->ball);
    float towards = v3_dot(inside, eye->axis);

    depth = towards < -1e-3f ? (eye->limbus_at - 10 * EYE_IRIS_DEPTH_CM - v3_dot(from, eye->axis)) / towards : 0;
    return v3_tint(iris_colour(eye, v3_mad(from, inside, maxf(0, depth))), light);
}

int eye_trace(const struct eye *eye, v3 ray, float x, float y, float *ret_depth_mm, v3 *ret_radiance)
{
    float t_big = hit_sphere(ray, eye->big, eye->big_r), t_ball = hit_sphere(ray, eye->ball, eye->ball_r);
    float t_cornea = hit_sphere(ray, v3_mad(eye->ball, eye->axis, eye->cornea_at), eye->cornea_r), t, shadow;
    v3 hit, normal, light, colour;
    int cornea = 0;

    if (t_cornea > 0) {
        hit = v3_mul(ray, t_cornea);
        cornea = v3_dot(v3_sub(hit, eye->ball), eye->axis) > eye->limbus_at;
    }
    if (!cornea && t_big <= 0 && t_ball <= 0)
        return 0;
    t = t_big > 0 ? t_big : cornea ? t_cornea : t_ball;
    shadow = lid_shade(eye, x, y);
    normal = v3_unit(t_big > 0 ? v3_sub(v3_mul(ray, t_big), eye->big) : v3_mul(ray, -1));
    light = v3_mul(
        v3_add(v3_mul(lighting_irradiance(eye->lighting, normal), 0.45f * eye->gain), v3_mul(eye->lid_light, 0.55f)),
        shadow);
    if (cornea) {
        v3 n = v3_unit(v3_sub(hit, v3_mad(eye->ball, eye->axis, eye->cornea_at)));
        colour = v3_add(through_cornea(eye, ray, hit, n, light), shine(eye, ray, n, 0.4f + 0.6f * shadow));
    } else {
        v3 at = t_ball > 0 ? v3_mul(ray, t_ball) : v3_mul(ray, t_big);
        colour = v3_tint(sclera_colour(eye, v3_sub(at, eye->ball)), light);
        colour = v3_add(colour, shine(eye, ray, normal, 0.25f * shadow));
    }
    *ret_depth_mm = t * ray.z;
    *ret_radiance = colour;
    return 1;
}
