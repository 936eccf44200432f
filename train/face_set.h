// Pictures of faces with labels, decoded to grey and kept in memory: what all networks are trained and judged on.
#pragma once

#include <stdbool.h>

#include "vision/box.h"
#include "vision/camera.h"
#include "vision/face_shape.h"
#include "vision/image.h"

#define FACE_SET_MESSAGE_SIZE 400

enum face_set_fold {
    FACE_SET_TEACHES, // not held out (fold.h)
    FACE_SET_JUDGES,  // held out
    FACE_SET_ALL,
};

struct face_sample {
    char id[24];        // portrait's id, or the render's file name without folder and end (.jpg)
    struct image image; // grey
    struct camera camera;
    struct box box; // bounding box of the MediaPipe mesh, pixels
    struct point points[FACE_POINTS];
    float seen[FACE_POINTS]; // 1 where the point's label counts, 0 where it is hidden
    bool real;               // a photograph: no pose and no gaze
    struct mat3 head;        // head -> camera
    struct vec3 origin_mm;   // face origin, camera frame
    struct vec3 gaze;        // unit vector from the face origin to what is looked at, camera frame
    float blink[2];          // 0..1; the subject's right, left
    int identity;            // of a render
    float yaw_deg;           // of a photograph's head, + = turned to the picture's right (given, a model's output)
};

struct face_set {
    struct face_sample *samples;
    int count, room;
};

// Appends a portrait set: <folder>/<name>.jsonl, <name>.safetensors and <name>/<id>.jpg. message (size
// FACE_SET_MESSAGE_SIZE) says what is wrong on failure.
int face_set_add_portraits(struct face_set *set, const char *folder, const char *name, enum face_set_fold fold,
                           char *message);
// Appends the pictures of a folder that gaze-render wrote (labels.jsonl), at most `limit` (0 = all). Pictures are
// decoded by `threads` threads.
int face_set_add_renders(struct face_set *set, const char *folder, int limit, int threads, char *message);
// Appends every set found in `folder`: a rendered one, or portraits and portraits_hd.
int face_set_add(struct face_set *set, const char *folder, enum face_set_fold fold, int limit, char *message);
void face_set_clear(struct face_set *set);
// Room for one more sample, all zero; NULL when memory is short. For the readers.
struct face_sample *face_set_append(struct face_set *set);
