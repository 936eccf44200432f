// Photographs of faces with measured landmarks: backdrops, and textures of photo-real pictures.
#pragma once

#include <stddef.h>

#include "train/render/head.h"
#include "vision/camera.h"
#include "vision/geometry.h"
#include "vision/image.h"

#define PHOTO_POINTS     468
#define PHOTO_NEIGHBOURS 8

struct photo {
    char path[4096], id[32];
    float point[PHOTO_POINTS][2]; // MediaPipe mesh points, pixels
    float iris[2][2];             // iris centres, the subject's right and left
    float scale;                  // pixels per pixel of the source: above 1 the picture is softer than its size
    bool grey;
};

// How a vertex moves with the mesh points nearest to it on the neutral head; weights sum to 1 on the face, to less off
// it.
struct photo_pull {
    uint16_t point[PHOTO_NEIGHBOURS];
    float weight[PHOTO_NEIGHBOURS];
};

// Read-only after loading; never holds a held-out picture (train/fold.h).
struct photo_set {
    size_t count;
    struct photo *photo;
    struct photo_pull *pull; // by drawn vertex
};

// Reads portraits and portraits_hd (NAME.jsonl, NAME.safetensors, NAME/*.jpg) of a folder; a missing portraits_hd is
// fine. -errno; -EBADMSG for files that don't fit each other; -ENODATA when nothing is left.
int photo_set_load(const char *dir, const struct head *head, struct photo_set *ret_set);
void photo_set_free(struct photo_set *set);

// The head that explains a photograph.
struct photo_fit {
    float identity[FK_IDENTITIES], expression[FK_EXPRESSIONS];
    struct camera camera; // of the photograph
    struct mat3 head;     // head frame -> camera
    struct vec3 shift_mm;
    v3 residual[PHOTO_POINTS]; // what fitting left over, FaceKit frame, cm
    float rms_px;              // before the residual is put back
};

// distance_mm: how far away the camera is taken to be; off_axis: where the picture's middle lies in its field
// (tangents). -EDOM when no pose fits.
int photo_fit(const struct head *head, const struct photo *photo, int width, int height, double distance_mm,
              const double off_axis[2], struct photo_fit *ret_fit);
