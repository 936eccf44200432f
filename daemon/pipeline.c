// Follow, search, track, filter.
#include "daemon/pipeline.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct gaze_filter {
    uint32_t id; // 0 = free
    struct one_euro pitch, yaw;
};

struct pipeline {
    struct face_reader *reader;
    struct pipeline_settings settings;
    struct tracker tracker;
    struct face_reading readings[FACE_READER_MAX_FACES];
    int known;
    unsigned since_search;
    struct gaze_filter filters[FACE_READER_MAX_FACES];
    struct pipeline_face faces[FACE_READER_MAX_FACES];
};

int pipeline_new(struct face_reader *reader, const struct pipeline_settings *settings, struct pipeline **ret_pipeline)
{
    if (settings->faces_max < 1 || settings->faces_max > FACE_READER_MAX_FACES || !(settings->hfov_deg > 0) ||
        !(settings->hfov_deg < 180) || settings->birth_hits < 1)
        return -EINVAL;
    struct pipeline *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->reader = reader;
    p->settings = *settings;
    *ret_pipeline = p;
    return 0;
}

struct pipeline *pipeline_free(struct pipeline *p)
{
    free(p);
    return NULL;
}

void pipeline_reset(struct pipeline *p)
{
    uint32_t last_id = p->tracker.last_id;
    p->tracker = (struct tracker){.last_id = last_id};
    p->known = 0;
    p->since_search = 0;
    memset(p->filters, 0, sizeof(p->filters));
}

// The filter of a face; a new face takes one whose face is gone.
static struct gaze_filter *filter_of(struct pipeline *p, uint32_t id)
{
    struct gaze_filter *spare = NULL;
    for (int i = 0; i < FACE_READER_MAX_FACES; i++) {
        struct gaze_filter *f = &p->filters[i];
        if (f->id == id)
            return f;
        if (!spare && (!f->id || !track_find(&p->tracker, f->id)))
            spare = f;
    }
    if (spare)
        *spare = (struct gaze_filter){.id = id};
    return spare;
}

static float gaze_quality(const struct face_reading *r)
{
    float shut = fmaxf(r->landmarks.blink[0], r->landmarks.blink[1]);
    float sharp = fminf(r->gaze.frame_px_per_strip_px / 0.6f, 1); // below that the eyes are blown up
    return r->has_gaze ? r->landmarks.score * (1 - shut) * sharp : 0;
}

static struct pipeline_face finish(struct pipeline *p, const struct face_reading *reading, uint32_t id, int64_t time_ns)
{
    struct pipeline_face face = {.id = id, .reading = reading, .quality = gaze_quality(reading)};
    if (!reading->has_gaze)
        return face;
    face.gaze = gaze_to_angles(reading->gaze.gaze);
    struct gaze_filter *f = filter_of(p, id);
    if (f) {
        face.gaze.pitch_rad = one_euro_update(&f->pitch, &p->settings.filter, face.gaze.pitch_rad, time_ns);
        face.gaze.yaw_rad = one_euro_update(&f->yaw, &p->settings.filter, face.gaze.yaw_rad, time_ns);
    }
    return face;
}

int pipeline_frame(struct pipeline *p, const struct image *frame, int64_t time_ns,
                   const struct pipeline_face **ret_faces)
{
    struct camera camera;
    int r = camera_from_hfov(frame->width, frame->height, rad_from_deg(p->settings.hfov_deg), &camera);
    if (r < 0)
        return r;
    bool search = p->known == 0 || ++p->since_search >= PIPELINE_SEARCH_PERIOD;
    if (search)
        p->since_search = 0;
    r = face_reader_read(p->reader, frame, &camera, search, p->readings, p->known, p->settings.faces_max, NULL);
    if (r < 0) {
        p->known = 0;
        return r;
    }
    p->known = r;

    struct box boxes[FACE_READER_MAX_FACES];
    uint32_t ids[FACE_READER_MAX_FACES];
    for (int i = 0; i < p->known; i++)
        boxes[i] = p->readings[i].box;
    struct track_settings track = TRACK_DEFAULTS;
    track.birth_hits = p->settings.birth_hits;
    r = track_update(&p->tracker, &track, boxes, p->known, time_ns, ids);
    if (r < 0)
        return r;

    int count = 0;
    for (int i = 0; i < p->known; i++)
        if (ids[i])
            p->faces[count++] = finish(p, &p->readings[i], ids[i], time_ns);
    *ret_faces = p->faces;
    return count;
}
