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
// The 16 renders with the largest gaze error: label green, estimate red. -errno.
int eval_write_worst(const struct face_set *set, const struct gaze_estimate *gaze, const char *path);
