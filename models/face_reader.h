// face_reader: from a grey picture to faces with landmarks, head pose and gaze. The three networks in their order, with
// the head pose that landmarks and mean face give together. The daemon, gaze-analyze and the evaluation all read faces
// through this.
#pragma once

#include <stdbool.h>

#include "libnpu/npu.h"
#include "models/face_finder.h"
#include "models/gaze_vit.h"
#include "models/landmarks.h"
#include "vision/pnp.h"

#define FACE_READER_MAX_FACES 16

struct face_reader;

struct face_reading {
    struct box box; // frame pixels, as face_finder means it
    float score;    // 0..1, the finder's
    struct face_landmarks landmarks;
    struct mat3 head;      // head -> camera: the network's rotation refined on the landmarks
    struct vec3 origin_mm; // face origin in the camera frame
    float pose_rms_px;     // what the pose leaves of the landmarks
    bool has_gaze;         // false for profiles whose eye corners make no strip
    struct gaze_estimate gaze;
    // The box as a share of the landmarks' bounding box, so that it follows them between two runs of the finder.
    struct box box_in_landmarks;
};

// model_dir: the folder with the three weight files. finder may be NULL. On failure message (MODEL_MESSAGE_SIZE) says
// which file and why. Errors of face_finder_open, landmarks_open, gaze_vit_open.
int face_reader_open(npu_dev *dev, const char *model_dir, const struct face_finder_options *finder,
                     struct face_reader **ret_reader, char *message);
// Accepts NULL; returns NULL.
struct face_reader *face_reader_close(struct face_reader *reader);

// Reads one frame (grey or RGB). faces[0..known) are those of the frame before, which are looked for where they were;
// if `find`, or if none is left, the whole picture is searched as well. Writes at most `max` (<= FACE_READER_MAX_FACES)
// readings to `faces`, those known before first and in their order, and says in ret_from[i] which of the known ones
// reading i continues, or -1 if it is new (ret_from may be NULL). Returns how many, or a negative status of the device.
// No allocation.
int face_reader_read(struct face_reader *reader, const struct image *frame, const struct camera *camera, bool find,
                     struct face_reading *faces, int known, int max, int *ret_from);

// Where the time went since the reader was opened: sums over `frames` frames, `searches` of which searched the whole
// picture.
struct face_reader_times {
    int64_t follow_ns, search_ns, pose_ns, gaze_ns; // search: the finder, and two looks at new faces
    long frames, searches, faces;
};
struct face_reader_times face_reader_get_times(const struct face_reader *reader);

// The head pose of a face: the network's rotation as prior, the landmarks by their certainty against the mean face; the
// network's rotation alone where that fails. -EDOM and others of pnp_face when no head in front of the camera fits.
int face_reader_pose(const struct camera *camera, const struct face_landmarks *landmarks, struct pnp_result *ret_pose);
