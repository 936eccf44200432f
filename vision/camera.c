// The pinhole camera: see camera.h.
#include "vision/camera.h"

#include <errno.h>
#include <math.h>

int camera_from_hfov(int width_px, int height_px, double hfov_rad, struct camera *ret_camera)
{
    if (width_px <= 0 || height_px <= 0 || !(hfov_rad > 0) || !(hfov_rad < rad_from_deg(180)))
        return -EINVAL;
    double f = width_px / 2.0 / tan(hfov_rad / 2);
    *ret_camera = (struct camera){f, f, width_px / 2.0, height_px / 2.0};
    return 0;
}

struct mat3 camera_matrix(const struct camera *camera)
{
    return (struct mat3){{{camera->fx, 0, camera->cx}, {0, camera->fy, camera->cy}, {0, 0, 1}}};
}

struct mat3 camera_matrix_inverse(const struct camera *camera)
{
    return (struct mat3){
        {{1 / camera->fx, 0, -camera->cx / camera->fx}, {0, 1 / camera->fy, -camera->cy / camera->fy}, {0, 0, 1}}};
}

int camera_project(const struct camera *camera, struct vec3 point_mm, struct point *ret_px)
{
    if (!(point_mm.z > 0))
        return -EDOM;
    *ret_px = (struct point){(float)(camera->fx * point_mm.x / point_mm.z + camera->cx),
                             (float)(camera->fy * point_mm.y / point_mm.z + camera->cy)};
    return 0;
}

struct vec3 camera_unproject(const struct camera *camera, struct point p, double z_mm)
{
    return vec3_make((p.x - camera->cx) / camera->fx * z_mm, (p.y - camera->cy) / camera->fy * z_mm, z_mm);
}

struct vec3 camera_ray(const struct camera *camera, struct point p)
{
    return vec3_unit(camera_unproject(camera, p, 1));
}

struct camera camera_scaled(const struct camera *camera, double sx, double sy)
{
    return (struct camera){camera->fx * sx, camera->fy * sy, camera->cx * sx, camera->cy * sy};
}

struct camera camera_cropped(const struct camera *camera, double x_px, double y_px)
{
    return (struct camera){camera->fx, camera->fy, camera->cx - x_px, camera->cy - y_px};
}
