// The pinhole camera: intrinsics in pixels (positions as geometry.h has them), no lens distortion.
#pragma once

#include "vision/geometry.h"

// What an unknown webcam is taken for; most built-in ones are 55 to 70 degrees wide.
#define CAMERA_DEFAULT_HFOV_DEG 60.0

struct camera {
    double fx, fy, cx, cy;
};

// Square pixels, principal point in the middle. -EINVAL unless width_px, height_px > 0 and 0 < hfov_rad < pi.
int camera_from_hfov(int width_px, int height_px, double hfov_rad, struct camera *ret_camera);
struct mat3 camera_matrix(const struct camera *camera);
struct mat3 camera_matrix_inverse(const struct camera *camera);
// -EDOM when the point is not in front of the camera (z <= 0).
int camera_project(const struct camera *camera, struct vec3 point_mm, struct point *ret_px);
// The point at depth z_mm (along the optical axis, not along the ray) seen at pixel p.
struct vec3 camera_unproject(const struct camera *camera, struct point p, double z_mm);
// Unit vector from the camera through pixel p.
struct vec3 camera_ray(const struct camera *camera, struct point p);
// The camera of the same image resized by sx, sy, and of its crop whose top left corner is at (x_px, y_px).
struct camera camera_scaled(const struct camera *camera, double sx, double sy);
struct camera camera_cropped(const struct camera *camera, double x_px, double y_px);
