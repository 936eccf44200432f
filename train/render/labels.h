// What is true of a picture, and its line in labels.jsonl.
#pragma once

#include <stdio.h>

#include "train/mp68.h"
#include "train/render/scene.h"
#include "vision/face_shape.h"

// Camera frame mm and pixels of the picture; side 0 is the subject's right eye, 1 the left.
struct labels {
    char file[32];
    char source[32]; // id of the photograph, or empty
    uint64_t index;
    uint32_t identity;
    bool photo;
    int width, height;
    struct camera camera;
    struct vec3 face_mm, eye_mm[2], target_mm;
    struct vec3 gaze, sight[2]; // unit: face origin -> target, each ball's centre -> target
    struct angles normalised;   // gaze after Zhang's rotation
    struct mat3 head;
    struct point landmark[FACE_LANDMARKS], iris[FACE_IRIS], mesh[MP_MESH_POINTS];
    bool visible[FACE_LANDMARKS];
    float box[4];                  // x, y, width, height of the mesh points
    struct expression expression;  // fitted, not drawn, when photo
    float blink[2], opening_mm[2]; // opening between the middles of the lid margins
    bool glasses;
    struct degradation spoil;
};

// Fills what follows from face_mm, eye_mm, target_mm, head: gaze, sight, normalised. -EDOM for a face that is not in
// front of the camera.
int labels_derive(struct labels *l);
// One line of JSON with its line end; with_mesh adds "mp_landmarks", the 468 mesh points. -errno of the stream.
int labels_write(FILE *f, const struct labels *l, bool with_mesh);
// The same without the opening brace and the file's name, which the caller has written something in place of.
int labels_write_rest(FILE *f, const struct labels *l, bool with_mesh);
