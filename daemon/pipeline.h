// The pipeline of the worker: a grey frame and its time become faces with stable ids and filtered gaze. No camera, no
// socket.
#pragma once

#include "models/face_reader.h"
#include "vision/one_euro.h"
#include "vision/track.h"

// While all faces are followed the whole picture is searched for new ones every so many frames.
#define PIPELINE_SEARCH_PERIOD 8

struct pipeline_settings {
    int faces_max;   // 1..FACE_READER_MAX_FACES
    double hfov_deg; // of the camera
    int birth_hits;  // frames until a face gets its id (track.h)
    struct one_euro_settings filter;
};

struct pipeline_face {
    uint32_t id;
    const struct face_reading *reading; // valid until the next frame
    struct angles gaze;                 // filtered, camera frame; the raw one is in the reading
    float quality;                      // 0..1: how much the gaze is to be trusted
};

struct pipeline;

// The reader stays the caller's and must outlive the pipeline. -ENOMEM; -EINVAL bad settings.
int pipeline_new(struct face_reader *reader, const struct pipeline_settings *settings, struct pipeline **ret_pipeline);
// Accepts NULL; returns NULL.
struct pipeline *pipeline_free(struct pipeline *p);
// Forgets the faces (the camera was closed or changed); ids go on counting.
void pipeline_reset(struct pipeline *p);
// One frame. *ret_faces points at the pipeline's own array until the next call. Returns how many faces have an id, or a
// negative status of the device. No allocation.
int pipeline_frame(struct pipeline *p, const struct image *frame, int64_t time_ns,
                   const struct pipeline_face **ret_faces);
