// Software rasteriser for many small triangles: edge functions over the bounding box.
#include "train/render/raster.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int raster_init(struct raster *r, int width, int height)
{
    size_t n = (size_t)width * (size_t)height;
    float *block = malloc(n * (3 * sizeof(float) + sizeof(uint32_t)));

    if (!block)
        return -ENOMEM;
    // cppcheck-suppress [invalidPointerCast] ; one block of 4-byte elements for all planes
    *r = (struct raster){width, height, block, (uint32_t *)(block + 3 * n), block + n, block + 2 * n};
    raster_clear(r);
    return 0; // cppcheck-suppress memleak ; freed as r->depth
}

void raster_free(struct raster *r)
{
    free(r->depth);
    memset(r, 0, sizeof(*r));
}

void raster_clear(struct raster *r)
{
    size_t n = (size_t)r->width * (size_t)r->height;
    memset(r->depth, 0, n * sizeof(float));
    memset(r->triangle, 0xff, n * sizeof(uint32_t));
}

static void draw_one(struct raster *r, uint32_t id, v3 a, v3 b, v3 c, float area)
{
    float x0 = minf(a.x, minf(b.x, c.x)), x1 = maxf(a.x, maxf(b.x, c.x));
    float y0 = minf(a.y, minf(b.y, c.y)), y1 = maxf(a.y, maxf(b.y, c.y));
    int left, right, top, bottom;
    float inv = 1.0f / area, s_dx, s_dy, t_dx, t_dy, s_row, t_row;

    if (!(x1 > 0 && y1 > 0 && x0 < (float)r->width && y0 < (float)r->height))
        return;
    left = x0 > 0.5f ? (int)(x0 + 0.5f) : 0; // first pixel whose centre is at or right of x0
    top = y0 > 0.5f ? (int)(y0 + 0.5f) : 0;
    right = x1 < (float)r->width ? (int)(x1 + 0.5f) : r->width;
    bottom = y1 < (float)r->height ? (int)(y1 + 0.5f) : r->height;
    // s = weight of b, t = weight of c; both are linear on the screen
    s_dx = (c.y - a.y) * inv;
    s_dy = (a.x - c.x) * inv;
    t_dx = (a.y - b.y) * inv;
    t_dy = (b.x - a.x) * inv;
    s_row = ((float)left + 0.5f - a.x) * s_dx + ((float)top + 0.5f - a.y) * s_dy;
    t_row = ((float)left + 0.5f - a.x) * t_dx + ((float)top + 0.5f - a.y) * t_dy;
    for (int y = top; y < bottom; y++, s_row += s_dy, t_row += t_dy) {
        float s = s_row, t = t_row;
        size_t at = (size_t)y * (size_t)r->width + (size_t)left;
        for (int x = left; x < right; x++, at++, s += s_dx, t += t_dx) {
            float z;
            if (s < 0 || t < 0 || s + t > 1)
                continue;
            z = a.z + s * (b.z - a.z) + t * (c.z - a.z);
            if (z > r->depth[at]) {
                r->depth[at] = z;
                r->triangle[at] = id;
                r->b1[at] = s;
                r->b2[at] = t;
            }
        }
    }
}

void raster_draw(struct raster *r, const v3 *screen, const uint32_t (*index)[3], uint32_t first, uint32_t end,
                 int two_sided)
{
    for (uint32_t i = first; i < end; i++) {
        v3 a = screen[index[i][0]], b = screen[index[i][1]], c = screen[index[i][2]];
        float area = (b.x - a.x) * (c.y - a.y) - (c.x - a.x) * (b.y - a.y);

        if (!(a.z > 0 && b.z > 0 && c.z > 0))
            continue;
        // counter-clockwise seen with y up is negative with y down
        if (area < -1e-6f || (two_sided && area > 1e-6f))
            draw_one(r, i, a, b, c, area);
    }
}
