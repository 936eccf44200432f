// face_finder: a small fully convolutional network that finds faces of any number and size in a whole picture.
//
// Input: the frame letterboxed to W x H grey (multiples of 32), (pixel - 127.5) / 127.5. Two levels of cells, stride 8
// for small faces and stride 32 for large ones; each cell answers: is the middle of a face here, where are its four
// edges, where are its five points. A face box is the bounding box of the MediaPipe mesh: brow to chin, ear to ear.
#pragma once

#include <stdint.h>

#include "libnpu/npu.h"
#include "models/net.h"
#include "vision/box.h"
#include "vision/image.h"

#define FACE_FINDER_LEVELS    2
#define FACE_FINDER_CHANNELS  15 // score logit, 4 edges, 5 points x, y
#define FACE_FINDER_POINTS    5  // right eye, left eye, nose tip, mouth corners; right is the subject's
#define FACE_FINDER_MAX_FACES 64
#define FACE_FINDER_SCORE     0.97f

struct face_finder;

struct face_found {
    struct box box; // frame pixels
    float score;    // 0..1
    struct point points[FACE_FINDER_POINTS];
};

struct face_finder_options {
    int width_px, height_px; // network input; multiples of 32; 0 = 256 x 192
    float score_threshold;   // 0 = FACE_FINDER_SCORE
    float overlap_threshold; // boxes that overlap a better one more than this are dropped; 0 = 0.4
};

// path: the weight file, or the folder that holds face_finder.safetensors. options may be NULL. Fails with the status
// of npu_plan_new or npu_plan_load and a text in `message` (size MODEL_MESSAGE_SIZE of model_file.h, may be NULL).
// -EINVAL for a bad size.
int face_finder_open(npu_dev *dev, const char *path, const struct face_finder_options *options,
                     struct face_finder **ret_finder, char *message);
// Accepts NULL; returns NULL.
struct face_finder *face_finder_close(struct face_finder *finder);
// frame: grey or RGB of any size. Writes the faces, best score first, at most `max`, and returns how many; or a
// negative status. No allocation.
int face_finder_run(struct face_finder *finder, const struct image *frame, struct face_found *ret_faces, int max);

// ---- shared with training ----

struct face_finder_level {
    int stride_px;
    float unit_px;        // edges are unit * exp(raw), points unit * raw from the cell's centre
    float min_px, max_px; // faces whose larger edge lies in this range (network input pixels) belong to the level
};
extern const struct face_finder_level face_finder_levels[FACE_FINDER_LEVELS];

// Builds the network: x [n, height, width, 1] f32 -> ret_levels[i] [n, height / stride, width / stride,
// FACE_FINDER_CHANNELS] (raw values).
void face_finder_build(struct net *net, npu_val x, npu_val ret_levels[FACE_FINDER_LEVELS]);
// The network as it is served: input "image", which is returned, and outputs "level8" and "level32".
npu_val face_finder_build_served(struct net *net, int batch, int width_px, int height_px,
                                 npu_val ret_levels[FACE_FINDER_LEVELS]);
// Reads one level's raw map (rows x columns x FACE_FINDER_CHANNELS) and appends what scores at least `threshold` to the
// arrays (network input pixels), which hold `count` of at most BOX_NMS_MAX; returns the new count.
int face_finder_decode(const float *map, int rows, int columns, const struct face_finder_level *level, float threshold,
                       struct face_found *faces, int count);
