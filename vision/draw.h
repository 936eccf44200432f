// Overlays for pictures: anti-aliased lines, arrows, circles, rectangles, dots and small text on an RGB or grey image.
//
// Positions are continuous pixels (geometry.h) and may lie outside: what falls outside is not drawn. Functions do
// nothing for a bad image (image_check) or positions that are not finite.
#pragma once

#include "vision/box.h"
#include "vision/geometry.h"
#include "vision/image.h"

struct colour {
    uint8_t r, g, b;
};

#define DRAW_GLYPH_WIDTH_PX  6
#define DRAW_GLYPH_HEIGHT_PX 8

void draw_line(struct image *image, struct point from, struct point to, float width_px, struct colour colour);
// A line with a head at `to`, the head's length 4 line widths or a third of the arrow, whichever is less.
void draw_arrow(struct image *image, struct point from, struct point to, float width_px, struct colour colour);
void draw_circle(struct image *image, struct point centre, float radius_px, float width_px, struct colour colour);
void draw_dot(struct image *image, struct point centre, float radius_px, struct colour colour);
void draw_rectangle(struct image *image, struct box box, float width_px, struct colour colour);
// ASCII 32..126 (others as a box) in a 5x7 face; top_left of the first glyph; scale >= 1 enlarges each dot. '\n' starts
// a line.
void draw_text(struct image *image, struct point top_left, int scale, struct colour colour, const char *text);
// Copies src into image with its top left corner at x, y; clipped; channels converted.
void draw_image(struct image *image, int x, int y, const struct image *src);
