/* libgaze against a scripted server: every function, and the ways in which a server can fail. */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "client/gaze.h"
#include "tests/wire/fake_server.h"

struct seen {
    struct gaze *gaze;
    unsigned results, statuses, jsons, errors, losses, faces;
    uint64_t seq;
    size_t json_len;
    int code, loss;
    bool close_inside, call_inside;
    struct gaze_face face; /* the last face of the last result that had one */
    struct gaze_point last_point;
    struct gaze_au last_au;
    struct gaze_zone last_zone;
};

static void on_result(void *userdata, const struct gaze_result *r)
{
    struct seen *s = userdata;

    s->results++;
    s->seq = r->seq;
    s->faces = r->face_count;
    assert_int_equal(r->size, sizeof(*r));
    if (r->face_count) {
        s->face = *r->faces[r->face_count - 1];
        if (s->face.landmark_count)
            s->last_point = s->face.landmarks[s->face.landmark_count - 1];
        if (s->face.au_count)
            s->last_au = s->face.aus[s->face.au_count - 1];
        if (s->face.zone_count)
            s->last_zone = s->face.zones[s->face.zone_count - 1];
    }
    if (s->call_inside) {
        struct gaze_status status = {.size = sizeof(status)};

        assert_int_equal(gaze_dispatch(s->gaze, 0), -EBUSY);
        assert_int_equal(gaze_reconnect(s->gaze), -EBUSY);
        assert_int_equal(gaze_get_status(s->gaze, 0, &status), -EBUSY);
        assert_int_equal(gaze_unsubscribe(s->gaze, GAZE_TOPIC_STATUS), 0);
        assert_int_equal(r->seq, s->seq); /* the result is still whole */
        assert_string_equal(r->device, "pocl-znver3");
    }
    if (s->close_inside)
        gaze_close(s->gaze);
}

static void on_status(void *userdata, const struct gaze_status *status)
{
    ((struct seen *)userdata)->statuses++;
    assert_int_equal(status->worker_pid, 4242);
}

static void on_json(void *userdata, const char *text, size_t len)
{
    struct seen *s = userdata;

    s->jsons++;
    s->json_len = len;
    assert_int_equal(strlen(text), len);
    assert_int_equal(text[len - 1], '\n');
}

static void on_error(void *userdata, int code, const char *text)
{
    ((struct seen *)userdata)->errors++;
    ((struct seen *)userdata)->code = code;
    assert_true(strlen(text) > 0);
}

static void on_disconnected(void *userdata, int r)
{
    ((struct seen *)userdata)->losses++;
    ((struct seen *)userdata)->loss = r;
}

static const struct gaze_listener listener = {.size = sizeof(listener),
                                              .result = on_result,
                                              .status = on_status,
                                              .json = on_json,
                                              .error = on_error,
                                              .disconnected = on_disconnected};

static const struct gaze_subscription everything = {
    .size = sizeof(everything), .topics = GAZE_TOPIC_RESULTS | GAZE_TOPIC_STATUS, .fields = 7, .rate_hz = 12.5f};

static void open_ok(struct fake_server *server, struct seen *seen)
{
    fake_server_start(server);
    assert_int_equal(gaze_open(server->path, "test_libgaze", &listener, seen, &seen->gaze), 0);
}

static void dispatch_until(struct seen *s, const unsigned *counter, unsigned want)
{
    time_t end = time(NULL) + 10;

    while (*counter < want && time(NULL) < end)
        assert_true(gaze_dispatch(s->gaze, 50) >= 0);
    assert_int_equal(*counter, want);
}

static unsigned open_files(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void session(unsigned slice)
{
    struct fake_server server = {.push = {"result_one", "status", "result_max", "result_plain", "result_empty"},
                                 .slice = slice};
    struct seen seen = {0};

    open_ok(&server, &seen);
    assert_string_equal(gaze_server_version(seen.gaze), "gazed 0.1.0");
    assert_true(gaze_get_fd(seen.gaze) >= 0);
    assert_int_equal(gaze_get_events(seen.gaze), POLLIN);
    assert_int_equal(gaze_subscribe(seen.gaze, &everything), 0);
    dispatch_until(&seen, &seen.results, 4);
    assert_int_equal(seen.statuses, 1);
    assert_int_equal(seen.faces, 0);
    assert_int_equal(seen.seq, 1);
    assert_int_equal(seen.face.landmark_count, 0); /* of result_plain */
    assert_int_equal(seen.face.flags & GAZE_FACE_CALIBRATED, GAZE_FACE_CALIBRATED);
    assert_int_equal(gaze_unsubscribe(seen.gaze, GAZE_TOPIC_STATUS), 0);
    gaze_close(seen.gaze);
    fake_server_stop(&server);
    assert_int_equal(server.last_subscribe.topics, WIRE_TOPICS_ALL);
    assert_int_equal(server.last_subscribe.fields, WIRE_FIELDS_ALL);
    assert_int_equal(server.last_subscribe.rate_mhz, 12500);
    assert_int_equal(seen.errors + seen.losses + seen.jsons, 0);
}

static void test_session(void **state)
{
    session(0);
}

static void test_session_in_pieces(void **state)
{
    session(5);
    session(4096);
}

static void test_values(void **state)
{
    struct fake_server server = {.push = {"result_one"}};
    struct seen s = {.call_inside = true};

    open_ok(&server, &s);
    assert_int_equal(gaze_subscribe(s.gaze, &everything), 0);
    dispatch_until(&s, &s.results, 1);
    assert_int_equal(s.seq, 5000000001ull);
    assert_int_equal(s.face.size, sizeof(s.face));
    assert_int_equal(s.face.id, 7);
    assert_true(s.face.score == 0.96875f && s.face.box_px[0] == 320.5f && s.face.box_px[3] == 220);
    assert_true(s.face.origin_mm[2] == 612.75f && s.face.gaze[2] == -0.9609375f);
    assert_true(s.face.yaw_deg == 14.5f && s.face.pitch_deg == -7.25f && s.face.sigma_deg == 3.25f);
    assert_true(s.face.raw_yaw_deg == 15.125f && s.face.raw_pitch_deg == -7.5f);
    assert_true(s.face.norm_yaw_deg == 10 && s.face.norm_pitch_deg == -5.5f);
    assert_true(s.face.head_yaw_deg == 4.5f && s.face.head_pitch_deg == -1.75f && s.face.head_roll_deg == 0.625f);
    assert_true(s.face.blink_left == 0.125f && s.face.blink_right == 0.0625f && s.face.quality == 0.875f);
    assert_true(s.face.screen[0] == 0.25f && s.face.screen[1] == 0.75f);
    assert_int_equal(s.face.landmark_count, 78);
    assert_true(s.last_point.x_px == 320.5f + 77 * 2.125f && s.last_point.y_px == 179.25f + 77 * 2.5f);
    assert_int_equal(s.last_au.au, 2);
    assert_int_equal(s.last_au.side, 1);
    assert_true(s.last_au.intensity == 0.125f);
    assert_int_equal(s.last_zone.id, 100);
    gaze_close(s.gaze);
    fake_server_stop(&server);
}

static void test_status(void **state)
{
    struct fake_server server = {.push = {"result_one"}};
    struct seen seen = {0};
    struct {
        struct gaze_status status;
        char guard;
    } s = {.status = {.size = sizeof(s.status)}, .guard = 77};
    char json[4096];

    open_ok(&server, &seen);
    assert_int_equal(gaze_subscribe(seen.gaze, &everything), 0);
    assert_int_equal(gaze_get_status(seen.gaze, 5000, &s.status), 0);
    assert_int_equal(seen.results, 1); /* it came meanwhile */
    assert_int_equal(seen.statuses, 0);
    assert_int_equal(s.status.state, GAZE_DEGRADED);
    assert_int_equal(s.status.uptime_ns, 3600000000000ll);
    assert_string_equal(s.status.source, "v4l2:/dev/video0");
    assert_string_equal(s.status.why, "-EACCES: not in group render");
    assert_true(s.status.fps > 29.96f && s.status.fps < 29.98f);
    assert_int_equal(s.guard, 77);

    memset(&s.status, 0x55, sizeof(s.status)); /* an old caller, whose struct ended after `state` */
    s.status.size = 8;
    assert_int_equal(gaze_get_status(seen.gaze, -1, &s.status), 0);
    assert_int_equal(s.status.size, 8);
    assert_int_equal(s.status.device_kind, 0x55555555);
    s.status.size = 3;
    assert_int_equal(gaze_get_status(seen.gaze, 5000, &s.status), -EINVAL);

    assert_int_equal(gaze_get_status_json(seen.gaze, 5000, json, sizeof(json)), 0);
    assert_non_null(strstr(json, "\"state\":\"degraded\""));
    assert_int_equal(gaze_get_status_json(seen.gaze, 5000, json, strlen(json) + 1), 0);
    assert_int_equal(gaze_get_status_json(seen.gaze, 5000, json, strlen(json)), -ENOSPC);
    assert_string_equal(gaze_state_name(GAZE_WAITING_FOR_CAMERA), "waiting-for-camera");
    assert_string_equal(gaze_state_name(0x10002), "unknown");
    assert_string_equal(gaze_device_kind_name(1), "npu");
    gaze_close(seen.gaze);
    fake_server_stop(&server);
}

static void test_json(void **state)
{
    struct fake_server server = {.push = {"result_json", "status_json", "result_json"}};
    struct gaze_subscription s = everything;
    struct seen seen = {0};

    s.encoding = GAZE_JSON;
    open_ok(&server, &seen);
    assert_int_equal(gaze_subscribe(seen.gaze, &s), 0);
    dispatch_until(&seen, &seen.jsons, 3);
    assert_int_equal(seen.results + seen.statuses, 0);
    gaze_close(seen.gaze);
    fake_server_stop(&server);
    assert_int_equal(server.last_subscribe.encoding, WIRE_JSON);
}

/* The largest frame there may be passes, one byte more ends the connection. */
static void test_frame_limit(void **state)
{
    static uint8_t raw[WIRE_OUT_MAX];
    struct fake_server server = {.raw = raw, .raw_size = sizeof(raw)};
    struct seen seen = {0};
    int r;

    memset(raw, 'x', sizeof(raw));
    memcpy(raw, (uint8_t[]){0, 0, 1, 0, WIRE_RESULT, 0, WIRE_FLAG_JSON, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 16);
    raw[sizeof(raw) - 1] = '\n';
    open_ok(&server, &seen);
    assert_int_equal(gaze_subscribe(seen.gaze, &everything), 0);
    dispatch_until(&seen, &seen.jsons, 1);
    assert_int_equal(seen.json_len, WIRE_OUT_MAX - WIRE_HEADER_SIZE);
    raw[0] = 1;
    assert_int_equal(gaze_subscribe(seen.gaze, &everything), 0);
    while ((r = gaze_dispatch(seen.gaze, 2000)) > 0)
        ;
    assert_int_equal(r, -EPROTO);
    assert_int_equal(seen.losses, 1);
    gaze_close(seen.gaze);
    fake_server_stop(&server);
}

static void test_garbage(void **state)
{
    static const char raw[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    struct fake_server server = {.push = {"result_one"}, .raw = (const uint8_t *)raw, .raw_size = sizeof(raw)};
    struct seen seen = {0};
    int r;

    open_ok(&server, &seen);
    assert_int_equal(gaze_subscribe(seen.gaze, &everything), 0);
    while ((r = gaze_dispatch(seen.gaze, 2000)) > 0)
        ;
    assert_int_equal(r, -EPROTO);
    assert_int_equal(seen.results, 1);
    assert_int_equal(seen.loss, -EPROTO);
    assert_int_equal(gaze_dispatch(seen.gaze, 0), -ENOTCONN);
    assert_int_equal(seen.losses, 1);
    gaze_close(seen.gaze);
    fake_server_stop(&server);
}

static void test_loss_and_reconnect(void **state)
{
    struct fake_server server = {.push = {"result_one"}, .close_after_push = true};
    struct gaze_status status = {.size = sizeof(status)};
    struct seen seen = {0};
    int r;

    open_ok(&server, &seen);
    assert_int_equal(gaze_subscribe(seen.gaze, &everything), 0);
    while ((r = gaze_dispatch(seen.gaze, 2000)) > 0)
        ;
    assert_int_equal(r, -ECONNRESET);
    assert_int_equal(seen.losses, 1);
    assert_int_equal(seen.errors, 1); /* the BYE's reason */
    assert_int_equal(seen.code, WIRE_E_SHUTDOWN);
    assert_int_equal(gaze_get_fd(seen.gaze), -1);
    assert_int_equal(gaze_subscribe(seen.gaze, &everything), -ENOTCONN);
    assert_int_equal(gaze_get_status(seen.gaze, 100, &status), -ENOTCONN);

    assert_int_equal(gaze_reconnect(seen.gaze), 0); /* subscribes again, unasked */
    while ((r = gaze_dispatch(seen.gaze, 2000)) > 0)
        ;
    assert_int_equal(r, -ECONNRESET);
    assert_int_equal(seen.results, 2);
    fake_server_stop(&server);
    assert_int_equal(server.connections, 2);
    assert_int_equal(server.subscribes, 2);
    assert_int_equal(gaze_reconnect(seen.gaze), -ENOENT);
    assert_int_equal(gaze_reconnect(seen.gaze), -ENOENT);
    gaze_close(seen.gaze);
}

static void test_close_inside(void **state)
{
    struct fake_server server = {.push = {"result_one", "result_one", "result_one"}};
    struct seen seen = {.close_inside = true};
    int r;

    open_ok(&server, &seen);
    assert_int_equal(gaze_subscribe(seen.gaze, &everything), 0);
    while ((r = gaze_dispatch(seen.gaze, 2000)) >= 0)
        ;
    assert_int_equal(r, -ECANCELED);
    assert_int_equal(seen.results, 1);
    assert_int_equal(seen.losses, 0);
    fake_server_stop(&server);
}

static void test_refused_subscription(void **state)
{
    struct fake_server server = {.subscribe_error = WIRE_E_INVALID};
    struct gaze_subscription s = everything;
    struct seen seen = {0};

    open_ok(&server, &seen);
    assert_int_equal(gaze_subscribe(seen.gaze, &s), 0);
    dispatch_until(&seen, &seen.errors, 1);
    assert_int_equal(seen.code, WIRE_E_INVALID);
    s.rate_hz = 1000;
    assert_int_equal(gaze_subscribe(seen.gaze, &s), 0);
    s.rate_hz = 1000.01f;
    assert_int_equal(gaze_subscribe(seen.gaze, &s), -EINVAL);
    s.rate_hz = -1;
    assert_int_equal(gaze_subscribe(seen.gaze, &s), -EINVAL);
    s = everything;
    s.encoding = 2;
    assert_int_equal(gaze_subscribe(seen.gaze, &s), -EINVAL);
    s = everything;
    s.topics = 0;
    assert_int_equal(gaze_subscribe(seen.gaze, &s), -EINVAL);
    s = everything;
    s.size = 8;
    assert_int_equal(gaze_subscribe(seen.gaze, &s), -EINVAL);
    gaze_close(seen.gaze);
    fake_server_stop(&server);
}

/* A server that reads nothing: requests queue up to the limit, nothing blocks. */
static void test_full_queue(void **state)
{
    struct fake_server server = {.deaf = true};
    struct gaze_status status = {.size = sizeof(status)};
    struct seen seen = {0};
    int r, count = 0;

    open_ok(&server, &seen);
    while ((r = gaze_subscribe(seen.gaze, &everything)) == 0 && count < 1000000)
        count++;
    assert_int_equal(r, -EAGAIN);
    assert_true(count > 1024 / 32);
    assert_int_equal(gaze_get_events(seen.gaze), POLLIN | POLLOUT);
    assert_int_equal(gaze_dispatch(seen.gaze, 0), 0);
    assert_int_equal(gaze_get_status(seen.gaze, 50, &status), -EAGAIN);
    gaze_close(seen.gaze);
    fake_server_stop(&server);
}

static void greeting_fails(struct fake_server *server, int want)
{
    struct gaze *gaze = (struct gaze *)0x1;

    fake_server_start(server);
    assert_int_equal(gaze_open(server->path, NULL, NULL, NULL, &gaze), want);
    assert_ptr_equal(gaze, (struct gaze *)0x1);
    fake_server_stop(server);
}

static void test_greeting_failures(void **state)
{
    char long_path[200];
    struct gaze *gaze;
    unsigned before = open_files();

    greeting_fails(&(struct fake_server){.greet_error = WIRE_E_TOO_MANY}, -EBUSY);
    greeting_fails(&(struct fake_server){.greet_error = WIRE_E_VERSION}, -EPROTONOSUPPORT);
    greeting_fails(&(struct fake_server){.greet_error = WIRE_E_SHUTDOWN}, -ECONNABORTED);
    greeting_fails(&(struct fake_server){.welcome_major = 2}, -EPROTONOSUPPORT);
    greeting_fails(&(struct fake_server){.silent = true}, -ETIMEDOUT);
    memset(long_path, 'x', sizeof(long_path));
    long_path[108] = 0;
    assert_int_equal(gaze_open(long_path, NULL, NULL, NULL, &gaze), -ENAMETOOLONG);
    long_path[107] = 0;
    assert_int_equal(gaze_open(long_path, NULL, NULL, NULL, &gaze), -ENOENT);
    assert_int_equal(gaze_open("/tmp/x", NULL, &(struct gaze_listener){.size = 1}, NULL, &gaze), -EINVAL);
    gaze_close(NULL);
    assert_int_equal(open_files(), before);
}

static void test_environment_and_time_out(void **state)
{
    struct fake_server server = {.deaf = true};
    struct gaze_status status = {.size = sizeof(status)};
    struct gaze *gaze;

    fake_server_start(&server);
    setenv("GAZED_SOCKET", server.path, 1);
    assert_int_equal(gaze_open(NULL, "a name of more than thirty-one bytes, with\nmore", NULL, NULL, &gaze), 0);
    unsetenv("GAZED_SOCKET");
    assert_int_equal(gaze_get_status(gaze, 50, &status), -ETIMEDOUT);
    assert_int_equal(gaze_dispatch(gaze, 10), 0);
    gaze_close(gaze);
    fake_server_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session),
        cmocka_unit_test(test_session_in_pieces),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_frame_limit),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_loss_and_reconnect),
        cmocka_unit_test(test_close_inside),
        cmocka_unit_test(test_refused_subscription),
        cmocka_unit_test(test_full_queue),
        cmocka_unit_test(test_greeting_failures),
        cmocka_unit_test(test_environment_and_time_out),
    };

    return cmocka_run_group_tests_name("libgaze", tests, NULL, NULL);
}
