// Overlays: see draw.h. Each shape is its signed distance to a pixel's centre; half a pixel either side of the edge
// fades.
#include "vision/draw.h"

#include <math.h>
#include <string.h>

#include "vision/draw_font.h"

// Coordinates beyond this are taken as this: pixel loops stay in int.
#define FAR_PX 1e6f

static void blend(struct image *image, int x, int y, struct colour colour, float coverage)
{
    if (coverage <= 0)
        return;
    coverage = coverage < 1 ? coverage : 1;
    uint8_t *p = image->data + (size_t)y * (size_t)image->stride + (size_t)x * (size_t)image->channels;
    uint8_t rgb[3] = {colour.r, colour.g, colour.b};
    if (image->channels == 1)
        rgb[0] = (uint8_t)((77 * colour.r + 150 * colour.g + 29 * colour.b + 128) >> 8);
    for (int c = 0; c < (image->channels == 1 ? 1 : 3); c++)
        p[c] = (uint8_t)((float)p[c] + coverage * ((float)rgb[c] - (float)p[c]) + 0.5f);
}

// Pixels that a shape within [x0, x1] x [y0, y1] can touch, clipped to the image; empty when x0 >= x1 or y0 >= y1.
struct region {
    int x0, y0, x1, y1;
};

static int limited(float v, int limit)
{
    return (int)fminf(fmaxf(v, 0), (float)limit);
}

static struct region region_of(const struct image *image, float x0, float y0, float x1, float y1)
{
    return (struct region){limited(floorf(x0 - 1), image->width), limited(floorf(y0 - 1), image->height),
                           limited(ceilf(x1 + 1), image->width), limited(ceilf(y1 + 1), image->height)};
}

static bool usable(const struct image *image, const float *values, int count)
{
    for (int i = 0; i < count; i++)
        if (!(fabsf(values[i]) <= FAR_PX))
            return false;
    return image_check(image) == 0;
}

// Distance from p to the segment a + t d, 0 <= t <= 1.
static float segment_distance(float px, float py, struct point a, float dx, float dy)
{
    float length2 = dx * dx + dy * dy;
    float t = length2 > 0 ? ((px - a.x) * dx + (py - a.y) * dy) / length2 : 0;
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    float ex = px - a.x - t * dx, ey = py - a.y - t * dy;
    return sqrtf(ex * ex + ey * ey);
}

void draw_line(struct image *image, struct point from, struct point to, float width_px, struct colour colour)
{
    if (!usable(image, (float[]){from.x, from.y, to.x, to.y, width_px}, 5))
        return;
    float half = width_px / 2, dx = to.x - from.x, dy = to.y - from.y;
    struct region box = region_of(image, fminf(from.x, to.x) - half, fminf(from.y, to.y) - half,
                                  fmaxf(from.x, to.x) + half, fmaxf(from.y, to.y) + half);
    for (int y = box.y0; y < box.y1; y++)
        for (int x = box.x0; x < box.x1; x++) {
            float d = segment_distance((float)x + 0.5f, (float)y + 0.5f, from, dx, dy);
            blend(image, x, y, colour, half + 0.5f - d);
        }
}

// Distance to a triangle, negative inside: the largest of the distances to its sides' lines (a little short outside the
// tips).
static float triangle_distance(float px, float py, const struct point p[3])
{
    float area = (p[1].x - p[0].x) * (p[2].y - p[0].y) - (p[1].y - p[0].y) * (p[2].x - p[0].x);
    float sign = area > 0 ? -1 : 1, worst = -FAR_PX;
    for (int i = 0; i < 3; i++) {
        struct point a = p[i], b = p[(i + 1) % 3];
        float dx = b.x - a.x, dy = b.y - a.y, length = sqrtf(dx * dx + dy * dy);
        if (!(length > 0))
            return FAR_PX;
        worst = fmaxf(worst, sign * (dx * (py - a.y) - dy * (px - a.x)) / length);
    }
    return worst;
}

static void draw_triangle(struct image *image, const struct point p[3], struct colour colour)
{
    struct box b = box_of_points(p, 3);
    struct region box = region_of(image, b.x, b.y, b.x + b.w, b.y + b.h);
    for (int y = box.y0; y < box.y1; y++)
        for (int x = box.x0; x < box.x1; x++)
            blend(image, x, y, colour, 0.5f - triangle_distance((float)x + 0.5f, (float)y + 0.5f, p));
}

void draw_arrow(struct image *image, struct point from, struct point to, float width_px, struct colour colour)
{
    float dx = to.x - from.x, dy = to.y - from.y, length = hypotf(dx, dy);
    if (!usable(image, (float[]){from.x, from.y, to.x, to.y, width_px}, 5) || !(length > 0))
        return;
    float head = fminf(4 * width_px, length / 3);
    float ux = dx / length, uy = dy / length;
    struct point neck = {to.x - ux * head, to.y - uy * head};
    struct point tip[3] = {to,
                           {neck.x - uy * head * 0.6f, neck.y + ux * head * 0.6f},
                           {neck.x + uy * head * 0.6f, neck.y - ux * head * 0.6f}};
    draw_line(image, from, neck, width_px, colour);
    draw_triangle(image, tip, colour);
}

void draw_circle(struct image *image, struct point centre, float radius_px, float width_px, struct colour colour)
{
    if (!usable(image, (float[]){centre.x, centre.y, radius_px, width_px}, 4))
        return;
    float reach = radius_px + width_px / 2;
    struct region box = region_of(image, centre.x - reach, centre.y - reach, centre.x + reach, centre.y + reach);
    for (int y = box.y0; y < box.y1; y++)
        for (int x = box.x0; x < box.x1; x++) {
            float d = hypotf((float)x + 0.5f - centre.x, (float)y + 0.5f - centre.y);
            blend(image, x, y, colour, width_px / 2 + 0.5f - fabsf(d - radius_px));
        }
}

void draw_dot(struct image *image, struct point centre, float radius_px, struct colour colour)
{
    draw_circle(image, centre, radius_px / 2, radius_px, colour);
}

void draw_rectangle(struct image *image, struct box box, float width_px, struct colour colour)
{
    struct point p[4] = {
        {box.x, box.y}, {box.x + box.w, box.y}, {box.x + box.w, box.y + box.h}, {box.x, box.y + box.h}};
    for (int i = 0; i < 4; i++)
        draw_line(image, p[i], p[(i + 1) % 4], width_px, colour);
}

static void draw_glyph(struct image *image, int left, int top, int scale, struct colour colour, unsigned char code)
{
    static const uint8_t unknown[7] = {31, 17, 17, 17, 17, 17, 31};
    bool known = code >= DRAW_FONT_FIRST && code < DRAW_FONT_FIRST + DRAW_FONT_GLYPHS;
    const uint8_t *rows = known ? draw_font[code - DRAW_FONT_FIRST] : unknown;
    for (int y = 0; y < 7 * scale; y++)
        for (int x = 0; x < 5 * scale; x++) {
            bool on = rows[y / scale] >> (4 - x / scale) & 1;
            if (on && left + x >= 0 && left + x < image->width && top + y >= 0 && top + y < image->height)
                blend(image, left + x, top + y, colour, 1);
        }
}

void draw_text(struct image *image, struct point top_left, int scale, struct colour colour, const char *text)
{
    if (!usable(image, (float[]){top_left.x, top_left.y}, 2) || scale < 1 || scale > IMAGE_MAX_SIDE_PX / 8)
        return;
    int left = (int)top_left.x, x = left, y = (int)top_left.y;
    for (; *text && y < image->height; text++) {
        if (*text == '\n') {
            x = left;
            y += DRAW_GLYPH_HEIGHT_PX * scale;
        } else if (x < image->width) {
            draw_glyph(image, x, y, scale, colour, (unsigned char)*text);
            x += DRAW_GLYPH_WIDTH_PX * scale;
        }
    }
}

void draw_image(struct image *image, int x, int y, const struct image *src)
{
    struct image from, to;
    if (image_check(image) < 0 || image_check(src) < 0 || x <= -src->width || y <= -src->height)
        return;
    int skip_x = x < 0 ? -x : 0, skip_y = y < 0 ? -y : 0;
    int w = src->width - skip_x, h = src->height - skip_y;
    x += skip_x;
    y += skip_y;
    w = w < image->width - x ? w : image->width - x;
    h = h < image->height - y ? h : image->height - y;
    if (image_crop_view(src, skip_x, skip_y, w, h, &from) == 0 && image_crop_view(image, x, y, w, h, &to) == 0)
        image_copy(&from, &to);
}
