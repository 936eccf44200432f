// The mean face: 68 landmarks (iBUG / Multi-PIE order) and 10 iris points in millimetres, and the landmarks' names.
//
// Order of the 68: 0-16 jaw from the subject's right ear to the left, 17-21 right brow, 22-26 left brow, 27-30 nose
// ridge, 31-35 nose base, 36-41 right eye (outer corner, two upper lid, inner corner, two lower lid), 42-47 left eye
// (inner corner, two upper, outer corner, two lower), 48-59 outer lips, 60-67 inner lips. 68 right iris centre, 69-72
// its rim, 73 left iris centre, 74-77 its rim (image right, top, left, bottom). Right and left are the subject's: right
// is on the image's left.
#pragma once

#include "vision/geometry.h"

#define FACE_LANDMARKS 68
#define FACE_IRIS      10
#define FACE_POINTS    (FACE_LANDMARKS + FACE_IRIS)

enum face_point {
    FACE_CHIN = 8,
    FACE_NOSE_TIP = 30,
    FACE_RIGHT_EYE_OUTER = 36,
    FACE_RIGHT_EYE_INNER = 39,
    FACE_LEFT_EYE_INNER = 42,
    FACE_LEFT_EYE_OUTER = 45,
    FACE_MOUTH_RIGHT = 48,
    FACE_MOUTH_LEFT = 54,
    FACE_RIGHT_IRIS = 68,
    FACE_LEFT_IRIS = 73,
};

// Head frame (geometry.h), mm. The origin is the face origin: the mean of four points, the midpoints of the two eyes'
// corners and the two mouth corners. Data: ICT-FaceKit neutral face (MIT), see face_shape.c.
extern const struct vec3 face_shape_mm[FACE_POINTS];
// How much each landmark says about the rigid head, 0..1: eye corners and nose most, brows less, jaw, lids and irises
// nothing.
extern const float face_rigid_weight[FACE_POINTS];

// The face origin's image: the mean of the projected eye midpoints and mouth corners, landmarks in pixels.
struct point face_origin_px(const struct point landmarks[FACE_LANDMARKS]);
// Distance between the two eyes' centres (midpoints of the corners), pixels.
double face_interocular_px(const struct point landmarks[FACE_LANDMARKS]);
// Eye centre = midpoint of the corners, head frame mm; side 0 = the subject's right, 1 = left.
struct vec3 face_eye_centre_mm(int side);
