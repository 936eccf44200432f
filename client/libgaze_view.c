/* libgaze: wire messages as the public, append-only structs. */
#include <string.h>

#include "client/libgaze_private.h"

static void face_set(struct gaze_view *view, unsigned i, const struct wire_face *w)
{
    struct gaze_face *f = &view->face[i];

    *f = (struct gaze_face){
        .size = sizeof(*f),
        .id = w->id,
        .flags = w->flags,
        .score = w->score,
        .yaw_deg = w->yaw_deg,
        .pitch_deg = w->pitch_deg,
        .raw_yaw_deg = w->raw_yaw_deg,
        .raw_pitch_deg = w->raw_pitch_deg,
        .norm_yaw_deg = w->norm_yaw_deg,
        .norm_pitch_deg = w->norm_pitch_deg,
        .sigma_deg = w->sigma_deg,
        .head_yaw_deg = w->head_yaw_deg,
        .head_pitch_deg = w->head_pitch_deg,
        .head_roll_deg = w->head_roll_deg,
        .blink_left = w->blink_left,
        .blink_right = w->blink_right,
        .quality = w->quality,
        .screen = {w->screen[0], w->screen[1]},
        .landmark_count = w->landmark_count,
        .au_count = w->au_count,
        .zone_count = w->zone_count,
        .landmarks = view->landmark[i],
        .aus = view->au[i],
        .zones = view->zone[i],
    };
    memcpy(f->box_px, w->box_px, sizeof(f->box_px));
    memcpy(f->origin_mm, w->origin_mm, sizeof(f->origin_mm));
    memcpy(f->gaze, w->gaze, sizeof(f->gaze));
    for (unsigned k = 0; k < w->landmark_count; k++)
        view->landmark[i][k] = (struct gaze_point){w->landmark_px[k][0], w->landmark_px[k][1]};
    for (unsigned k = 0; k < w->au_count; k++)
        view->au[i][k] = (struct gaze_au){.au = w->au[k].au, .side = w->au[k].side, .intensity = w->au[k].intensity};
    for (unsigned k = 0; k < w->zone_count; k++)
        view->zone[i][k] = (struct gaze_zone){.id = w->zone[k].id, .dwell_ms = w->zone[k].dwell_ms};
}

void gaze_view_set(struct gaze_view *view, const struct wire_result *w)
{
    view->result = (struct gaze_result){
        .size = sizeof(view->result),
        .face_count = w->face_count,
        .seq = w->seq,
        .capture_ns = w->capture_ns,
        .publish_ns = w->publish_ns,
        .dropped_since_last = w->dropped_since_last,
        .camera_id = w->camera_id,
        .frame_width_px = w->frame_width_px,
        .frame_height_px = w->frame_height_px,
        .device_kind = w->device_kind,
        .device = w->device,
        .faces = view->face_pointer,
    };
    for (unsigned i = 0; i < w->face_count; i++) {
        face_set(view, i, &w->face[i]);
        view->face_pointer[i] = &view->face[i];
    }
}

_Static_assert(sizeof(((struct gaze_status *)0)->source) == WIRE_PATH_MAX, "text fields are as large as on the wire");
_Static_assert(sizeof(((struct gaze_status *)0)->tier) == WIRE_NAME_MAX, "text fields are as large as on the wire");
_Static_assert(sizeof(((struct gaze_status *)0)->why) == WIRE_TEXT_MAX, "text fields are as large as on the wire");

void gaze_status_set(struct gaze_status *status, const struct wire_status *w)
{
    struct gaze_status full = {
        .state = w->state,
        .device_kind = w->device_kind,
        .fps = (float)w->fps_mhz / 1000.0f,
        .frame_width_px = w->frame_width_px,
        .frame_height_px = w->frame_height_px,
        .worker_pid = w->worker_pid,
        .worker_restarts = w->worker_restarts,
        .clients = w->clients,
        .latency_p50_us = w->latency_p50_us,
        .latency_p99_us = w->latency_p99_us,
        .frames = w->frames,
        .dropped = w->dropped,
        .uptime_ns = w->uptime_ns,
    };

    memcpy(full.source, w->source, sizeof(full.source));
    memcpy(full.format, w->format, sizeof(full.format));
    memcpy(full.device, w->device, sizeof(full.device));
    memcpy(full.tier, w->tier, sizeof(full.tier));
    memcpy(full.models, w->models, sizeof(full.models));
    memcpy(full.text, w->text, sizeof(full.text));
    memcpy(full.why, w->why, sizeof(full.why));
    full.size = status->size < sizeof(full) ? status->size : (uint32_t)sizeof(full);
    memcpy(status, &full, full.size);
}

const char *gaze_state_name(uint32_t state)
{
    return wire_state_name(state <= UINT16_MAX ? (uint16_t)state : UINT16_MAX);
}

const char *gaze_device_kind_name(uint32_t kind)
{
    return wire_device_kind_name(kind <= UINT16_MAX ? (uint16_t)kind : UINT16_MAX);
}

const char *gaze_version(void)
{
    return GAZED_VERSION;
}
