// gaze_vit: the gaze network. A vision transformer over windows on both eyes, a 16-number bottleneck (the gaze
// feature), and one linear layer of 34 numbers that turns it into yaw and pitch.
//
// Input: two windows of the eye strip of vision/eye_strip.h (levelled by the eye corners), enlarged, the left eye's
// mirrored so that one set of weights serves both eyes, standardised together; and the head's pitch, yaw and roll in
// the strip's frame. Output in the strip's frame, in which a gaze into the lens is (0, 0) for any head; turned back
// into the camera frame by the strip's rotation.
//
// The parts - tokens, pose, encoder, bottleneck, head - are functions and parameter groups of their own, so that the
// encoder can be trained without labels on visible tokens only, and the head fitted alone.
#pragma once

#include "libnpu/npu.h"
#include "models/landmarks.h"
#include "models/net.h"
#include "vision/eye_strip.h"

#define GAZE_VIT_FEATURES  16
#define GAZE_VIT_MAX_BATCH 4 // faces a plan run; more faces take more runs

struct gaze_vit;

struct gaze_estimate {
    struct vec3 gaze;                 // unit vector, camera frame
    struct angles strip;              // the same in the strip's frame
    struct angles normalised;         // the same in Zhang's normalised frame (vision/normalise.h)
    float sigma_rad;                  // expected error of an angle (scale of a Laplace distribution)
    float feature[GAZE_VIT_FEATURES]; // of the strip as it is
    float frame_px_per_strip_px;      // below 0.5 or so the picture holds little of the eyes
};

// path: the weight file, or the folder that holds gaze_vit.safetensors. message: size MODEL_MESSAGE_SIZE of
// model_file.h, may be NULL.
int gaze_vit_open(npu_dev *dev, const char *path, struct gaze_vit **ret_vit, char *message);
// Accepts NULL; returns NULL.
struct gaze_vit *gaze_vit_close(struct gaze_vit *v);
// faces[count]: what landmarks found in this frame. Writes ret[count]. No allocation. -EDOM when the eye corners make
// no strip (coincide, or a profile): all of ret is then unspecified; call face by face where that matters.
int gaze_vit_run(struct gaze_vit *v, const struct image *frame, const struct camera *camera,
                 const struct face_landmarks *faces, int count, struct gaze_estimate *ret);

// ---- shared with training ----

// A window is 48 x 32 pixels of the 128 x 48 strip (about as many millimetres) round an eye, at twice the size.
#define GAZE_VIT_EYE_WIDTH_PX  96
#define GAZE_VIT_EYE_HEIGHT_PX 64
#define GAZE_VIT_EYE_ZOOM      2
#define GAZE_VIT_IMAGE_ROWS    (2 * GAZE_VIT_EYE_HEIGHT_PX) // the right eye's window above the left eye's
#define GAZE_VIT_PIXELS        (GAZE_VIT_IMAGE_ROWS * GAZE_VIT_EYE_WIDTH_PX)
#define GAZE_VIT_POSE          3

// The strip of a face from its landmarks alone (the head plays no part).
int gaze_vit_strip(const struct camera *camera, const struct point points[FACE_LANDMARKS], struct eye_strip *ret_strip);
// Where a point of the strip is in the window of an eye (0: the subject's right one, 1: left), window pixels.
struct point gaze_vit_in_window(struct point in_strip, int eye);
// Cuts both windows, grey levels 0..255. Errors of warp_to_f32.
int gaze_vit_windows(const struct image *frame, const struct eye_strip *strip, float ret_pixels[GAZE_VIT_PIXELS]);
// Standardises the windows' grey levels in place, both together.
void gaze_vit_standardise(float pixels[GAZE_VIT_PIXELS]);
// The pose input from a head seen in the strip's frame.
void gaze_vit_pose_input(const struct mat3 *head_in_strip, float ret_pose[GAZE_VIT_POSE]);
// Windows and pose of the mirrored face; its gaze has the same pitch and the opposite yaw.
void gaze_vit_mirror(const float *pixels, const float *pose, float *ret_pixels, float *ret_pose);

struct gaze_vit_config {
    int width, heads, blocks, mlp_ratio;
    bool stem; // convolutions make the tokens; else one linear map of each 16 x 16 patch
};
extern const struct gaze_vit_config gaze_vit_config;

// image [n, 128, 96, 1] -> tokens [n, 48, width], one for 16 x 16 pixels, the right eye's first, with position codes.
npu_val gaze_vit_tokens(struct net *net, const struct gaze_vit_config *c, npu_val image);
// Adds the pose's embedding to every token. pose [n, GAZE_VIT_POSE].
npu_val gaze_vit_pose(struct net *net, const struct gaze_vit_config *c, npu_val tokens, npu_val pose);
// The encoder: tokens in, as many tokens out; any subset of the tokens will do.
npu_val gaze_vit_encode(struct net *net, const struct gaze_vit_config *c, npu_val tokens);
// What each eye shows, from all its tokens in their places (a mean over tokens forgets where an edge is): encoded
// [n, 48, width] -> [2 n, 128].
npu_val gaze_vit_eyes(struct net *net, npu_val encoded);
// Both eyes and the pose, down to the gaze feature [n, 16].
npu_val gaze_vit_bottleneck(struct net *net, npu_val eyes, npu_val pose);
// feature -> [n, 2] (yaw, pitch in radians), and log sigma [n, 1].
npu_val gaze_vit_angles(struct net *net, npu_val feature);
npu_val gaze_vit_log_sigma(struct net *net, npu_val feature);

struct gaze_vit_values {
    npu_val image, pose; // inputs
    npu_val eyes, feature, angles, log_sigma;
};
// All parts, one after the other.
void gaze_vit_build(struct net *net, const struct gaze_vit_config *c, npu_val image, npu_val pose,
                    struct gaze_vit_values *ret);
// The network as it is served: inputs "image" and "pose" of `batch` faces; outputs "feature", "angles", "log_sigma".
void gaze_vit_build_served(struct net *net, int batch, struct gaze_vit_values *ret);
// Writes the position codes, which are part of the network and not learned. Call after npu_plan_init.
int gaze_vit_write_positions(npu_plan *plan, const struct gaze_vit_config *c);
