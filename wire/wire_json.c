/* Gaze wire v1: results and status as one line of JSON text. Numbers are formatted here and not by printf(), whose
 * decimal point depends on the locale. */
#include "wire/wire.h"

#include <errno.h>
#include <math.h>
#include <string.h>

struct out {
    char *buf;
    size_t len, cap;
    int r; /* the first failure; nothing is written after it */
};

static void put(struct out *o, const char *s, size_t n)
{
    if (o->r == 0 && o->cap - o->len < n)
        o->r = -ENOSPC;
    if (o->r < 0)
        return;
    memcpy(o->buf + o->len, s, n);
    o->len += n;
}

static void puts_(struct out *o, const char *s)
{
    put(o, s, strlen(s));
}

/* A decimal, right-aligned in at least `columns` <= 20 columns. */
static void put_unsigned(struct out *o, uint64_t v, unsigned columns)
{
    static const char blanks[] = "                    ";
    char digits[20];
    unsigned count = 0;

    do {
        count++;
        digits[sizeof(digits) - count] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    if (columns > count)
        put(o, blanks, columns - count);
    put(o, digits + sizeof(digits) - count, count);
}

/* Fixed point with `decimals` <= 4 places, rounded half away from zero; trailing zeros stay, -0 becomes 0. */
static void put_float(struct out *o, float v, unsigned decimals)
{
    static const unsigned scale[] = {1, 10, 100, 1000, 10000};
    unsigned long long steps;

    if (!(fabsf(v) <= WIRE_VALUE_MAX)) {
        o->r = o->r ? o->r : -EINVAL;
        return;
    }
    steps = (unsigned long long)llround(fabs((double)v) * scale[decimals]);
    if (v < 0 && steps)
        put(o, "-", 1);
    put_unsigned(o, steps / scale[decimals], 0);
    if (decimals == 0)
        return;
    put(o, ".", 1);
    for (unsigned d = decimals, rest = (unsigned)(steps % scale[decimals]); d > 0; d--) {
        char digit = (char)('0' + rest / scale[d - 1]);

        put(o, &digit, 1);
        rest %= scale[d - 1];
    }
}

static void put_floats(struct out *o, const float *v, unsigned count, unsigned decimals)
{
    for (unsigned i = 0; i < count; i++) {
        put(o, i ? "," : "[", 1);
        put_float(o, v[i], decimals);
    }
    put(o, "]", 1);
}

/* A text field as a JSON string; bytes that no wire text has (see wire.h) become `?`. */
static void put_string(struct out *o, const char *field, size_t cap)
{
    char clean[WIRE_TEXT_MAX];

    put(o, "\"", 1);
    if (!memchr(field, 0, cap)) {
        o->r = o->r ? o->r : -EINVAL;
        return;
    }
    wire_set_text(clean, cap < sizeof(clean) ? cap : sizeof(clean), field);
    for (const char *s = clean; *s; s++) {
        if (*s == '"' || *s == '\\')
            put(o, "\\", 1);
        put(o, s, 1);
    }
    put(o, "\"", 1);
}

/* `name` has its comma, quotes and colon: `,"x":` */
static void key_float(struct out *o, const char *name, float v, unsigned decimals)
{
    puts_(o, name);
    put_float(o, v, decimals);
}

static void key_unsigned(struct out *o, const char *name, uint64_t v)
{
    puts_(o, name);
    put_unsigned(o, v, 0);
}

static void key_string(struct out *o, const char *name, const char *field, size_t cap)
{
    puts_(o, name);
    put_string(o, field, cap);
}

static void put_angles(struct out *o, const char *name, float yaw_deg, float pitch_deg)
{
    puts_(o, name);
    key_float(o, "{\"yaw\":", yaw_deg, 3);
    key_float(o, ",\"pitch\":", pitch_deg, 3);
}

static void put_head(struct out *o, const struct wire_face *f)
{
    if (!(f->flags & WIRE_FACE_HEAD)) {
        puts_(o, ",\"head\":null,\"origin_mm\":null");
        return;
    }
    put_angles(o, ",\"head\":", f->head_yaw_deg, f->head_pitch_deg);
    key_float(o, ",\"roll\":", f->head_roll_deg, 3);
    puts_(o, "},\"origin_mm\":");
    put_floats(o, f->origin_mm, 3, 1);
}

static void put_gaze(struct out *o, const struct wire_face *f)
{
    if (!(f->flags & WIRE_FACE_GAZE)) {
        puts_(o, ",\"gaze\":null,\"gaze_raw\":null,\"gaze_normalised\":null,\"sigma_deg\":null");
        return;
    }
    put_angles(o, ",\"gaze\":", f->yaw_deg, f->pitch_deg);
    puts_(o, ",\"vector\":");
    put_floats(o, f->gaze, 3, 4);
    put_angles(o, "},\"gaze_raw\":", f->raw_yaw_deg, f->raw_pitch_deg);
    put_angles(o, "},\"gaze_normalised\":", f->norm_yaw_deg, f->norm_pitch_deg);
    key_float(o, "},\"sigma_deg\":", f->sigma_deg, 2);
}

static void put_landmarks(struct out *o, const struct wire_face *f)
{
    puts_(o, ",\"landmarks\":[");
    for (unsigned i = 0; i < f->landmark_count; i++) {
        if (i)
            put(o, ",", 1);
        put_floats(o, f->landmark_px[i], 2, 1);
    }
    put(o, "]", 1);
}

/* {"AU1":0.50,"AU12L":2.00} */
static void put_aus(struct out *o, const struct wire_face *f)
{
    puts_(o, ",\"au\":{");
    for (unsigned i = 0; i < f->au_count; i++) {
        const struct wire_au *a = &f->au[i];

        key_unsigned(o, i ? ",\"AU" : "\"AU", a->au);
        puts_(o, a->side == 1 ? "L" : a->side == 2 ? "R" : "");
        key_float(o, "\":", a->intensity, 2);
    }
    put(o, "}", 1);
}

static void put_zones(struct out *o, const struct wire_face *f)
{
    puts_(o, ",\"zones\":[");
    for (unsigned i = 0; i < f->zone_count; i++) {
        key_unsigned(o, i ? ",{\"id\":" : "{\"id\":", f->zone[i].id);
        key_unsigned(o, ",\"dwell_ms\":", f->zone[i].dwell_ms);
        put(o, "}", 1);
    }
    put(o, "]", 1);
}

static void put_face(struct out *o, const struct wire_face *f, uint32_t fields)
{
    if (f->landmark_count > WIRE_LANDMARKS_MAX || f->au_count > WIRE_AUS_MAX || f->zone_count > WIRE_ZONES_MAX) {
        o->r = o->r ? o->r : -EINVAL;
        return;
    }
    key_unsigned(o, "{\"id\":", f->id);
    puts_(o, ",\"box\":");
    put_floats(o, f->box_px, 4, 1);
    key_float(o, ",\"score\":", f->score, 3);
    put_head(o, f);
    put_gaze(o, f);
    if (f->flags & WIRE_FACE_BLINK) {
        key_float(o, ",\"blink\":{\"left\":", f->blink_left, 3);
        key_float(o, ",\"right\":", f->blink_right, 3);
        put(o, "}", 1);
    } else {
        puts_(o, ",\"blink\":null");
    }
    key_float(o, ",\"quality\":", f->quality, 3);
    puts_(o,
          f->flags & WIRE_FACE_CALIBRATED ? ",\"calibrated\":true,\"screen\":" : ",\"calibrated\":false,\"screen\":");
    if (f->flags & WIRE_FACE_SCREEN)
        put_floats(o, f->screen, 2, 4);
    else
        puts_(o, "null");
    if (fields & WIRE_FIELD_LANDMARKS)
        put_landmarks(o, f);
    if (fields & WIRE_FIELD_AUS)
        put_aus(o, f);
    if (fields & WIRE_FIELD_ZONES)
        put_zones(o, f);
    put(o, "}", 1);
}

int wire_json_result(char *buf, size_t cap, const struct wire_result *m, size_t *ret_len)
{
    struct out o = {.buf = buf, .cap = cap};

    if (m->face_count > WIRE_FACES_MAX)
        return -EINVAL;
    key_unsigned(&o, "{\"seq\":", m->seq);
    key_unsigned(&o, ",\"t_ns\":", m->capture_ns);
    key_unsigned(&o, ",\"camera\":", m->camera_id);
    key_unsigned(&o, ",\"frame\":[", m->frame_width_px);
    key_unsigned(&o, ",", m->frame_height_px);
    puts_(&o, "],\"device\":{\"kind\":\"");
    puts_(&o, wire_device_kind_name(m->device_kind));
    key_string(&o, "\",\"name\":", m->device, sizeof(m->device));
    puts_(&o, "},\"faces\":[");
    for (unsigned i = 0; i < m->face_count; i++) {
        if (i)
            put(&o, ",", 1);
        put_face(&o, &m->face[i], m->fields);
    }
    /* Fixed columns, so that wire_patch_*() can change these two in the finished text. */
    puts_(&o, "],\"t_publish_ns\":");
    put_unsigned(&o, m->publish_ns, 20);
    puts_(&o, ",\"dropped\":");
    put_unsigned(&o, m->dropped_since_last, 10);
    puts_(&o, "}\n");
    if (o.r == 0)
        *ret_len = o.len;
    return o.r;
}

int wire_json_status(char *buf, size_t cap, const struct wire_status *m, size_t *ret_len)
{
    struct out o = {.buf = buf, .cap = cap};

    puts_(&o, "{\"state\":\"");
    puts_(&o, wire_state_name(m->state));
    key_string(&o, "\",\"text\":", m->text, sizeof(m->text));
    key_string(&o, ",\"source\":", m->source, sizeof(m->source));
    key_string(&o, ",\"format\":", m->format, sizeof(m->format));
    key_unsigned(&o, ",\"frame\":[", m->frame_width_px);
    key_unsigned(&o, ",", m->frame_height_px);
    key_float(&o, "],\"fps\":", (float)((m->fps_mhz < 1000000000 ? m->fps_mhz : 1000000000) / 1000.0), 2);
    puts_(&o, ",\"device\":{\"kind\":\"");
    puts_(&o, wire_device_kind_name(m->device_kind));
    key_string(&o, "\",\"name\":", m->device, sizeof(m->device));
    key_string(&o, ",\"tier\":", m->tier, sizeof(m->tier));
    key_string(&o, ",\"why\":", m->why, sizeof(m->why));
    key_string(&o, "},\"models\":", m->models, sizeof(m->models));
    key_unsigned(&o, ",\"worker\":{\"pid\":", m->worker_pid);
    key_unsigned(&o, ",\"restarts\":", m->worker_restarts);
    key_unsigned(&o, "},\"clients\":", m->clients);
    key_unsigned(&o, ",\"frames\":", m->frames);
    key_unsigned(&o, ",\"dropped\":", m->dropped);
    key_unsigned(&o, ",\"uptime_ns\":", m->uptime_ns);
    key_unsigned(&o, ",\"latency_us\":{\"p50\":", m->latency_p50_us);
    key_unsigned(&o, ",\"p99\":", m->latency_p99_us);
    puts_(&o, "}}\n");
    if (o.r == 0)
        *ret_len = o.len;
    return o.r;
}
