// The 68 landmarks as MediaPipe mesh points: what the networks learn on renders and photographs, and are judged by.
#pragma once

#include <stdint.h>

#define MP_MESH_POINTS 468
#define MP_IRIS_RIGHT  468 // the subject's right iris: centre, then rim at image right, top, left, bottom
#define MP_IRIS_LEFT   473

// Order of vision/face_shape.h (jaw 0-16 from the subject's right, brows, nose, eyes, outer lips, inner lips). On the
// inner lips 314 and 14 stand where MediaPipe has no better point.
static const uint16_t mp68[68] = {
    162, 234, 93,  58,  172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,              // jaw
    70,  63,  105, 66,  107, 336, 296, 334, 293, 300,                                                 // brows
    168, 197, 5,   4,   75,  97,  2,   326, 305,                                                      // nose
    33,  160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,                                       // eyes
    61,  39,  37,  0,   267, 269, 291, 405, 314, 17,  84,  181, 78,  82,  13,  312, 308, 317, 14, 87, // lips
};
