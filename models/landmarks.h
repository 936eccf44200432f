// landmarks: one network that reads a face crop: 68 + 10 points with their uncertainty, the head's rotation, both
// eyes' blink, and whether there is a face at all.
//
// Input: 112 x 112 grey square round the face, standardised (mean 0, deviation 1). The crop is taken as what a virtual
// camera sees that looks at the crop's centre: the network tells the head's rotation in that camera, and it is turned
// back into the real one afterwards. So a face at the frame's edge and one in its middle look alike to the network.
#pragma once

#include <stdbool.h>

#include "libnpu/npu.h"
#include "models/net.h"
#include "vision/box.h"
#include "vision/camera.h"
#include "vision/face_shape.h"
#include "vision/image.h"

#define LANDMARKS_SIZE_PX   112
#define LANDMARKS_MAX_BATCH 4 // faces a plan run; more faces take more runs

struct landmarks;

struct face_landmarks {
    struct point points[FACE_POINTS]; // frame pixels, order of vision/face_shape.h
    float sigma_px[FACE_POINTS];      // expected error of each point (scale of a Laplace distribution), frame pixels
    struct mat3 head;                 // head -> camera
    float blink[2];                   // 0 open .. 1 shut; the subject's right, left
    float score;                      // 0..1: it is a face and the crop fits it
};

// path: the weight file, or the folder that holds landmarks.safetensors. message: size MODEL_MESSAGE_SIZE of
// model_file.h, may be NULL.
int landmarks_open(npu_dev *dev, const char *path, struct landmarks **ret_landmarks, char *message);
// Accepts NULL; returns NULL.
struct landmarks *landmarks_close(struct landmarks *l);
// frame: grey or RGB; camera: the frame's. boxes[count]: face boxes as face_finder gives them. Writes ret[count]. No
// allocation. -EINVAL for a bad image or an empty box.
int landmarks_run(struct landmarks *l, const struct image *frame, const struct camera *camera, const struct box *boxes,
                  int count, struct face_landmarks *ret);
// A second look (or the next frame of a tracked face): crops centred and levelled by the points of `seen`[count].
// `ret` may be `seen`.
int landmarks_refine(struct landmarks *l, const struct image *frame, const struct camera *camera,
                     const struct face_landmarks *seen, int count, struct face_landmarks *ret);

// ---- shared with training ----

// The square that is cut out: its middle, its side, and the frame direction that becomes its +x.
struct face_crop {
    struct point centre;
    float side_px, roll_rad;
};
struct face_crop face_crop_from_box(struct box box);
struct face_crop face_crop_from_points(const struct point points[FACE_LANDMARKS]);
// Patch from frame (a LANDMARKS_SIZE_PX square), and the rotation camera -> the virtual camera of the crop.
int face_crop_make(const struct face_crop *crop, const struct camera *camera, struct mat3 *ret_patch_from_frame,
                   struct mat3 *ret_rotation);
// Standardised grey pixels of the crop.
int face_crop_pixels(const struct image *frame, const struct mat3 *patch_from_frame, float *pixels);

// What the network gives, all raw: points as shares of the side from the crop's middle (x, y), logarithm of their
// Laplace scale in the same unit, the first two columns of the head's rotation, blink logits (right, left), face logit.
struct landmarks_values {
    npu_val points;    // [n, 78, 2]
    npu_val log_sigma; // [n, 78, 1]
    npu_val rotation;  // [n, 6]
    npu_val blink;     // [n, 2]
    npu_val face;      // [n, 1]
};
// x [n, 112, 112, 1] f32, standardised.
void landmarks_build(struct net *net, npu_val x, struct landmarks_values *ret);
// The network as it is served: input "image" of `batch` crops, which is returned, and the values as named outputs.
npu_val landmarks_build_served(struct net *net, int batch, struct landmarks_values *ret);
