// How the person of a clip moves: head, body, gaze, blinks and expression, frame by frame.
#pragma once

#include "train/render/expression.h"
#include "vision/geometry.h"

// Where the neck meets the body: FaceKit's frame, cm; the body and the head turn about it.
#define CLIP_PIVOT_CM ((v3){0, -12.0f, -1.5f})

// Camera frame, mm.
struct clip_moment {
    double time_s;
    struct mat3 head, body; // rotations, as struct scene's head
    struct vec3 face_mm;    // the face origin
    struct vec3 target_mm;  // what the eyes are on; on its way during saccades
    float blink;            // 0 open .. 1 closed
    struct expression expression;
    float light; // factor on all light, about 1
    float pupil_cm;
};

struct clip_motion {
    int count;
    struct clip_moment *moment;
};

// The motion of `frames` frames, a pure function of its arguments up to the end of the shorter of two clips that
// differ in `frames` alone. -ENOMEM, -EINVAL for frames < 1 or fps outside 1..240.
int clip_motion_make(uint64_t seed, int frames, double fps, struct clip_motion *ret_motion);
void clip_motion_free(struct clip_motion *motion);
