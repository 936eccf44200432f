/* gazectl: results, status and failures for people. */
#include "client/gazectl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void print_face(FILE *out, const struct gaze_result *r, const struct gaze_face *f)
{
    fprintf(out, "frame %llu  face %u", (unsigned long long)r->seq, f->id);
    if (f->flags & GAZE_FACE_GAZE)
        fprintf(out, "  yaw %+6.1f  pitch %+6.1f  sigma %4.1f", f->yaw_deg, f->pitch_deg, f->sigma_deg);
    else
        fprintf(out, "  gaze unknown");
    if (f->flags & GAZE_FACE_HEAD)
        fprintf(out, "  head %+6.1f %+6.1f %+6.1f  %4.0f mm", f->head_yaw_deg, f->head_pitch_deg, f->head_roll_deg,
                f->origin_mm[2]);
    if (f->flags & GAZE_FACE_BLINK)
        fprintf(out, "  blink %.2f %.2f", f->blink_left, f->blink_right);
    if (f->flags & GAZE_FACE_SCREEN)
        fprintf(out, "  screen %.2f %.2f", f->screen[0], f->screen[1]);
    fputc('\n', out);
}

void gazectl_print_result(FILE *out, const struct gaze_result *r)
{
    if (r->face_count == 0)
        fprintf(out, "frame %llu  no face\n", (unsigned long long)r->seq);
    for (uint32_t i = 0; i < r->face_count; i++)
        print_face(out, r, r->faces[i]);
}

void gazectl_print_status(FILE *out, const struct gaze_status *s, const char *server)
{
    unsigned long long seconds = s->uptime_ns / 1000000000ull;

    fprintf(out, "state     %s%s%s\n", gaze_state_name(s->state), s->text[0] ? ": " : "", s->text);
    fprintf(out, "source    %s", s->source[0] ? s->source : "none");
    if (s->frame_width_px)
        fprintf(out, "  %s %ux%u", s->format, s->frame_width_px, s->frame_height_px);
    fprintf(out, "\nrate      %.1f results/s\n", s->fps);
    if (s->latency_p99_us)
        fprintf(out, "latency   %.1f ms median, %.1f ms p99 (capture to publish)\n", s->latency_p50_us / 1000.0,
                s->latency_p99_us / 1000.0);
    fprintf(out, "device    %s (%s%s%s)\n", s->device[0] ? s->device : "none", gaze_device_kind_name(s->device_kind),
            s->tier[0] ? ", " : "", s->tier);
    if (s->why[0])
        fprintf(out, "          no better device: %s\n", s->why);
    fprintf(out, "models    %s\n", s->models[0] ? s->models : "none");
    if (s->worker_pid)
        fprintf(out, "worker    pid %u, %u restarts\n", s->worker_pid, s->worker_restarts);
    else
        fprintf(out, "worker    none, %u restarts\n", s->worker_restarts);
    fprintf(out, "clients   %u\nframes    %llu analysed, %llu dropped\n", s->clients, (unsigned long long)s->frames,
            (unsigned long long)s->dropped);
    fprintf(out, "uptime    %llu:%02llu:%02llu  (%s)\n", seconds / 3600, seconds / 60 % 60, seconds % 60, server);
}

void gazectl_print_no_connection(FILE *out, const char *path, int r)
{
    const char *env = getenv("GAZED_SOCKET");

    if (!path || !*path)
        path = env && *env ? env : GAZE_DEFAULT_SOCKET;
    fprintf(out, "gazectl: cannot connect to %s: %s\n", path, strerror(-r));
    if (r == -ENOENT || r == -ECONNREFUSED)
        fprintf(out, "gazectl: is gazed running? try: systemctl start gazed\n");
    else if (r == -EACCES)
        fprintf(out, "gazectl: are you in group gaze? try: sudo usermod -aG gaze $USER, and log in again\n");
    else if (r == -EBUSY)
        fprintf(out, "gazectl: gazed has as many clients as it takes\n");
    else if (r == -EPROTONOSUPPORT || r == -EPROTO)
        fprintf(out, "gazectl: what listens there does not speak this version of gaze wire\n");
    else if (r == -ETIMEDOUT)
        fprintf(out, "gazectl: gazed does not answer; see: journalctl -u gazed\n");
}
