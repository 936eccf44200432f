// Eyelids from landmarks: see blink.h.
#include "vision/blink.h"

#include <math.h>

static double distance(struct point a, struct point b)
{
    return hypot((double)a.x - b.x, (double)a.y - b.y);
}

double blink_eye_aspect(const struct point eye[6])
{
    double width = distance(eye[0], eye[3]);
    if (!(width > 0))
        return 0;
    return (distance(eye[1], eye[5]) + distance(eye[2], eye[4])) / (2 * width);
}

double blink_from_aspect(double aspect)
{
    double open = (aspect - BLINK_SHUT_ASPECT) / (BLINK_OPEN_ASPECT - BLINK_SHUT_ASPECT);
    return 1 - fmin(fmax(open, 0), 1);
}

void blink_from_landmarks(const struct point landmarks[FACE_LANDMARKS], double *ret_right, double *ret_left)
{
    *ret_right = blink_from_aspect(blink_eye_aspect(landmarks + FACE_RIGHT_EYE_OUTER));
    *ret_left = blink_from_aspect(blink_eye_aspect(landmarks + FACE_LEFT_EYE_INNER));
}
