// Vectors, rotations and the project's angles. Geometry is double, pixel positions and boxes are float.
//
// Camera frame: x right, y down, z forward, millimetres. A gaze is a unit vector from the face or eye to the target.
// Angles are radians: pitch = asin(-g_y), yaw = atan2(-g_x, -g_z); (0, 0) looks straight into the camera, positive
// pitch looks up, positive yaw toward the image's left. g(pitch, yaw) = -(cos p sin y, sin p, cos p cos y).
//
// Head frame: x to the image's right (the subject's left), y down, z into the head; R maps head to camera, R = I is a
// face that looks straight into the camera. A head's pitch and yaw are the angles of its facing direction -R[:,2] (same
// formula); roll turns about the facing direction, positive clockwise in the image: R = Ry(yaw) Rx(-pitch) Rz(roll).
//
// Pixel positions are continuous: (0, 0) is the top left corner of the image, the first pixel's centre is (0.5, 0.5).
// So scaling an image by s scales positions, boxes and intrinsics by s.
#pragma once

#include <stdbool.h>

// A pixel position.
struct point {
    float x, y;
};

struct vec3 {
    double x, y, z;
};

// Row-major: m[row][column].
struct mat3 {
    double m[3][3];
};

struct angles {
    double pitch_rad, yaw_rad;
};

struct head_angles {
    double pitch_rad, yaw_rad, roll_rad;
};

static inline double rad_from_deg(double degrees)
{
    return degrees * (3.14159265358979323846 / 180.0);
}
static inline double deg_from_rad(double radians)
{
    return radians * (180.0 / 3.14159265358979323846);
}

static inline struct vec3 vec3_make(double x, double y, double z)
{
    return (struct vec3){x, y, z};
}
static inline struct vec3 vec3_add(struct vec3 a, struct vec3 b)
{
    return vec3_make(a.x + b.x, a.y + b.y, a.z + b.z);
}
static inline struct vec3 vec3_sub(struct vec3 a, struct vec3 b)
{
    return vec3_make(a.x - b.x, a.y - b.y, a.z - b.z);
}
static inline struct vec3 vec3_scale(struct vec3 a, double s)
{
    return vec3_make(a.x * s, a.y * s, a.z * s);
}
static inline double vec3_dot(struct vec3 a, struct vec3 b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z;
}
static inline struct vec3 vec3_cross(struct vec3 a, struct vec3 b)
{
    return vec3_make(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x);
}
double vec3_length(struct vec3 a);
// a / |a|; the zero vector stays zero.
struct vec3 vec3_unit(struct vec3 a);

struct mat3 mat3_identity(void);
struct mat3 mat3_mul(const struct mat3 *a, const struct mat3 *b);
struct mat3 mat3_transpose(const struct mat3 *a);
struct vec3 mat3_apply(const struct mat3 *a, struct vec3 v);
// transpose(a) v: the inverse of a rotation without forming it.
struct vec3 mat3_apply_transposed(const struct mat3 *a, struct vec3 v);
struct vec3 mat3_column(const struct mat3 *a, int column);
struct mat3 mat3_from_rows(struct vec3 r0, struct vec3 r1, struct vec3 r2);
double mat3_determinant(const struct mat3 *a);
// -EDOM when the determinant is 0 or not finite. `ret_inverse` may be `a`.
int mat3_invert(const struct mat3 *a, struct mat3 *ret_inverse);
// The image position that the homography `h` sends `p` to. -EDOM when it lies at infinity or behind (w <= 0).
int homography_apply(const struct mat3 *h, struct point p, struct point *ret_point);

// The unit vector of these angles, and back (any length but 0; 0 gives (0, 0)).
struct vec3 gaze_from_angles(struct angles angles);
struct angles gaze_to_angles(struct vec3 gaze);
// Radians between two directions of any length: atan2(|a x b|, a . b).
double angle_between(struct vec3 a, struct vec3 b);
// The same for two pairs of angles.
double angular_error(struct angles a, struct angles b);

// Head rotation from its angles and back; the way back has a pole at pitch +-90 degrees.
struct mat3 rotation_from_head_angles(struct head_angles angles);
struct head_angles head_angles_from_rotation(const struct mat3 *r);
// Turn of |v| radians about v (Rodrigues), and back (0..pi).
struct mat3 rotation_from_vector(struct vec3 v);
struct vec3 rotation_to_vector(const struct mat3 *r);
// Radians of the single turn that leads from a to b.
double rotation_distance(const struct mat3 *a, const struct mat3 *b);
// The continuous representation of Zhou et al. 2019 (CVPR, eq. 15): six = the matrix's first two columns, made
// orthonormal by Gram-Schmidt. -EDOM when the columns are zero or parallel.
int rotation_from_6d(const float six[6], struct mat3 *ret_rotation);
void rotation_to_6d(const struct mat3 *r, float ret_six[6]);
