// A contact sheet: the first pictures of a set in a grid, with what their labels say drawn in.
#pragma once

#include "train/render/labels.h"
#include "vision/image.h"

#define SHEET_COLUMNS 8
#define SHEET_ROWS    6
#define SHEET_CELLS   (SHEET_COLUMNS * SHEET_ROWS)

struct sheet {
    struct image image;
    int cell; // pixels
};

// -ENOMEM, -EINVAL for a side that makes too large a picture. marked: draw box, landmarks, iris and gaze arrow.
int sheet_init(struct sheet *sheet, int side);
void sheet_free(struct sheet *sheet);
// Copies a picture into cell `at`; labels may be NULL: nothing is drawn in.
void sheet_put(struct sheet *sheet, int at, const struct image *rgb, const struct labels *labels);
