// Head pose from landmarks: robust perspective-n-point by Levenberg-Marquardt on reprojection error with Huber weights.
#pragma once

#include "vision/camera.h"
#include "vision/face_shape.h"
#include "vision/geometry.h"

#define PNP_MAX_POINTS 128

// What is known before: the network's rotation, with one sigma for each of its three axes.
struct pnp_prior {
    struct mat3 rotation;
    double sigma_rad; // > 0
};

struct pnp_options {
    double noise_px;               // expected landmark error (1 sigma) at confidence 1; > 0
    double huber;                  // residuals beyond this many sigmas count linearly; 0 = 1.5
    const struct pnp_prior *prior; // or NULL
};

struct pnp_result {
    struct mat3 rotation;       // head -> camera
    struct vec3 translation_mm; // the model's origin in the camera frame
    double rms_px;              // weighted root mean square distance of all points used, robust weights not applied
    struct vec3
        rotation_sigma; // radians about the camera's axes x, y, z: from the inverse of J^T W J, scaled by the fit's
    struct vec3 translation_sigma_mm; // residual when that is larger than noise_px
    int iterations;
};

// model_mm, points_px, confidence: `count` each (3..PNP_MAX_POINTS); confidence (NULL = all 1) is a weight 0..1 on the
// squared error, 0 = not used; a point that is not finite is not used. At least 4 points used (3 with a prior). Starts
// from the weak perspective (scaled orthography) solution and from the prior, keeps the better. -EINVAL bad arguments;
// -ENODATA too few points; -EDOM when no pose in front of the camera fits. No allocation.
int pnp_solve(const struct camera *camera, const struct vec3 *model_mm, const struct point *points_px,
              const float *confidence, int count, const struct pnp_options *options, struct pnp_result *ret_result);
// The same with the rotation given and kept: translation alone (at least 2 points; rotation_sigma is 0).
int pnp_solve_translation(const struct camera *camera, const struct vec3 *model_mm, const struct point *points_px,
                          const float *confidence, int count, const struct mat3 *rotation,
                          const struct pnp_options *options, struct pnp_result *ret_result);

// Head pose of a face: the mean face and its rigid weights times the caller's confidence (68 values, NULL = all 1);
// noise is `noise_share` of the interocular distance (0 = 0.04; the mean face is nobody's face). prior may be NULL.
int pnp_face(const struct camera *camera, const struct point landmarks[FACE_LANDMARKS], const float *confidence,
             double noise_share, const struct pnp_prior *prior, struct pnp_result *ret_result);
// The same with the rotation given (the head network's): the face's place alone.
int pnp_face_translation(const struct camera *camera, const struct point landmarks[FACE_LANDMARKS],
                         const float *confidence, double noise_share, const struct mat3 *rotation,
                         struct pnp_result *ret_result);
