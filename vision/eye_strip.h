// The gaze network's input: a strip with both eyes, cut from the frame so that head position and roll drop out.
//
// A virtual camera looks at the face centre (as in normalise.h), then a similarity brings the four eye corners, as that
// camera sees them, to fixed places in the strip (least squares, Umeyama 1991 without reflection). The label lives in
// the virtual camera's frame, so a gaze into the lens is (0, 0) for any head.
#pragma once

#include "vision/camera.h"
#include "vision/geometry.h"
#include "vision/warp.h"

#define EYE_STRIP_WIDTH_PX  128
#define EYE_STRIP_HEIGHT_PX 48

// Where the corners go, as shares of the strip's width from its left edge; all at half the height. The outer corners
// leave 14 % on each side for temples, a yaw that widens one eye, and landmark error; the inner ones follow from the
// mean face's ratio of inner to outer corner distance (see face_shape.c). At 128 x 48 the strip is about 1 mm a pixel:
// it holds the brows above and the upper cheeks below.
#define EYE_STRIP_OUTER_SHARE 0.14
#define EYE_STRIP_INNER_SHARE 0.363

// Which way is up in the strip.
enum eye_strip_roll {
    EYE_STRIP_ROLL_CORNERS, // the eye corners' line is level; needs no head rotation
    EYE_STRIP_ROLL_HEAD,    // the head's x axis is level, as in Zhang's normalisation
};

struct eye_strip {
    struct mat3 strip_from_frame; // homography, frame pixel -> strip pixel
    struct mat3 rotation;         // camera -> strip frame: gaze_strip = rotation gaze, head_strip = rotation head
    double frame_px_per_strip_px; // above 1 the frame has more detail than the strip; below, the strip is blown up
    double corner_rms_px;         // what the similarity leaves of the corners, strip pixels: large for odd landmarks
};

// corners: frame pixels, image left to right: subject's right outer, right inner, left inner, left outer (landmarks 36,
// 39, 42, 45). centre_mm: the face origin in the camera frame; only its direction matters. head may be NULL for
// EYE_STRIP_ROLL_CORNERS. -EINVAL for a size < 1; -EDOM when the corners coincide, run the wrong way round the
// virtual camera or the centre is not in front of the camera.
int eye_strip_make(const struct camera *camera, struct vec3 centre_mm, const struct mat3 *head,
                   const struct point corners[4], enum eye_strip_roll roll, int width_px, int height_px,
                   struct eye_strip *ret_strip);
