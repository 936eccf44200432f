// The mean face's table and what is read off it: see face_shape.h.
//
// Data: ICT-FaceKit's generic neutral face (github.com/ICT-VGL/ICT-FaceKit, commit
// da5f95a607f5e6b37755b38d3385d7f2853732e5, Copyright (c) 2020 USC Institute for Creative Technologies, MIT licence),
// vertices picked so that they mean the same places as the training data's landmarks: brows, nose, eyes and mouth are
// the mesh points 70 63 105 66 107 336 296 334 293 300, 168 197 5 4 75 97 2 326 305, 33 160 158 133 153 144 362 385 387
// 263 373 380, 61 39 37 0 267 269 291 405 314 17 84 181, 78 82 13 312 308 317 14 87 of its measured `mediapipe468`
// vertices, each averaged with its mirror image; the jaw is its `landmark68`. Irises: radius 5.9 mm in an eye of radius
// 12 mm that shares the model's front of the eye, looking straight ahead. Converted from its centimetres, y up, z out
// of the face.
#include "vision/face_shape.h"

#include <math.h>

// Millimetres, head frame.
// clang-format off
const struct vec3 face_shape_mm[FACE_POINTS] = {
    // jaw, subject's right ear to left
    {-73.63, -36.91, 59.93}, {-72.76, -15.06, 57.25}, {-69.38, 4.47, 51.17}, {-65.57, 23.42, 44.76},
    {-57.24, 44.72, 35.22}, {-43.02, 61.92, 23.03}, {-30.51, 68.98, 8.79}, {-15.37, 72.43, -6.21},
    {0.00, 75.52, -7.82}, {15.37, 72.43, -6.21}, {30.51, 68.98, 8.79}, {43.02, 61.92, 23.03},
    {57.24, 44.72, 35.22}, {65.57, 23.42, 44.76}, {69.38, 4.47, 51.17}, {72.76, -15.06, 57.25},
    {73.63, -36.91, 59.93},
    // right brow
    {-59.54, -55.64, 21.91}, {-52.64, -60.25, 11.21}, {-43.53, -64.06, 3.07}, {-30.74, -65.00, -4.93},
    {-14.62, -62.32, -10.24},
    // left brow
    {14.62, -62.32, -10.24}, {30.74, -65.00, -4.93}, {43.53, -64.06, 3.07}, {52.64, -60.25, 11.21},
    {59.54, -55.64, 21.91},
    // nose ridge, tip last
    {0.00, -39.65, -10.20}, {0.00, -23.89, -20.65}, {0.00, -11.78, -30.15}, {0.00, -4.21, -34.19},
    // nose base
    {-11.84, 7.43, -14.22}, {-7.29, 9.64, -16.80}, {0.00, 10.73, -19.83}, {7.29, 9.64, -16.80},
    {11.84, 7.43, -14.22},
    // right eye
    {-45.46, -35.34, 8.30}, {-37.50, -39.80, 1.11}, {-27.74, -39.71, 0.79}, {-17.32, -33.46, 3.51},
    {-27.18, -30.77, 2.31}, {-37.01, -30.36, 3.29},
    // left eye
    {17.32, -33.46, 3.51}, {27.74, -39.71, 0.79}, {37.50, -39.80, 1.11}, {45.46, -35.34, 8.30},
    {37.01, -30.36, 3.29}, {27.18, -30.77, 2.31},
    // outer lips
    {-25.72, 34.40, -5.90}, {-13.67, 25.69, -17.82}, {-7.40, 22.31, -20.32}, {0.00, 24.68, -21.89},
    {7.40, 22.31, -20.32}, {13.67, 25.69, -17.82}, {25.72, 34.40, -5.90}, {14.35, 41.90, -15.29},
    {6.55, 43.38, -18.48}, {0.00, 43.62, -18.99}, {-6.55, 43.38, -18.48}, {-14.35, 41.90, -15.29},
    // inner lips
    {-23.14, 34.43, -6.38}, {-6.41, 32.21, -16.96}, {0.00, 31.69, -19.16}, {6.41, 32.21, -16.96},
    {23.14, 34.43, -6.38}, {6.24, 32.79, -15.75}, {0.00, 33.09, -16.31}, {-6.24, 32.79, -15.75},
    // right iris: centre, rim
    {-31.01, -36.16, 4.34}, {-25.11, -36.16, 4.34}, {-31.01, -42.06, 4.34}, {-36.91, -36.16, 4.34},
    {-31.01, -30.26, 4.34},
    // left iris: centre, rim
    {31.01, -36.16, 4.34}, {36.91, -36.16, 4.34}, {31.01, -42.06, 4.34}, {25.11, -36.16, 4.34},
    {31.01, -30.26, 4.34},
};

// Eye corners and the nose sit on bone and cartilage; brows move, mouth corners more so: they only steady the pitch.
const float face_rigid_weight[FACE_POINTS] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0.2f, 0.2f, 0.2f, 0.2f, 0.2f, 0.2f, 0.2f, 0.2f, 0.2f, 0.2f,
    1, 1, 1, 1, 0.8f, 0.8f, 0.8f, 0.8f, 0.8f,
    1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0,
    0.1f, 0, 0, 0, 0, 0, 0.1f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
};
// clang-format on

static struct point middle(struct point a, struct point b)
{
    return (struct point){(a.x + b.x) / 2, (a.y + b.y) / 2};
}

struct point face_origin_px(const struct point landmarks[FACE_LANDMARKS])
{
    struct point eyes = middle(middle(landmarks[FACE_RIGHT_EYE_OUTER], landmarks[FACE_RIGHT_EYE_INNER]),
                               middle(landmarks[FACE_LEFT_EYE_INNER], landmarks[FACE_LEFT_EYE_OUTER]));
    return middle(eyes, middle(landmarks[FACE_MOUTH_RIGHT], landmarks[FACE_MOUTH_LEFT]));
}

double face_interocular_px(const struct point landmarks[FACE_LANDMARKS])
{
    struct point right = middle(landmarks[FACE_RIGHT_EYE_OUTER], landmarks[FACE_RIGHT_EYE_INNER]);
    struct point left = middle(landmarks[FACE_LEFT_EYE_INNER], landmarks[FACE_LEFT_EYE_OUTER]);
    return hypot((double)left.x - right.x, (double)left.y - right.y);
}

struct vec3 face_eye_centre_mm(int side)
{
    struct vec3 a = face_shape_mm[side ? FACE_LEFT_EYE_INNER : FACE_RIGHT_EYE_OUTER];
    struct vec3 b = face_shape_mm[side ? FACE_LEFT_EYE_OUTER : FACE_RIGHT_EYE_INNER];
    return vec3_scale(vec3_add(a, b), 0.5);
}
