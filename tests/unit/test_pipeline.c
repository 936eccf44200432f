// The worker's pipeline on pictures in which a white spot is a face (tests/tools/stand_in.c): ids, births, searches,
// the filter, and what becomes of it on the wire; signs of life while a driver works.
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/load_beat.h"
#include "daemon/pipeline.h"
#include "daemon/worker_record.h"
#include "models/model_file.h"

#define WIDTH    256
#define HEIGHT   192
#define FRAME_NS INT64_C(33333333)

static npu_ctx *ctx;
static npu_dev *dev;
static struct face_reader *reader;
static struct image picture;
static const struct pipeline_settings settings = {
    .faces_max = 4, .hfov_deg = 60, .birth_hits = 2, .filter = ONE_EURO_GAZE};

static int set_up(void **state)
{
    char folder[] = "/tmp/test_pipeline_XXXXXX", command[1024], message[MODEL_MESSAGE_SIZE];
    const char *build = getenv("O");
    if (!mkdtemp(folder))
        return -1;
    snprintf(command, sizeof(command), "'%s/bin/stand-in' weights %s", build ? build : "build", folder);
    int r = system(command) == 0 ? 0 : -1;
    if (r == 0)
        r = npu_ctx_new("", &ctx);
    if (r >= 0)
        r = npu_dev_open(ctx, "ref", &dev);
    if (r >= 0)
        r = face_reader_open(dev, folder, NULL, &reader, message);
    if (r >= 0)
        r = image_alloc(WIDTH, HEIGHT, 1, &picture);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command) == 0 ? r : -1;
}

static int tear_down(void **state)
{
    image_free(&picture);
    face_reader_close(reader);
    npu_dev_close(dev);
    npu_ctx_free(ctx);
    return 0;
}

// White squares round (x[i], 100).
static const struct image *spots(int count, const int *x)
{
    for (int row = 0; row < HEIGHT; row++)
        memset(picture.data + (size_t)row * (size_t)picture.stride, 20, WIDTH);
    for (int i = 0; i < count; i++)
        for (int row = 82; row < 118; row++)
            memset(picture.data + (size_t)row * (size_t)picture.stride + x[i] - 18, 255, 36);
    return &picture;
}

static struct pipeline *open_pipeline(void)
{
    struct pipeline *p = NULL;
    assert_int_equal(pipeline_new(reader, &settings, &p), 0);
    return p;
}

static void bad_settings_are_refused(void **state)
{
    struct pipeline *p = NULL;
    struct pipeline_settings bad = settings;
    bad.faces_max = FACE_READER_MAX_FACES + 1;
    assert_int_equal(pipeline_new(reader, &bad, &p), -EINVAL);
    bad = settings;
    bad.hfov_deg = 180;
    assert_int_equal(pipeline_new(reader, &bad, &p), -EINVAL);
    bad = settings;
    bad.birth_hits = 0;
    assert_int_equal(pipeline_new(reader, &bad, &p), -EINVAL);
    assert_null(p);
}

static void a_face_gets_its_id_in_its_second_frame(void **state)
{
    struct pipeline *p = open_pipeline();
    const struct pipeline_face *f;
    const int x[] = {132};
    assert_int_equal(pipeline_frame(p, spots(1, x), 0, &f), 0);
    for (int i = 1; i < 5; i++) {
        assert_int_equal(pipeline_frame(p, spots(1, x), i * FRAME_NS, &f), 1);
        assert_int_equal(f[0].id, 1);
        assert_true(f[0].quality > 0);
        assert_true(f[0].reading->has_gaze);
    }
    pipeline_free(p);
}

// A second face comes in: it is found by a search, at most PIPELINE_SEARCH_PERIOD frames later, and born a frame later.
static void a_new_face_is_found_while_one_is_followed(void **state)
{
    struct pipeline *p = open_pipeline();
    const struct pipeline_face *f;
    const int x[] = {68, 196};
    int64_t t = 0;
    int count = 0, frames = 0;
    for (int i = 0; i < 2; i++, t += FRAME_NS)
        count = pipeline_frame(p, spots(1, x), t, &f);
    assert_int_equal(count, 1);
    for (; count == 1 && frames < 50; frames++, t += FRAME_NS)
        count = pipeline_frame(p, spots(2, x), t, &f);
    assert_int_equal(count, 2);
    assert_true(frames > 1 && frames <= PIPELINE_SEARCH_PERIOD + 1);
    assert_int_equal(f[0].id, 1);
    assert_int_equal(f[1].id, 2);
    pipeline_free(p);
}

static void ids_are_never_used_twice(void **state)
{
    struct pipeline *p = open_pipeline();
    const struct pipeline_face *f;
    const int x[] = {132};
    int64_t t = 0;
    for (uint32_t id = 1; id <= 3; id++) {
        int count = 0;
        for (int i = 0; i < 2; i++, t += FRAME_NS)
            count = pipeline_frame(p, spots(1, x), t, &f);
        assert_int_equal(count, 1);
        assert_int_equal(f[0].id, id);
        if (id == 1) { // gone for more than a second
            for (int i = 0; i < 3; i++, t += 12 * FRAME_NS)
                assert_int_equal(pipeline_frame(p, spots(0, NULL), t, &f), 0);
        } else { // the camera was closed
            pipeline_reset(p);
        }
    }
    pipeline_free(p);
}

static void a_face_on_the_wire(void **state)
{
    struct pipeline *p = open_pipeline();
    const struct pipeline_face *f;
    static struct wire_result result;
    const int x[] = {132};
    int count = 0;
    for (int i = 0; i < 2; i++)
        count = pipeline_frame(p, spots(1, x), i * FRAME_NS, &f);
    worker_record_faces(f, count, &result);
    assert_int_equal(result.face_count, 1);
    const struct wire_face *w = &result.face[0];
    assert_int_equal(w->id, 1);
    assert_int_equal(w->flags, WIRE_FACE_GAZE | WIRE_FACE_HEAD | WIRE_FACE_BLINK);
    assert_float_equal(w->box_px[0], 104, 1);
    assert_float_equal(w->box_px[2], 80, 1);
    assert_float_equal(w->yaw_deg, w->raw_yaw_deg, 0.01); // at rest the filter changes nothing
    assert_float_equal(w->norm_yaw_deg, 0, 1.5);
    assert_float_equal(w->norm_pitch_deg, -5.73, 1.5);
    assert_true(w->blink_left > 0.8f && w->blink_right < 0.2f);
    assert_int_equal(w->landmark_count, FACE_POINTS);

    // What the protocol does not allow stays here, the rest goes out.
    struct face_reading wild = *f[0].reading, sound = *f[0].reading;
    wild.landmarks.points[5].x = NAN;
    struct pipeline_face two[2] = {f[0], f[0]};
    two[0].reading = &wild;
    two[1].reading = &sound;
    two[1].id = 9;
    worker_record_faces(two, 2, &result);
    assert_int_equal(result.face_count, 1);
    assert_int_equal(result.face[0].id, 9);
    sound.has_gaze = false;
    worker_record_faces(&two[1], 1, &result);
    assert_int_equal(result.face[0].flags, WIRE_FACE_HEAD | WIRE_FACE_BLINK);
    pipeline_free(p);
}

static void count_beat(void *userdata)
{
    atomic_fetch_add((atomic_int *)userdata, 1);
}

static int64_t clock_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

// It beats while the process works and is silent while it sleeps. How long three beats take depends on what share of a
// processor the process gets; none come faster than the period, or without work.
static void load_beats_follow_work(void **state)
{
    enum { LIMIT_S = 100 };
    struct load_beat b;
    atomic_int working = 0, asleep = 0;
    int64_t start_ns = clock_ns(CLOCK_MONOTONIC), ns = 0;
    assert_int_equal(load_beat_start(&b, count_beat, &working), 0);
    for (volatile unsigned spin = 0; atomic_load(&working) < 3 && ns < LIMIT_S * INT64_C(1000000000); spin++)
        ns = clock_ns(CLOCK_MONOTONIC) - start_ns;
    load_beat_stop(&b);
    ns = clock_ns(CLOCK_MONOTONIC) - start_ns;
    assert_true(working >= 3);
    assert_true((working - 1) * LOAD_BEAT_PERIOD_NS <= ns); // the first counts what was done before
    assert_true((working - 1) * LOAD_BEAT_WORK_NS <= clock_ns(CLOCK_PROCESS_CPUTIME_ID));
    assert_int_equal(load_beat_start(&b, count_beat, &asleep), 0);
    usleep(5 * LOAD_BEAT_PERIOD_NS / 1000);
    load_beat_stop(&b);
    assert_true(asleep <= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_settings_are_refused),
        cmocka_unit_test(a_face_gets_its_id_in_its_second_frame),
        cmocka_unit_test(a_new_face_is_found_while_one_is_followed),
        cmocka_unit_test(ids_are_never_used_twice),
        cmocka_unit_test(a_face_on_the_wire),
        cmocka_unit_test(load_beats_follow_work),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
