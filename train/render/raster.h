// A z-buffer of triangle numbers: visibility first, shading later, only for what is seen.
#pragma once

#include <stdint.h>

#include "train/render/v3.h"

#define RASTER_NONE 0xffffffffu

struct raster {
    int width, height;
    float *depth;       // larger is nearer; 0 = nothing
    uint32_t *triangle; // RASTER_NONE = nothing
    float *b1, *b2;     // weights of the triangle's second and third corner
};

// -ENOMEM.
int raster_init(struct raster *r, int width, int height);
void raster_free(struct raster *r);
void raster_clear(struct raster *r);
// Draws triangles first..end of `index` over screen positions (x, y in pixels, pixel (0, 0) covers 0..1; z = depth
// value > 0, linear on the screen: 1/z for a pinhole). Corners run clockwise on the screen when seen from the front
// (y down); others are left out unless two_sided. A triangle with a corner of z <= 0 is left out.
void raster_draw(struct raster *r, const v3 *screen, const uint32_t (*index)[3], uint32_t first, uint32_t end,
                 int two_sided);
