// Data normalisation for gaze: a virtual camera that looks at the face centre from a fixed distance with the head
// upright. Zhang, Sugano, Bulling: Revisiting data normalization for appearance-based gaze estimation, ETRA 2018,
// section 3.
#pragma once

#include "vision/camera.h"
#include "vision/geometry.h"

// The virtual camera: focal length, distance to the face, patch size; its principal point is the patch's middle.
struct normalise_spec {
    double focal_px, distance_mm;
    int width_px, height_px;
};

#define NORMALISE_FACE_224 ((struct normalise_spec){480, 300, 224, 224})
#define NORMALISE_FACE_448 ((struct normalise_spec){960, 300, 448, 448})
#define NORMALISE_EYE_128  ((struct normalise_spec){1800, 600, 128, 128})

struct normalisation {
    struct mat3 patch_from_frame; // the homography W: frame pixel -> patch pixel
    struct mat3 rotation;         // camera frame -> normalised frame
};

// Rotation of the virtual camera alone: rows r, d, f; f = c/|c|, d = unit(f x head_x), r = unit(d x f).
// head_x is the head's x axis in the camera frame. -EDOM when the centre is not in front (z <= 0) or head_x is parallel
// to it.
int normalise_rotation(struct vec3 centre_mm, struct vec3 head_x, struct mat3 *ret_rotation);
// centre_mm: face centre in the camera frame; head: head -> camera rotation. Errors as above; -EINVAL for a bad spec.
int normalise_make(const struct camera *camera, struct vec3 centre_mm, const struct mat3 *head,
                   const struct normalise_spec *spec, struct normalisation *ret_normalisation);
// Directions turn by the rotation alone (g_n = R g); heads by R hR.
struct vec3 normalise_gaze(const struct normalisation *n, struct vec3 gaze);
struct vec3 denormalise_gaze(const struct normalisation *n, struct vec3 gaze_n);
struct mat3 normalise_head(const struct normalisation *n, const struct mat3 *head);
