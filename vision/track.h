// Several faces followed from frame to frame: boxes and times in, stable ids out. Pure: the state is a plain struct.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vision/box.h"

#define TRACK_MAX_FACES 16

struct track_settings {
    int birth_hits;         // detections in a row before a face gets its id (1 = at once)
    int64_t death_ns;       // a face unseen for this long is forgotten
    float min_iou;          // a pair may match at this overlap of predicted and found box,
    float max_centre_share; // or when centres are nearer than this share of the larger box's edge and sizes agree
};

#define TRACK_DEFAULTS ((struct track_settings){2, 700 * 1000000ll, 0.2f, 0.7f})

struct track {
    uint32_t id;            // 0 until birth
    struct box box;         // as last found
    float velocity_px_s[2]; // of the centre, smoothed
    int hits;               // detections in a row before birth, all of them after
    int64_t seen_ns;        // time of the last detection
    bool seen;              // found in the last update
};

// All zero is the start.
struct tracker {
    struct track tracks[TRACK_MAX_FACES];
    int count;
    uint32_t last_id; // ids count up and are never used twice
    int64_t time_ns;
};

// Where the track should be at time_ns (constant velocity, fading after a miss).
struct box track_predict(const struct track *track, int64_t time_ns);
// One frame. boxes: `count` detections (0.., any order; best scores first when more than TRACK_MAX_FACES are given: the
// rest gets id 0). ret_ids[i] is the id of boxes[i], or 0 while it is not born. A time that does not advance is taken
// as the last time. An unborn track that misses a frame is forgotten at once. -EINVAL for count < 0 or bad settings.
int track_update(struct tracker *tracker, const struct track_settings *settings, const struct box *boxes, int count,
                 int64_t time_ns, uint32_t *ret_ids);
// The track with this id, or NULL; id 0 gives NULL.
const struct track *track_find(const struct tracker *tracker, uint32_t id);
