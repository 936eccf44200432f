// What the eyes of a clip do: fixations, saccades between them, smooth pursuit, blinks. Advanced in time only.
#pragma once

#include "train/render/rng.h"
#include "vision/geometry.h"

struct clip_gaze {
    struct rng rng;
    double now_s, saccade_s, hold_s, end_s; // when the saccade began, when it lands, when the next one begins
    struct vec3 from_mm, to_mm;
    struct vec3 pursuit_mm; // way of the thing followed after landing; zero in a fixation
};

struct clip_blinks {
    struct rng rng;
    double begin_s, length_s; // of the blink that is next or under way
};

void clip_gaze_start(struct clip_gaze *g, uint64_t seed);
// The point looked at `now_s`, camera frame, mm; now_s must not fall. eye_mm: between the eyes.
struct vec3 clip_gaze_at(struct clip_gaze *g, double now_s, struct vec3 eye_mm);
void clip_blinks_start(struct clip_blinks *b, uint64_t seed);
// 0 open .. 1 closed; now_s must not fall.
float clip_blinks_at(struct clip_blinks *b, double now_s);
