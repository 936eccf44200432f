// Contact sheets.
#include "train/render/sheet.h"

#include <string.h>

int sheet_init(struct sheet *sheet, int side)
{
    sheet->cell = side;
    return image_alloc(SHEET_COLUMNS * side, SHEET_ROWS * side, 3, &sheet->image);
}

void sheet_free(struct sheet *sheet)
{
    image_free(&sheet->image);
}

static void dot(struct image *image, float x, float y, const uint8_t colour[3])
{
    int px = (int)x, py = (int)y;
    if (x >= 0 && y >= 0 && px < image->width && py < image->height)
        memcpy(image->data + (size_t)py * (size_t)image->stride + 3 * px, colour, 3);
}

static void line(struct image *image, float x0, float y0, float x1, float y1, const uint8_t colour[3])
{
    for (int i = 0; i <= 64; i++)
        dot(image, x0 + (x1 - x0) * (float)i / 64, y0 + (y1 - y0) * (float)i / 64, colour);
}

static void mark(struct image *cell, const struct labels *l)
{
    static const uint8_t green[3] = {60, 255, 60}, red[3] = {255, 50, 50}, cyan[3] = {60, 230, 255},
                         yellow[3] = {255, 230, 40};
    const float *b = l->box;

    line(cell, b[0], b[1], b[0] + b[2], b[1], yellow);
    line(cell, b[0], b[1] + b[3], b[0] + b[2], b[1] + b[3], yellow);
    line(cell, b[0], b[1], b[0], b[1] + b[3], yellow);
    line(cell, b[0] + b[2], b[1], b[0] + b[2], b[1] + b[3], yellow);
    for (int i = 0; i < FACE_LANDMARKS; i++)
        dot(cell, l->landmark[i].x, l->landmark[i].y, l->visible[i] ? green : red);
    for (int i = 0; i < FACE_IRIS; i++)
        dot(cell, l->iris[i].x, l->iris[i].y, cyan);
    for (int side = 0; side < 2; side++) { // 60 mm along the line of sight, as the camera sees it
        struct vec3 tip = vec3_add(l->eye_mm[side], vec3_scale(l->sight[side], 60));
        struct point p = l->iris[side ? 5 : 0], q;
        if (camera_project(&l->camera, tip, &q) == 0)
            line(cell, p.x, p.y, q.x, q.y, red);
    }
}

void sheet_put(struct sheet *sheet, int at, const struct image *rgb, const struct labels *labels)
{
    struct image cell;

    if (at < 0 || at >= SHEET_CELLS ||
        image_crop_view(&sheet->image, at % SHEET_COLUMNS * sheet->cell, at / SHEET_COLUMNS * sheet->cell, sheet->cell,
                        sheet->cell, &cell) < 0)
        return;
    image_copy(rgb, &cell);
    if (labels)
        mark(&cell, labels);
}
