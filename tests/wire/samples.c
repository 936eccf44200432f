/* The messages behind the golden bytes. Values are exact in binary, so that equality can be tested. */
#include "tests/wire/samples.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static void hello(struct wire_msg *m)
{
    m->type = WIRE_HELLO;
    m->serial = 1;
    m->hello = (struct wire_hello){.major = 1, .minor = 0, .client = "example"};
}

static void welcome(struct wire_msg *m)
{
    m->type = WIRE_WELCOME;
    m->serial = 1;
    m->welcome = (struct wire_welcome){.major = 1,
                                       .minor = 0,
                                       .in_max = WIRE_IN_MAX,
                                       .out_max = WIRE_OUT_MAX,
                                       .faces_max = WIRE_FACES_MAX,
                                       .requests_hz = 20,
                                       .topics = WIRE_TOPICS_ALL,
                                       .fields = WIRE_FIELDS_ALL,
                                       .server = "gazed",
                                       .version = "0.1.0"};
}

static void subscribe(struct wire_msg *m)
{
    m->type = WIRE_SUBSCRIBE;
    m->serial = 2;
    m->subscribe = (struct wire_subscribe){.topics = WIRE_TOPICS_ALL,
                                           .fields = WIRE_FIELD_LANDMARKS | WIRE_FIELD_AUS,
                                           .rate_mhz = 15000,
                                           .encoding = WIRE_JSON};
}

static void subscribed(struct wire_msg *m)
{
    m->type = WIRE_SUBSCRIBED;
    m->serial = 2;
    m->subscribe = (struct wire_subscribe){.topics = WIRE_TOPIC_RESULTS, .rate_mhz = 15000};
}

static void unsubscribe(struct wire_msg *m)
{
    m->type = WIRE_UNSUBSCRIBE;
    m->serial = 3;
    m->unsubscribe.topics = WIRE_TOPIC_STATUS;
}

static void get_status(struct wire_msg *m)
{
    m->type = WIRE_GET_STATUS;
    m->serial = 4;
    m->get_status.encoding = WIRE_JSON;
}

static void status(struct wire_msg *m)
{
    m->type = WIRE_STATUS;
    m->serial = 4;
    m->status = (struct wire_status){.state = WIRE_DEGRADED,
                                     .device_kind = WIRE_DEVICE_CPU,
                                     .fps_mhz = 29970,
                                     .frame_width_px = 1280,
                                     .frame_height_px = 720,
                                     .worker_pid = 4242,
                                     .worker_restarts = 2,
                                     .clients = 3,
                                     .frames = 5000000000ull,
                                     .dropped = 17,
                                     .uptime_ns = 3600000000000ull,
                                     .latency_p50_us = 21000,
                                     .latency_p99_us = 38000,
                                     .source = "v4l2:/dev/video0",
                                     .format = "MJPG",
                                     .device = "cpu: \"Example\" processor",
                                     .tier = "float16 vectors",
                                     .models = "face_finder,landmarks,gaze_vit",
                                     .text = "läuft auf einem langsameren Gerät",
                                     .why = "-EACCES: not in group render"};
}

static void status_json(struct wire_msg *m)
{
    status(m);
    m->flags = WIRE_FLAG_JSON;
}

static void error(struct wire_msg *m)
{
    m->type = WIRE_ERROR;
    m->serial = 5;
    m->error = (struct wire_error){.code = WIRE_E_INVALID, .type = WIRE_SUBSCRIBE, .text = "rate above 1000 Hz"};
}

static void ping(struct wire_msg *m)
{
    m->type = WIRE_PING;
    m->serial = 6;
    m->ping.cookie = 0x1122334455667788ull;
}

static void pong(struct wire_msg *m)
{
    m->type = WIRE_PONG;
    m->serial = 6;
    m->pong = (struct wire_pong){.cookie = 0x1122334455667788ull, .time_ns = 123456789012345ull};
}

static void bye(struct wire_msg *m)
{
    m->type = WIRE_BYE;
    m->bye = (struct wire_bye){.reason = WIRE_E_SHUTDOWN, .text = "the service stops"};
}

static void result_empty(struct wire_msg *m)
{
    m->type = WIRE_RESULT;
    m->result = (struct wire_result){.seq = 1,
                                     .capture_ns = 1000000000ull,
                                     .publish_ns = 1020000000ull,
                                     .dropped_since_last = 3,
                                     .camera_id = 1,
                                     .frame_width_px = 640,
                                     .frame_height_px = 480,
                                     .device_kind = WIRE_DEVICE_REFERENCE,
                                     .device = "reference"};
}

/* `k` shifts the values, so that no two faces are equal. */
static void fill_face(struct wire_face *f, unsigned k, unsigned landmarks, unsigned aus, unsigned zones)
{
    float d = (float)k;

    *f = (struct wire_face){.id = 7 + k,
                            .flags = WIRE_FACE_GAZE | WIRE_FACE_HEAD | WIRE_FACE_BLINK | WIRE_FACE_SCREEN,
                            .score = 0.96875f,
                            .box_px = {320.5f + d, 180.25f, 200, 220},
                            .origin_mm = {-12.5f, 30, 612.75f + d},
                            .gaze = {-0.25f, 0.125f, -0.9609375f},
                            .yaw_deg = 14.5f,
                            .pitch_deg = -7.25f,
                            .raw_yaw_deg = 15.125f,
                            .raw_pitch_deg = -7.5f,
                            .norm_yaw_deg = 10,
                            .norm_pitch_deg = -5.5f,
                            .sigma_deg = 3.25f,
                            .head_yaw_deg = 4.5f,
                            .head_pitch_deg = -1.75f,
                            .head_roll_deg = 0.625f,
                            .blink_left = 0.125f,
                            .blink_right = 0.0625f,
                            .quality = 0.875f,
                            .screen = {0.25f, 0.75f},
                            .landmark_count = (uint16_t)landmarks,
                            .au_count = (uint8_t)aus,
                            .zone_count = (uint8_t)zones};
    for (unsigned i = 0; i < landmarks; i++) {
        f->landmark_px[i][0] = f->box_px[0] + 2.125f * (float)i;
        f->landmark_px[i][1] = f->box_px[1] - 1 + 2.5f * (float)i;
    }
    for (unsigned i = 0; i < aus; i++)
        f->au[i] = (struct wire_au){.au = (uint16_t)(i + 1), .side = (uint8_t)(i % 3), .intensity = 0.125f * (float)i};
    for (unsigned i = 0; i < zones; i++)
        f->zone[i] = (struct wire_zone){.id = 100 + i, .dwell_ms = 250 * i};
}

static void result_one(struct wire_msg *m)
{
    m->type = WIRE_RESULT;
    m->result = (struct wire_result){.fields = WIRE_FIELDS_ALL,
                                     .seq = 5000000001ull,
                                     .capture_ns = 7200123456789ull,
                                     .publish_ns = 7200144000111ull,
                                     .dropped_since_last = 2,
                                     .camera_id = 1,
                                     .frame_width_px = 1280,
                                     .frame_height_px = 720,
                                     .device_kind = WIRE_DEVICE_CPU,
                                     .device = "pocl-znver3",
                                     .face_count = 1};
    fill_face(&m->result.face[0], 0, WIRE_LANDMARKS_MAX, 2, 1);
}

static void result_plain(struct wire_msg *m)
{
    result_one(m);
    m->result.fields = 0;
    fill_face(&m->result.face[0], 0, 0, 0, 0);
    m->result.face[0].flags |= WIRE_FACE_CALIBRATED;
}

static void result_json(struct wire_msg *m)
{
    result_one(m);
    m->flags = WIRE_FLAG_JSON;
    m->result.face_count = 2;
    fill_face(&m->result.face[1], 1, 0, 3, 0);
    m->result.face[1].flags = 0;
}

static void result_max(struct wire_msg *m)
{
    result_one(m);
    m->result.face_count = WIRE_FACES_MAX;
    for (unsigned i = 0; i < WIRE_FACES_MAX; i++)
        fill_face(&m->result.face[i], i, WIRE_LANDMARKS_MAX, WIRE_AUS_MAX, WIRE_ZONES_MAX);
}

static void heartbeat(struct wire_msg *m)
{
    m->type = WIRE_HEARTBEAT;
    m->heartbeat =
        (struct wire_heartbeat){.time_ns = 77000000000ull, .frames = 2310, .dropped = 4, .state = WIRE_RUNNING};
}

static void wstatus(struct wire_msg *m)
{
    m->type = WIRE_WSTATUS;
    m->wstatus = (struct wire_wstatus){.state = WIRE_WAITING_FOR_CAMERA,
                                       .device_kind = WIRE_DEVICE_GPU,
                                       .fps_mhz = 30000,
                                       .frame_width_px = 1280,
                                       .frame_height_px = 720,
                                       .source = "v4l2:/dev/video0",
                                       .format = "YUYV",
                                       .device = "example gpu",
                                       .tier = "integer dot product",
                                       .models = "face_finder",
                                       .text = "waiting for camera: /dev/video0 is busy",
                                       .why = "no accel node"};
}

static void control(struct wire_msg *m)
{
    m->type = WIRE_CONTROL;
    m->control = (struct wire_control){.command = WIRE_CONTROL_CAMERA, .value = 1};
}

const struct wire_sample wire_samples[] = {
    {"hello", hello},
    {"welcome", welcome},
    {"subscribe", subscribe},
    {"subscribed", subscribed},
    {"unsubscribe", unsubscribe},
    {"get_status", get_status},
    {"status", status},
    {"status_json", status_json},
    {"error", error},
    {"ping", ping},
    {"pong", pong},
    {"bye", bye},
    {"result_empty", result_empty},
    {"result_one", result_one},
    {"result_plain", result_plain},
    {"result_json", result_json},
    {"result_max", result_max},
    {"heartbeat", heartbeat},
    {"wstatus", wstatus},
    {"control", control},
};
const unsigned wire_sample_count = sizeof(wire_samples) / sizeof(wire_samples[0]);

void wire_sample_get(const char *name, struct wire_msg *msg)
{
    memset(msg, 0, sizeof(*msg));
    for (unsigned i = 0; i < wire_sample_count; i++)
        if (strcmp(wire_samples[i].name, name) == 0) {
            wire_samples[i].fill(msg);
            return;
        }
    assert(!"a sample of that name");
}

size_t wire_read_file(const char *path, uint8_t *buf, size_t cap)
{
    FILE *f = fopen(path, "rb");
    size_t size;

    assert(f);
    size = fread(buf, 1, cap, f);
    assert(feof(f) || size < cap || fgetc(f) == EOF);
    fclose(f);
    return size;
}
