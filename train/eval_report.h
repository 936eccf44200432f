// Figures as JSON and Markdown, with the goals they are held against, and the picture of the worst cases.
#pragma once

#include <stdio.h>

#include "train/judge.h"

typedef int eval_write_fn(const struct figures *const *parts, int count, FILE *f);
// One object: {"real.faces_found_percent": 99.6, ...}; a figure that could not be measured is null. -EIO.
int eval_write_json(const struct figures *const *parts, int count, FILE *f);
// A table: figure, value, goal, whether it is reached.
int eval_write_markdown(const struct figures *const *parts, int count, FILE *f);
int eval_write_file(const struct figures *const *parts, int count, const char *path, eval_write_fn *write);
// One JSON line a face: its id, whether it was found and, where its gaze was judged, label and estimate (yaw, pitch in
// the camera frame), errors, what the network expected, and how much the picture holds of the eyes. -errno.
int eval_write_faces(const struct face_set *set, const struct face_landmarks *found, const struct gaze_estimate *gaze,
                     const char *path);
// The 16 renders with the largest gaze error: label green, estimate red. -errno.
int eval_write_worst(const struct face_set *set, const struct gaze_estimate *gaze, const char *path);
// A table of the sweep's thresholds, and the one that judge_sweep_choose takes.
int eval_write_sweep(const struct judge_sweep *sweep, FILE *f);
