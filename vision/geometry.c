// Vectors, rotations and the project's angles: see geometry.h.
#include "vision/geometry.h"

#include <errno.h>
#include <math.h>

double vec3_length(struct vec3 a)
{
    return sqrt(vec3_dot(a, a));
}

struct vec3 vec3_unit(struct vec3 a)
{
    double length = vec3_length(a);
    return length > 0 ? vec3_scale(a, 1 / length) : a;
}

struct mat3 mat3_identity(void)
{
    return (struct mat3){{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
}

struct mat3 mat3_mul(const struct mat3 *a, const struct mat3 *b)
{
    struct mat3 c;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            c.m[i][j] = a->m[i][0] * b->m[0][j] + a->m[i][1] * b->m[1][j] + a->m[i][2] * b->m[2][j];
    return c;
}

struct mat3 mat3_transpose(const struct mat3 *a)
{
    struct mat3 t;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            t.m[i][j] = a->m[j][i];
    return t;
}

struct vec3 mat3_apply(const struct mat3 *a, struct vec3 v)
{
    return vec3_make(a->m[0][0] * v.x + a->m[0][1] * v.y + a->m[0][2] * v.z,
                     a->m[1][0] * v.x + a->m[1][1] * v.y + a->m[1][2] * v.z,
                     a->m[2][0] * v.x + a->m[2][1] * v.y + a->m[2][2] * v.z);
}

struct vec3 mat3_apply_transposed(const struct mat3 *a, struct vec3 v)
{
    return vec3_make(a->m[0][0] * v.x + a->m[1][0] * v.y + a->m[2][0] * v.z,
                     a->m[0][1] * v.x + a->m[1][1] * v.y + a->m[2][1] * v.z,
                     a->m[0][2] * v.x + a->m[1][2] * v.y + a->m[2][2] * v.z);
}

struct vec3 mat3_column(const struct mat3 *a, int column)
{
    return vec3_make(a->m[0][column], a->m[1][column], a->m[2][column]);
}

struct mat3 mat3_from_rows(struct vec3 r0, struct vec3 r1, struct vec3 r2)
{
    return (struct mat3){{{r0.x, r0.y, r0.z}, {r1.x, r1.y, r1.z}, {r2.x, r2.y, r2.z}}};
}

static struct vec3 row(const struct mat3 *a, int i)
{
    return vec3_make(a->m[i][0], a->m[i][1], a->m[i][2]);
}

double mat3_determinant(const struct mat3 *a)
{
    return vec3_dot(row(a, 0), vec3_cross(row(a, 1), row(a, 2)));
}

int mat3_invert(const struct mat3 *a, struct mat3 *ret_inverse)
{
    double det = mat3_determinant(a);
    if (!isfinite(det) || det == 0 || !isfinite(1 / det))
        return -EDOM;
    // The columns of the inverse are the cross products of the rows, over the determinant.
    struct vec3 c0 = vec3_scale(vec3_cross(row(a, 1), row(a, 2)), 1 / det);
    struct vec3 c1 = vec3_scale(vec3_cross(row(a, 2), row(a, 0)), 1 / det);
    struct vec3 c2 = vec3_scale(vec3_cross(row(a, 0), row(a, 1)), 1 / det);
    struct mat3 columns = mat3_from_rows(c0, c1, c2);
    *ret_inverse = mat3_transpose(&columns);
    return 0;
}

int homography_apply(const struct mat3 *h, struct point p, struct point *ret_point)
{
    struct vec3 v = mat3_apply(h, vec3_make(p.x, p.y, 1));
    if (!(v.z > 0) || !isfinite(v.x / v.z) || !isfinite(v.y / v.z))
        return -EDOM;
    *ret_point = (struct point){(float)(v.x / v.z), (float)(v.y / v.z)};
    return 0;
}

struct vec3 gaze_from_angles(struct angles angles)
{
    double cp = cos(angles.pitch_rad);
    return vec3_make(-cp * sin(angles.yaw_rad), -sin(angles.pitch_rad), -cp * cos(angles.yaw_rad));
}

struct angles gaze_to_angles(struct vec3 gaze)
{
    if (gaze.x == 0 && gaze.y == 0 && gaze.z == 0)
        return (struct angles){0, 0};
    // atan2 with the horizontal length is asin of the unit vector, but exact near the poles too.
    return (struct angles){.pitch_rad = atan2(-gaze.y, hypot(gaze.x, gaze.z)), .yaw_rad = atan2(-gaze.x, -gaze.z)};
}

double angle_between(struct vec3 a, struct vec3 b)
{
    return atan2(vec3_length(vec3_cross(a, b)), vec3_dot(a, b));
}

double angular_error(struct angles a, struct angles b)
{
    return angle_between(gaze_from_angles(a), gaze_from_angles(b));
}

struct mat3 rotation_from_head_angles(struct head_angles angles)
{
    double cp = cos(angles.pitch_rad), sp = sin(angles.pitch_rad);
    double cy = cos(angles.yaw_rad), sy = sin(angles.yaw_rad);
    double cr = cos(angles.roll_rad), sr = sin(angles.roll_rad);
    struct mat3 yaw = {{{cy, 0, sy}, {0, 1, 0}, {-sy, 0, cy}}};
    struct mat3 pitch = {{{1, 0, 0}, {0, cp, sp}, {0, -sp, cp}}}; // Rx(-pitch)
    struct mat3 roll = {{{cr, -sr, 0}, {sr, cr, 0}, {0, 0, 1}}};
    struct mat3 facing = mat3_mul(&yaw, &pitch);
    return mat3_mul(&facing, &roll);
}

struct head_angles head_angles_from_rotation(const struct mat3 *r)
{
    struct angles facing = gaze_to_angles(vec3_scale(mat3_column(r, 2), -1));
    return (struct head_angles){facing.pitch_rad, facing.yaw_rad, atan2(r->m[1][0], r->m[1][1])};
}

struct mat3 rotation_from_vector(struct vec3 v)
{
    double angle = vec3_length(v);
    // sin(a)/a and (1 - cos(a))/a^2, by their series where the quotients lose digits.
    double s = angle > 1e-4 ? sin(angle) / angle : 1 - angle * angle / 6;
    double c = angle > 1e-4 ? (1 - cos(angle)) / (angle * angle) : 0.5 - angle * angle / 24;
    struct mat3 k = {{{0, -v.z, v.y}, {v.z, 0, -v.x}, {-v.y, v.x, 0}}};
    struct mat3 k2 = mat3_mul(&k, &k);
    struct mat3 r = mat3_identity();
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            r.m[i][j] += s * k.m[i][j] + c * k2.m[i][j];
    return r;
}

// Through the unit quaternion with the largest component first (Shepperd 1978): good for every angle up to pi.
struct vec3 rotation_to_vector(const struct mat3 *r)
{
    double trace = r->m[0][0] + r->m[1][1] + r->m[2][2];
    double w, q[3];
    if (trace > 0) {
        w = 0.5 * sqrt(1 + trace);
        for (int i = 0; i < 3; i++) {
            int j = (i + 1) % 3, k = (i + 2) % 3;
            q[i] = (r->m[k][j] - r->m[j][k]) / (4 * w);
        }
    } else {
        int i = r->m[1][1] > r->m[0][0] ? 1 : 0;
        if (r->m[2][2] > r->m[i][i])
            i = 2;
        int j = (i + 1) % 3, k = (i + 2) % 3;
        q[i] = 0.5 * sqrt(fmax(0, 1 + r->m[i][i] - r->m[j][j] - r->m[k][k]));
        w = (r->m[k][j] - r->m[j][k]) / (4 * q[i]);
        q[j] = (r->m[j][i] + r->m[i][j]) / (4 * q[i]);
        q[k] = (r->m[k][i] + r->m[i][k]) / (4 * q[i]);
    }
    if (w < 0) {
        w = -w;
        for (int i = 0; i < 3; i++)
            q[i] = -q[i];
    }
    struct vec3 axis = vec3_make(q[0], q[1], q[2]);
    double half_sine = vec3_length(axis);
    double angle = 2 * atan2(half_sine, w);
    return vec3_scale(axis, half_sine > 1e-12 ? angle / half_sine : 2);
}

double rotation_distance(const struct mat3 *a, const struct mat3 *b)
{
    struct mat3 at = mat3_transpose(a);
    struct mat3 turn = mat3_mul(&at, b);
    return vec3_length(rotation_to_vector(&turn));
}

int rotation_from_6d(const float six[6], struct mat3 *ret_rotation)
{
    struct vec3 a = vec3_make(six[0], six[1], six[2]);
    struct vec3 b = vec3_make(six[3], six[4], six[5]);
    struct vec3 x = vec3_unit(a);
    struct vec3 y = vec3_sub(vec3_unit(b), vec3_scale(x, vec3_dot(x, vec3_unit(b))));
    if (!(vec3_length(x) > 0.5) || !(vec3_length(y) > 1e-6) || !isfinite(vec3_length(a)) || !isfinite(vec3_length(b)))
        return -EDOM;
    y = vec3_unit(y);
    struct mat3 columns = mat3_from_rows(x, y, vec3_cross(x, y));
    *ret_rotation = mat3_transpose(&columns);
    return 0;
}

void rotation_to_6d(const struct mat3 *r, float ret_six[6])
{
    for (int i = 0; i < 3; i++) {
        ret_six[i] = (float)r->m[i][0];
        ret_six[3 + i] = (float)r->m[i][1];
    }
}
