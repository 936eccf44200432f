// Eyelids from landmarks: the eye aspect ratio of Soukupova and Cech (CVWW 2016), eq. 1.
#pragma once

#include "vision/face_shape.h"
#include "vision/geometry.h"

// Aspect ratios that count as shut and as open, from the 68 landmarks; between them the blink falls linearly from 1 to
// 0. Of posed portraits with open eyes 19 in 20 are above 0.2 and half above 0.28.
#define BLINK_SHUT_ASPECT 0.10
#define BLINK_OPEN_ASPECT 0.22

// eye: outer or inner corner, two upper lid points, other corner, two lower lid points (landmarks 36..41 or 42..47):
// (|p1 p5| + |p2 p4|) / (2 |p0 p3|), about 0.3 for an open eye; 0 when the corners coincide.
double blink_eye_aspect(const struct point eye[6]);
// 1 = shut, 0 = open, from an aspect ratio.
double blink_from_aspect(double aspect);
// Both eyes' blink from the landmarks; right and left are the subject's.
void blink_from_landmarks(const struct point landmarks[FACE_LANDMARKS], double *ret_right, double *ret_left);
