/* Gaze wire v1: frames to values and back. Each message's layout is written once, as a function that visits its fields
 * in wire order; the cursor reads or writes, so that the two directions cannot disagree. */
#include "wire/wire.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define RESULT_FIXED_SIZE 80u
#define RESULT_PUBLISH_AT (WIRE_HEADER_SIZE + 24u)
#define RESULT_DROPPED_AT (WIRE_HEADER_SIZE + 32u)
#define FACE_FIXED_SIZE   120u
#define LANDMARK_SIZE     4u
#define AU_SIZE           8u
#define ZONE_SIZE         8u
#define LANDMARK_STEPS    8.0f /* per pixel */
#define FACE_SIZE_MAX                                                                                                  \
    (FACE_FIXED_SIZE + WIRE_LANDMARKS_MAX * LANDMARK_SIZE + WIRE_AUS_MAX * AU_SIZE + WIRE_ZONES_MAX * ZONE_SIZE)

_Static_assert(WIRE_RESULT_MAX == WIRE_HEADER_SIZE + RESULT_FIXED_SIZE + WIRE_FACES_MAX * FACE_SIZE_MAX, "PROTOCOL.md");
_Static_assert(WIRE_RESULT_MAX <= WIRE_OUT_MAX, "a result fits the outbound limit");

/* Reads from or writes to [at, end). The first failure stays in `r` and stops all further access. */
struct cursor {
    uint8_t *buf; /* only read from when decoding */
    size_t at, end;
    bool encode;
    int r;
};

static void refuse(struct cursor *c)
{
    if (c->r == 0)
        c->r = c->encode ? -EINVAL : -EBADMSG;
}

/* The next n bytes, or NULL when there are fewer or something failed before. */
static uint8_t *take(struct cursor *c, size_t n)
{
    uint8_t *p;

    if (c->r == 0 && c->end - c->at < n)
        c->r = c->encode ? -ENOSPC : -EBADMSG;
    if (c->r < 0)
        return NULL;
    p = c->buf + c->at;
    c->at += n;
    return p;
}

static uint64_t load(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static void store(uint8_t *p, unsigned n, uint64_t v)
{
    for (unsigned i = 0; i < n; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

/* Visits an unsigned integer of n bytes: the value written, or the value read (`v` itself after a failure). */
static uint64_t visit(struct cursor *c, unsigned n, uint64_t v)
{
    uint8_t *p = take(c, n);

    if (!p)
        return v;
    if (!c->encode)
        return load(p, n);
    store(p, n, v);
    return v;
}

static void u8(struct cursor *c, uint8_t *v)
{
    *v = (uint8_t)visit(c, 1, *v);
}

static void u16(struct cursor *c, uint16_t *v)
{
    *v = (uint16_t)visit(c, 2, *v);
}

static void u32(struct cursor *c, uint32_t *v)
{
    *v = (uint32_t)visit(c, 4, *v);
}

static void u64(struct cursor *c, uint64_t *v)
{
    *v = visit(c, 8, *v);
}

/* Reserved bytes: written as 0, ignored when read. n <= 8. */
static void reserved(struct cursor *c, unsigned n)
{
    visit(c, n, 0);
}

static void f32_limited(struct cursor *c, float *v, float max)
{
    uint32_t bits;

    memcpy(&bits, v, sizeof(bits));
    bits = (uint32_t)visit(c, 4, bits);
    memcpy(v, &bits, sizeof(bits));
    if (c->r == 0 && !(fabsf(*v) <= max)) /* NaN too */
        refuse(c);
}

static void f32s(struct cursor *c, float *v, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        f32_limited(c, &v[i], WIRE_VALUE_MAX);
}

static void f32(struct cursor *c, float *v)
{
    f32_limited(c, v, WIRE_VALUE_MAX);
}

/* Length of the UTF-8 character at s (of at most n bytes) that is no control character; 0 if there is none. */
static size_t utf8_length(const uint8_t *s, size_t n)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t code;
    size_t len;

    if (n == 0)
        return 0;
    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7f;
    len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc0 ? 2 : 0;
    if (len == 0 || s[0] > 0xf4 || len > n)
        return 0;
    code = s[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3f);
    }
    if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) || (code >= 0x80 && code < 0xa0))
        return 0;
    return len;
}

/* Length of the text in a field, or -1 if it is unterminated or no clean UTF-8. */
static ptrdiff_t text_length(const char *field, size_t cap)
{
    const char *end = memchr(field, 0, cap);
    size_t at = 0, len;

    if (!end)
        return -1;
    while (at < (size_t)(end - field)) {
        len = utf8_length((const uint8_t *)field + at, (size_t)(end - field) - at);
        if (len == 0)
            return -1;
        at += len;
    }
    return (ptrdiff_t)at;
}

static void text(struct cursor *c, char *field, size_t cap)
{
    uint8_t *p = take(c, cap);
    ptrdiff_t len;

    if (!p)
        return;
    len = text_length(c->encode ? field : (const char *)p, cap);
    if (len < 0) {
        refuse(c);
        return;
    }
    if (c->encode) {
        memset(p, 0, cap);
        memcpy(p, field, (size_t)len);
    } else {
        memset(field, 0, cap);
        memcpy(field, p, (size_t)len);
    }
}

void wire_set_text(char *field, size_t cap, const char *source)
{
    const uint8_t *s = (const uint8_t *)(source ? source : "");
    size_t left = strlen((const char *)s), at = 0, len;

    if (cap == 0)
        return;
    while (left > 0) {
        len = utf8_length(s, left);
        if (at + (len ? len : 1) >= cap)
            break;
        if (len == 0)
            field[at++] = '?';
        for (size_t i = 0; i < len; i++)
            field[at++] = (char)s[i];
        s += len ? len : 1;
        left -= len ? len : 1;
    }
    memset(field + at, 0, cap - at);
}

/* ---- the messages, in wire order ---- */

static void hello(struct cursor *c, struct wire_hello *m)
{
    u16(c, &m->major);
    u16(c, &m->minor);
    reserved(c, 4);
    text(c, m->client, sizeof(m->client));
}

static void welcome(struct cursor *c, struct wire_welcome *m)
{
    u16(c, &m->major);
    u16(c, &m->minor);
    u32(c, &m->in_max);
    u32(c, &m->out_max);
    u16(c, &m->faces_max);
    u16(c, &m->requests_hz);
    u32(c, &m->topics);
    u32(c, &m->fields);
    text(c, m->server, sizeof(m->server));
    text(c, m->version, sizeof(m->version));
}

static void subscribe(struct cursor *c, struct wire_subscribe *m)
{
    u32(c, &m->topics);
    u32(c, &m->fields);
    u32(c, &m->rate_mhz);
    u16(c, &m->encoding);
    reserved(c, 2);
}

static void status(struct cursor *c, struct wire_status *m)
{
    u16(c, &m->state);
    u16(c, &m->device_kind);
    u32(c, &m->fps_mhz);
    u16(c, &m->frame_width_px);
    u16(c, &m->frame_height_px);
    u32(c, &m->worker_pid);
    u32(c, &m->worker_restarts);
    u32(c, &m->clients);
    u64(c, &m->frames);
    u64(c, &m->dropped);
    u64(c, &m->uptime_ns);
    u32(c, &m->latency_p50_us);
    u32(c, &m->latency_p99_us);
    text(c, m->source, sizeof(m->source));
    text(c, m->format, sizeof(m->format));
    text(c, m->device, sizeof(m->device));
    text(c, m->tier, sizeof(m->tier));
    text(c, m->models, sizeof(m->models));
    text(c, m->text, sizeof(m->text));
    text(c, m->why, sizeof(m->why));
}

static void error(struct cursor *c, struct wire_error *m)
{
    u16(c, &m->code);
    u16(c, &m->type);
    text(c, m->text, sizeof(m->text));
}

static void bye(struct cursor *c, struct wire_bye *m)
{
    u16(c, &m->reason);
    reserved(c, 2);
    text(c, m->text, sizeof(m->text));
}

static void heartbeat(struct cursor *c, struct wire_heartbeat *m)
{
    u64(c, &m->time_ns);
    u64(c, &m->frames);
    u64(c, &m->dropped);
    u16(c, &m->state);
    reserved(c, 6);
}

static void wstatus(struct cursor *c, struct wire_wstatus *m)
{
    u16(c, &m->state);
    u16(c, &m->device_kind);
    u32(c, &m->fps_mhz);
    u16(c, &m->frame_width_px);
    u16(c, &m->frame_height_px);
    reserved(c, 4);
    text(c, m->source, sizeof(m->source));
    text(c, m->format, sizeof(m->format));
    text(c, m->device, sizeof(m->device));
    text(c, m->tier, sizeof(m->tier));
    text(c, m->models, sizeof(m->models));
    text(c, m->text, sizeof(m->text));
    text(c, m->why, sizeof(m->why));
}

static void control(struct cursor *c, struct wire_control *m)
{
    u16(c, &m->command);
    reserved(c, 2);
    u32(c, &m->value);
}

/* The fixed part of a face behind its sizes and counts. */
static void face_fixed(struct cursor *c, struct wire_face *f)
{
    u32(c, &f->id);
    u32(c, &f->flags);
    f32(c, &f->score);
    for (unsigned i = 0; i < 4; i++)
        f32_limited(c, &f->box_px[i], WIRE_PIXEL_MAX);
    f32s(c, f->origin_mm, 3);
    f32s(c, f->gaze, 3);
    f32(c, &f->yaw_deg);
    f32(c, &f->pitch_deg);
    f32(c, &f->raw_yaw_deg);
    f32(c, &f->raw_pitch_deg);
    f32(c, &f->norm_yaw_deg);
    f32(c, &f->norm_pitch_deg);
    f32(c, &f->sigma_deg);
    f32(c, &f->head_yaw_deg);
    f32(c, &f->head_pitch_deg);
    f32(c, &f->head_roll_deg);
    f32(c, &f->blink_left);
    f32(c, &f->blink_right);
    f32(c, &f->quality);
    f32s(c, f->screen, 2);
}

/* One coordinate as i16 eighths of a pixel from the box's corner, saturated. */
static void landmark(struct cursor *c, float *v_px, float corner_px)
{
    float steps = 0;
    uint16_t bits;

    if (c->encode) {
        steps = rintf((*v_px - corner_px) * LANDMARK_STEPS);
        if (!isfinite(steps)) {
            refuse(c);
            return;
        }
        steps = fminf(fmaxf(steps, INT16_MIN), INT16_MAX);
    }
    bits = (uint16_t)(int16_t)steps;
    u16(c, &bits);
    if (!c->encode)
        *v_px = corner_px + (float)(int16_t)bits / LANDMARK_STEPS;
}

static void face_arrays(struct cursor *c, struct wire_face *f, unsigned landmarks, unsigned aus, unsigned zones)
{
    for (unsigned i = 0; i < landmarks; i++) {
        landmark(c, &f->landmark_px[i][0], f->box_px[0]);
        landmark(c, &f->landmark_px[i][1], f->box_px[1]);
    }
    for (unsigned i = 0; i < aus; i++) {
        u16(c, &f->au[i].au);
        u8(c, &f->au[i].side);
        reserved(c, 1);
        f32(c, &f->au[i].intensity);
    }
    for (unsigned i = 0; i < zones; i++) {
        u32(c, &f->zone[i].id);
        u32(c, &f->zone[i].dwell_ms);
    }
}

static void face(struct cursor *c, struct wire_face *f, uint32_t fields)
{
    uint16_t landmarks = fields & WIRE_FIELD_LANDMARKS ? f->landmark_count : 0;
    uint8_t aus = fields & WIRE_FIELD_AUS ? f->au_count : 0, zones = fields & WIRE_FIELD_ZONES ? f->zone_count : 0;
    uint16_t size = (uint16_t)(FACE_FIXED_SIZE + landmarks * LANDMARK_SIZE + aus * AU_SIZE + zones * ZONE_SIZE);
    uint16_t fixed_size = FACE_FIXED_SIZE;
    size_t start = c->at, outer_end = c->end;

    u16(c, &size);
    u16(c, &fixed_size);
    u16(c, &landmarks);
    u8(c, &aus);
    u8(c, &zones);
    if (c->r < 0)
        return;
    if (landmarks > WIRE_LANDMARKS_MAX || aus > WIRE_AUS_MAX || zones > WIRE_ZONES_MAX ||
        (landmarks && !(fields & WIRE_FIELD_LANDMARKS)) || (aus && !(fields & WIRE_FIELD_AUS)) ||
        (zones && !(fields & WIRE_FIELD_ZONES)) || fixed_size < FACE_FIXED_SIZE || size < fixed_size) {
        refuse(c);
        return;
    }
    if (size > outer_end - start) {
        c->r = c->encode ? -ENOSPC : -EBADMSG;
        return;
    }
    c->end = start + fixed_size;
    face_fixed(c, f);
    c->at = start + fixed_size; /* skips what a newer minor appended */
    c->end = start + size;
    face_arrays(c, f, landmarks, aus, zones);
    c->at = start + size;
    c->end = outer_end;
    if (!c->encode) {
        f->landmark_count = landmarks;
        f->au_count = aus;
        f->zone_count = zones;
    }
}

static void result(struct cursor *c, struct wire_result *m)
{
    uint16_t fixed_size = RESULT_FIXED_SIZE;
    size_t start = c->at;

    u16(c, &fixed_size);
    u16(c, &m->face_count);
    u32(c, &m->fields);
    u64(c, &m->seq);
    u64(c, &m->capture_ns);
    u64(c, &m->publish_ns);
    u32(c, &m->dropped_since_last);
    u32(c, &m->camera_id);
    u16(c, &m->frame_width_px);
    u16(c, &m->frame_height_px);
    u8(c, &m->device_kind);
    reserved(c, 3);
    text(c, m->device, sizeof(m->device));
    if (c->r < 0)
        return;
    if (m->face_count > WIRE_FACES_MAX || fixed_size < RESULT_FIXED_SIZE || fixed_size > c->end - start) {
        refuse(c);
        return;
    }
    c->at = start + fixed_size;
    for (unsigned i = 0; i < m->face_count && c->r == 0; i++)
        face(c, &m->face[i], m->fields);
}

/* The payload of msg->type. false if the type is unknown. */
static bool payload(struct cursor *c, struct wire_msg *msg)
{
    switch (msg->type) {
    case WIRE_HELLO:
        return hello(c, &msg->hello), true;
    case WIRE_WELCOME:
        return welcome(c, &msg->welcome), true;
    case WIRE_SUBSCRIBE:
    case WIRE_SUBSCRIBED:
        return subscribe(c, &msg->subscribe), true;
    case WIRE_UNSUBSCRIBE:
        return u32(c, &msg->unsubscribe.topics), true;
    case WIRE_RESULT:
        return result(c, &msg->result), true;
    case WIRE_GET_STATUS:
        return u16(c, &msg->get_status.encoding), reserved(c, 2), true;
    case WIRE_STATUS:
        return status(c, &msg->status), true;
    case WIRE_ERROR:
        return error(c, &msg->error), true;
    case WIRE_PING:
        return u64(c, &msg->ping.cookie), true;
    case WIRE_PONG:
        return u64(c, &msg->pong.cookie), u64(c, &msg->pong.time_ns), true;
    case WIRE_BYE:
        return bye(c, &msg->bye), true;
    case WIRE_HEARTBEAT:
        return heartbeat(c, &msg->heartbeat), true;
    case WIRE_WSTATUS:
        return wstatus(c, &msg->wstatus), true;
    case WIRE_CONTROL:
        return control(c, &msg->control), true;
    default:
        return false;
    }
}

unsigned wire_type_senders(uint16_t type)
{
    switch (type) {
    case WIRE_HELLO:
    case WIRE_SUBSCRIBE:
    case WIRE_UNSUBSCRIBE:
    case WIRE_GET_STATUS:
    case WIRE_PING:
        return WIRE_FROM_CLIENT;
    case WIRE_WELCOME:
    case WIRE_SUBSCRIBED:
    case WIRE_STATUS:
    case WIRE_ERROR:
    case WIRE_PONG:
        return WIRE_FROM_SERVER;
    case WIRE_RESULT:
        return WIRE_FROM_SERVER | WIRE_FROM_WORKER;
    case WIRE_BYE:
        return WIRE_FROM_CLIENT | WIRE_FROM_SERVER;
    case WIRE_HEARTBEAT:
    case WIRE_WSTATUS:
        return WIRE_FROM_WORKER;
    case WIRE_CONTROL:
        return WIRE_FROM_GAZED;
    default:
        return 0;
    }
}

static bool is_json(uint16_t type, uint16_t flags)
{
    return (flags & WIRE_FLAG_JSON) && (type == WIRE_RESULT || type == WIRE_STATUS);
}

int wire_peek(const uint8_t *buf, size_t len, size_t max, struct wire_header *ret_header)
{
    struct wire_header h;

    if (len < WIRE_HEADER_SIZE)
        return 0;
    h = (struct wire_header){.size = (uint32_t)load(buf, 4),
                             .type = (uint16_t)load(buf + 4, 2),
                             .flags = (uint16_t)load(buf + 6, 2),
                             .serial = (uint32_t)load(buf + 8, 4)};
    if (h.size < WIRE_HEADER_SIZE || load(buf + 12, 4) != 0)
        return -EBADMSG;
    if (h.size > max)
        return -EMSGSIZE;
    *ret_header = h;
    return len >= h.size;
}

int wire_decode(const uint8_t *frame, size_t size, struct wire_msg *ret_msg)
{
    struct cursor c = {.buf = (uint8_t *)frame, .at = WIRE_HEADER_SIZE, .end = size};
    struct wire_header h;

    if (wire_peek(frame, size, WIRE_OUT_MAX, &h) != 1 || h.size != size)
        return -EBADMSG;
    ret_msg->type = h.type;
    ret_msg->flags = h.flags;
    ret_msg->serial = h.serial;
    if (is_json(h.type, h.flags)) {
        ret_msg->json.text = (const char *)frame + WIRE_HEADER_SIZE;
        ret_msg->json.size = size - WIRE_HEADER_SIZE;
        return ret_msg->json.size < 2 || frame[size - 1] != '\n' ? -EBADMSG : 0;
    }
    if (!payload(&c, ret_msg))
        return -EOPNOTSUPP;
    return c.r;
}

static int encode_json(uint8_t *buf, size_t cap, const struct wire_msg *msg, size_t *ret_len)
{
    if (msg->type == WIRE_RESULT)
        return wire_json_result((char *)buf, cap, &msg->result, ret_len);
    return wire_json_status((char *)buf, cap, &msg->status, ret_len);
}

int wire_encode(uint8_t *buf, size_t cap, const struct wire_msg *msg, size_t *ret_size)
{
    struct cursor c = {.buf = buf, .at = WIRE_HEADER_SIZE, .end = cap, .encode = true};
    size_t len;

    if (cap < WIRE_HEADER_SIZE)
        return -ENOSPC;
    if (is_json(msg->type, msg->flags)) {
        c.r = encode_json(buf + WIRE_HEADER_SIZE, cap - WIRE_HEADER_SIZE, msg, &len);
        if (c.r == 0)
            c.at += len;
    } else if (!payload(&c, (struct wire_msg *)msg)) { /* only read from when encoding */
        return -EOPNOTSUPP;
    }
    if (c.r == 0 && c.at > WIRE_OUT_MAX)
        return -ENOSPC;
    if (c.r < 0)
        return c.r;
    store(buf, 4, c.at);
    store(buf + 4, 2, msg->type);
    store(buf + 6, 2, msg->flags);
    store(buf + 8, 4, msg->serial);
    store(buf + 12, 4, 0);
    *ret_size = c.at;
    return 0;
}

int wire_check_subscribe(const struct wire_subscribe *s)
{
    return s->topics == 0 || s->rate_mhz > WIRE_RATE_MAX_MHZ || s->encoding > WIRE_JSON ? -EINVAL : 0;
}

/* JSON results end in `,"t_publish_ns":<20 columns>,"dropped":<10 columns>}` and a newline. */
#define JSON_DROPPED_END 2u
#define JSON_PUBLISH_END (JSON_DROPPED_END + 10u + sizeof(",\"dropped\":") - 1)
#define JSON_TAIL_SIZE   (JSON_PUBLISH_END + 20u + sizeof(",\"t_publish_ns\":") - 1)

/* Writes v right-aligned, padded with blanks, into `columns` columns that end at `end`. */
static void put_columns(uint8_t *end, unsigned columns, uint64_t v)
{
    for (unsigned i = 1; i <= columns; i++, v /= 10)
        end[-(ptrdiff_t)i] = v || i == 1 ? (uint8_t)('0' + v % 10) : ' ';
}

/* 1 for a binary RESULT, 2 for a JSON one, else -EINVAL. */
static int result_kind(const uint8_t *frame, size_t size)
{
    struct wire_header h;

    if (wire_peek(frame, size, WIRE_OUT_MAX, &h) != 1 || h.size != size || h.type != WIRE_RESULT)
        return -EINVAL;
    if (is_json(h.type, h.flags))
        return size < WIRE_HEADER_SIZE + JSON_TAIL_SIZE ||
                       memcmp(frame + size - JSON_TAIL_SIZE, ",\"t_publish_ns\":", 16) != 0 || frame[size - 1] != '\n'
                   ? -EINVAL
                   : 2;
    return size < WIRE_HEADER_SIZE + RESULT_FIXED_SIZE ? -EINVAL : 1;
}

int wire_patch_dropped(uint8_t *frame, size_t size, uint32_t dropped_since_last)
{
    int r = result_kind(frame, size);

    if (r < 0)
        return r;
    if (r == 1)
        store(frame + RESULT_DROPPED_AT, 4, dropped_since_last);
    else
        put_columns(frame + size - JSON_DROPPED_END, 10, dropped_since_last);
    return 0;
}

int wire_patch_publish(uint8_t *frame, size_t size, uint64_t publish_ns)
{
    int r = result_kind(frame, size);

    if (r < 0)
        return r;
    if (r == 1)
        store(frame + RESULT_PUBLISH_AT, 8, publish_ns);
    else
        put_columns(frame + size - JSON_PUBLISH_END, 20, publish_ns);
    return 0;
}
