// The course of a training as a picture: loss over steps, and the figures of each judgement.
#pragma once

#include <stdint.h>

#include "train/task.h"

#define CURVE_MAX_POINTS 512
#define CURVE_MAX_JUDGED 64

struct curve {
    struct {
        uint32_t step;
        float loss;
    } points[CURVE_MAX_POINTS]; // mean losses; when full, every other point goes
    int point_count;
    uint32_t stride; // steps a point
    struct {
        uint32_t step;
        struct figures figures;
    } judged[CURVE_MAX_JUDGED];
    int judged_count;
    double sum; // of the losses of the point that is being made
    uint32_t summed;
};

void curve_add_loss(struct curve *c, uint32_t step, float loss);
void curve_add_figures(struct curve *c, uint32_t step, const struct figures *figures);
// Writes the picture as SVG. -errno.
int curve_write_svg(const struct curve *c, const char *title, const char *path);
