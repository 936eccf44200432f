// A picture of what was read: face box, landmarks, gaze arrow, text.
#pragma once

#include "models/face_reader.h"
#include "vision/image.h"

// Draws one face onto `image` (RGB), whose size is `scale` times that of the frame that was read. label: the id or what
// else is to stand beside the box. gaze: unit vector in the camera frame, NULL = none.
void overlay_face(struct image *image, double scale, const struct face_reading *face, const struct vec3 *gaze,
                  const char *label);
