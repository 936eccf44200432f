// Zhang normalisation: see normalise.h.
#include "vision/normalise.h"

#include <errno.h>
#include <math.h>

int normalise_rotation(struct vec3 centre_mm, struct vec3 head_x, struct mat3 *ret_rotation)
{
    if (!(centre_mm.z > 0) || !isfinite(vec3_length(centre_mm)))
        return -EDOM;
    struct vec3 forward = vec3_unit(centre_mm);
    struct vec3 down = vec3_cross(forward, vec3_unit(head_x));
    if (!(vec3_length(down) > 1e-6))
        return -EDOM;
    down = vec3_unit(down);
    struct vec3 right = vec3_unit(vec3_cross(down, forward));
    *ret_rotation = mat3_from_rows(right, down, forward);
    return 0;
}

int normalise_make(const struct camera *camera, struct vec3 centre_mm, const struct mat3 *head,
                   const struct normalise_spec *spec, struct normalisation *ret_normalisation)
{
    if (!(spec->focal_px > 0) || !(spec->distance_mm > 0) || spec->width_px < 1 || spec->height_px < 1)
        return -EINVAL;
    struct normalisation n;
    int r = normalise_rotation(centre_mm, mat3_column(head, 0), &n.rotation);
    if (r < 0)
        return r;
    struct camera patch = {spec->focal_px, spec->focal_px, spec->width_px / 2.0, spec->height_px / 2.0};
    struct mat3 from_camera = camera_matrix_inverse(camera);
    struct mat3 scale = mat3_identity();
    scale.m[2][2] = spec->distance_mm / vec3_length(centre_mm);
    struct mat3 w = mat3_mul(&n.rotation, &from_camera);
    w = mat3_mul(&scale, &w);
    struct mat3 to_patch = camera_matrix(&patch);
    n.patch_from_frame = mat3_mul(&to_patch, &w);
    *ret_normalisation = n;
    return 0;
}

struct vec3 normalise_gaze(const struct normalisation *n, struct vec3 gaze)
{
    return mat3_apply(&n->rotation, gaze);
}

struct vec3 denormalise_gaze(const struct normalisation *n, struct vec3 gaze_n)
{
    return mat3_apply_transposed(&n->rotation, gaze_n);
}

struct mat3 normalise_head(const struct normalisation *n, const struct mat3 *head)
{
    return mat3_mul(&n->rotation, head);
}
