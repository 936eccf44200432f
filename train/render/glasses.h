// Glasses: two rims, a bridge and temples as flat bands, and lenses that mirror lamps, windows and screens.
#pragma once

#include "train/render/person.h"
#include "train/render/rng.h"

#define GLASSES_SEGMENTS  36
#define GLASSES_BANDS     3 // bridge, two temples
#define GLASSES_VERTICES  (2 * 2 * GLASSES_SEGMENTS + 2 + 4 * GLASSES_BANDS)
#define GLASSES_FRAME     (2 * 2 * GLASSES_SEGMENTS + 2 * GLASSES_BANDS) // triangles
#define GLASSES_LENS      (2 * GLASSES_SEGMENTS)
#define GLASSES_TRIANGLES (GLASSES_FRAME + GLASSES_LENS)

// In FaceKit's frame, cm. Triangles before GLASSES_FRAME are the frame's, the others the lenses'.
struct glasses {
    v3 vertex[GLASSES_VERTICES], normal[GLASSES_VERTICES];
    uint32_t triangle[GLASSES_TRIANGLES][3];
};

// Where a pair sits on a face: the eyes' middles, the nose's ridge between them, the temples before the ears.
struct glasses_seat {
    v3 eye[2], ridge, temple[2]; // 0 the subject's right
};

void glasses_build(const struct person *p, const struct glasses_seat *seat, struct glasses *ret_glasses);
