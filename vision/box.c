// Boxes: see box.h.
#include "vision/box.h"

#include <errno.h>
#include <math.h>

static bool is_solid(struct box b)
{
    return isfinite(b.x) && isfinite(b.y) && isfinite(b.w) && isfinite(b.h) && b.w > 0 && b.h > 0;
}

float box_iou(struct box a, struct box b)
{
    if (!is_solid(a) || !is_solid(b))
        return 0;
    // In double: the areas of very large boxes must not become infinite.
    double w = fmin((double)a.x + a.w, (double)b.x + b.w) - fmax(a.x, b.x);
    double h = fmin((double)a.y + a.h, (double)b.y + b.h) - fmax(a.y, b.y);
    if (w <= 0 || h <= 0)
        return 0;
    double both = w * h;
    double iou = both / ((double)a.w * a.h + (double)b.w * b.h - both);
    return (float)fmin(iou, 1);
}

struct box box_clipped(struct box box, int width_px, int height_px)
{
    float x0 = fmaxf(box.x, 0), y0 = fmaxf(box.y, 0);
    float x1 = fminf(box.x + box.w, (float)width_px), y1 = fminf(box.y + box.h, (float)height_px);
    if (!is_solid(box) || x1 <= x0 || y1 <= y0)
        return (struct box){0, 0, 0, 0};
    return (struct box){x0, y0, x1 - x0, y1 - y0};
}

int box_nms(const struct box *boxes, const float *scores, int count, float iou_threshold, int *ret_keep)
{
    if (count < 0 || count > BOX_NMS_MAX)
        return -EINVAL;
    int order[BOX_NMS_MAX], n = 0, kept = 0;
    // Insertion sort, best first and stable: after a score threshold few candidates are left.
    for (int i = 0; i < count; i++) {
        if (!is_solid(boxes[i]) || isnan(scores[i]))
            continue;
        int j = n++;
        for (; j > 0 && scores[order[j - 1]] < scores[i]; j--)
            order[j] = order[j - 1];
        order[j] = i;
    }
    for (int i = 0; i < n; i++) {
        bool hidden = false;
        for (int j = 0; j < kept && !hidden; j++)
            hidden = box_iou(boxes[order[i]], boxes[ret_keep[j]]) > iou_threshold;
        if (!hidden)
            ret_keep[kept++] = order[i];
    }
    return kept;
}

struct box box_of_points(const struct point *points, int count)
{
    if (count < 1)
        return (struct box){0, 0, 0, 0};
    float x0 = points[0].x, x1 = x0, y0 = points[0].y, y1 = y0;
    for (int i = 1; i < count; i++) {
        x0 = fminf(x0, points[i].x);
        x1 = fmaxf(x1, points[i].x);
        y0 = fminf(y0, points[i].y);
        y1 = fmaxf(y1, points[i].y);
    }
    return (struct box){x0, y0, x1 - x0, y1 - y0};
}

struct box box_squared(struct box box, float factor)
{
    float side = factor * fmaxf(box.w, box.h);
    return (struct box){box.x + (box.w - side) / 2, box.y + (box.h - side) / 2, side, side};
}
