// Glasses: two rims, a bridge and temples as small boxes, lenses that mirror lamps and windows.
#pragma once

#include "train/render/person.h"
#include "train/render/raster.h"

#define GLASSES_RIM    40 // segments of a rim
#define GLASSES_PIECES (2 * GLASSES_RIM + 1 + 2 * 4)

struct glasses {
    int dummy;
};
