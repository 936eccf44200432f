// The truth of a rendered clip (a line of JSON a frame, as gaze-render writes it) and how far the gaze is from it.
#pragma once

#include <stddef.h>

#include "vision/geometry.h"

#define ANALYZE_TRUTH_FRAMES 100000

struct analyze_truth {
    struct vec3 *gaze; // camera frame, one a frame
    size_t count;
    double *error_rad, *raw_error_rad; // of the frames scored so far
    size_t scored, missed;
};

// Reads the file. message: 240 bytes. -ENOENT and others of fopen; -EBADMSG with the line that is wrong; -ENOMEM. The
// caller frees with analyze_truth_clear.
int analyze_truth_load(const char *path, struct analyze_truth *ret_truth, char *message);
void analyze_truth_clear(struct analyze_truth *t);
// The gaze read in frame `frame`; NULL = no gaze was read. Frames without a truth are passed over.
void analyze_truth_score(struct analyze_truth *t, long frame, const struct angles *filtered, const struct angles *raw);
// One line on stdout: mean, median and 95th percentile in degrees.
void analyze_truth_print(struct analyze_truth *t);
