// Which point of a face becomes which when the picture is mirrored.
#pragma once

#include <stdint.h>

#include "vision/face_shape.h"

static const uint8_t face_mirror[FACE_POINTS] = {
    16, 15, 14, 13, 12, 11, 10, 9,  8,  7,  6,  5,  4,  3,  2,  1,  0,              // jaw
    26, 25, 24, 23, 22, 21, 20, 19, 18, 17,                                         // brows
    27, 28, 29, 30, 35, 34, 33, 32, 31,                                             // nose
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,                                 // eyes
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65, // lips
    73, 76, 75, 74, 77, 68, 71, 70, 69, 72,                                         // irises: rims swap left and right
};
