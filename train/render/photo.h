// Photographs of faces with landmarks: backdrops, and textures of photo-real renders.
#pragma once

#include <stddef.h>

#include "vision/geometry.h"
#include "vision/image.h"

struct photo {
    struct image image; // RGB
};

struct photo_set {
    size_t count;
    struct photo *photo;
};
