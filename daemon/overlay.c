// Overlay pictures.
#include "daemon/overlay.h"

#include <math.h>

#include "vision/draw.h"

static struct point scaled(struct point p, double s)
{
    return (struct point){(float)(p.x * s), (float)(p.y * s)};
}

// Where the eye's middle is seen: the midpoint of its corners.
static struct point eye_middle(const struct face_landmarks *l, int a, int b)
{
    return (struct point){(l->points[a].x + l->points[b].x) / 2, (l->points[a].y + l->points[b].y) / 2};
}

void overlay_face(struct image *image, double scale, const struct face_reading *face, const struct vec3 *gaze,
                  const char *label)
{
    static const struct colour box_colour = {90, 220, 90}, point_colour = {255, 220, 60}, iris_colour = {80, 200, 255},
                               gaze_colour = {255, 70, 70}, shade = {0, 0, 0};
    const struct face_landmarks *l = &face->landmarks;
    float line = (float)fmax(1, face->box.w * scale / 150);
    struct box box = {(float)(face->box.x * scale), (float)(face->box.y * scale), (float)(face->box.w * scale),
                      (float)(face->box.h * scale)};
    draw_rectangle(image, box, line, box_colour);
    for (int i = 0; i < FACE_POINTS; i++)
        draw_dot(image, scaled(l->points[i], scale), line * (i < FACE_LANDMARKS ? 0.9f : 0.7f),
                 i < FACE_LANDMARKS ? point_colour : iris_colour);

    if (gaze) {
        // The gaze ray as the camera sees it: from the eye a face's width along the gaze.
        const int corner[2][2] = {{FACE_RIGHT_EYE_OUTER, FACE_RIGHT_EYE_INNER},
                                  {FACE_LEFT_EYE_INNER, FACE_LEFT_EYE_OUTER}};
        double length_px = 1.2 * face->box.w * scale;
        for (int e = 0; e < 2; e++) {
            struct point from = scaled(eye_middle(l, corner[e][0], corner[e][1]), scale);
            struct point to = {from.x + (float)(gaze->x * length_px), from.y + (float)(gaze->y * length_px)};
            draw_arrow(image, from, to, line * 1.5f, gaze_colour);
        }
    }
    if (label) {
        int size = (int)fmax(1, round(box.w / 110));
        struct point at = {box.x, fmaxf(0, box.y - (float)(size * (DRAW_GLYPH_HEIGHT_PX + 2)))};
        struct point under = {at.x + (float)size * 0.6f, at.y + (float)size * 0.6f};
        draw_text(image, under, size, shade, label);
        draw_text(image, at, size, box_colour, label);
    }
}
