// Pipeline faces to wire faces: radians to degrees, doubles to floats.
#include "daemon/worker_record.h"

#include <math.h>
#include <string.h>

static float degrees(double rad)
{
    return (float)deg_from_rad(rad);
}

static void put_gaze(const struct pipeline_face *f, struct wire_face *w)
{
    const struct gaze_estimate *g = &f->reading->gaze;
    struct vec3 v = gaze_from_angles(f->gaze);
    struct angles raw = gaze_to_angles(g->gaze);
    w->flags |= WIRE_FACE_GAZE;
    w->gaze[0] = (float)v.x;
    w->gaze[1] = (float)v.y;
    w->gaze[2] = (float)v.z;
    w->yaw_deg = degrees(f->gaze.yaw_rad);
    w->pitch_deg = degrees(f->gaze.pitch_rad);
    w->raw_yaw_deg = degrees(raw.yaw_rad);
    w->raw_pitch_deg = degrees(raw.pitch_rad);
    w->norm_yaw_deg = degrees(g->normalised.yaw_rad);
    w->norm_pitch_deg = degrees(g->normalised.pitch_rad);
    w->sigma_deg = degrees(g->sigma_rad);
}

static void put_face(const struct pipeline_face *f, struct wire_face *w)
{
    const struct face_reading *r = f->reading;
    struct head_angles head = head_angles_from_rotation(&r->head);
    *w = (struct wire_face){
        .id = f->id,
        .flags = WIRE_FACE_HEAD | WIRE_FACE_BLINK,
        .score = r->score,
        .box_px = {r->box.x, r->box.y, r->box.w, r->box.h},
        .origin_mm = {(float)r->origin_mm.x, (float)r->origin_mm.y, (float)r->origin_mm.z},
        .head_yaw_deg = degrees(head.yaw_rad),
        .head_pitch_deg = degrees(head.pitch_rad),
        .head_roll_deg = degrees(head.roll_rad),
        .blink_left = r->landmarks.blink[1],
        .blink_right = r->landmarks.blink[0],
        .quality = f->quality,
        .landmark_count = FACE_POINTS,
    };
    if (r->has_gaze)
        put_gaze(f, w);
    for (int i = 0; i < FACE_POINTS; i++) {
        w->landmark_px[i][0] = r->landmarks.points[i].x;
        w->landmark_px[i][1] = r->landmarks.points[i].y;
    }
}

static bool in_range(const float *v, int n, float most)
{
    for (int i = 0; i < n; i++)
        if (!(fabsf(v[i]) <= most))
            return false;
    return true;
}

static bool is_sound(const struct wire_face *w)
{
    // Every float from score to quality lies in one run of the struct's members; each is named so that none is
    // forgotten.
    const float angles[] = {w->yaw_deg,        w->pitch_deg, w->raw_yaw_deg,  w->raw_pitch_deg,  w->norm_yaw_deg,
                            w->norm_pitch_deg, w->sigma_deg, w->head_yaw_deg, w->head_pitch_deg, w->head_roll_deg};
    const float shares[] = {w->score, w->blink_left, w->blink_right, w->quality};
    return in_range(w->box_px, 4, WIRE_PIXEL_MAX) && in_range(w->origin_mm, 3, WIRE_VALUE_MAX) &&
           in_range(w->gaze, 3, 1.001f) && in_range(angles, 10, 180) && in_range(shares, 4, 1) &&
           in_range(&w->landmark_px[0][0], 2 * w->landmark_count, WIRE_PIXEL_MAX);
}

void worker_record_faces(const struct pipeline_face *faces, int count, struct wire_result *result)
{
    result->fields = WIRE_FIELD_LANDMARKS;
    result->face_count = 0;
    for (int i = 0; i < count && result->face_count < WIRE_FACES_MAX; i++) {
        struct wire_face *w = &result->face[result->face_count];
        put_face(&faces[i], w);
        if (is_sound(w))
            result->face_count++;
    }
}
