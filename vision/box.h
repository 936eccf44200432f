// Boxes in frame pixels.
#pragma once

#include "vision/geometry.h"

#define BOX_NMS_MAX 1024

struct box {
    float x, y, w, h; // top left corner and size
};

// Intersection over union, 0..1; 0 when either is empty or not finite.
float box_iou(struct box a, struct box b);
// The part of `box` inside a width x height frame; empty (w = h = 0) when there is none.
struct box box_clipped(struct box box, int width_px, int height_px);
// Non-maximum suppression: greedy, best score first (ties: lower index first). Writes the kept indices, best first, to
// ret_keep (room for `count`) and returns how many; -EINVAL for count < 0 or > BOX_NMS_MAX. Boxes that are empty or
// have a NaN are dropped. No allocation.
int box_nms(const struct box *boxes, const float *scores, int count, float iou_threshold, int *ret_keep);
// The smallest box round the points; empty for count < 1.
struct box box_of_points(const struct point *points, int count);
// Square round the box's centre, side = factor * its larger edge.
struct box box_squared(struct box box, float factor);
