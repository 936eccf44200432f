// Draws a clip's frames: the person over the room as a webcam sees them, with the labels of each frame.
#pragma once

#include "train/render/clip_motion.h"
#include "train/render/labels.h"
#include "train/render/render.h"

#define CLIP_SIDE_MIN 64
#define CLIP_SIDE_MAX 1920

struct clip_setup {
    const struct head *head;
    const struct skin_atlas *atlas;
    uint64_t seed;
    int width, height;
    double hfov_rad;
    int quality; // goes into the labels only
};

struct clip_stage;

// -EINVAL for a size or angle out of range, -ENOMEM. setup->head and atlas must outlive the stage.
int clip_stage_new(const struct clip_setup *setup, struct clip_stage **ret_stage);
// Accepts NULL; returns NULL.
struct clip_stage *clip_stage_free(struct clip_stage *stage);
// Draws frame `index` into an RGB image of the setup's size, allocated by the caller: a pure function of the setup,
// index and moment. -EDOM when the face is not before the camera.
int clip_stage_draw(struct clip_stage *stage, const struct clip_moment *moment, uint64_t index, struct image *rgb,
                    struct labels *ret_labels);
