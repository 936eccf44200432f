// Boxes, tracks, the One Euro filter and blinks: tables and random walks.
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vision/blink.h"
#include "vision/box.h"
#include "vision/one_euro.h"
#include "vision/track.h"

#define FRAME_NS 33000000ll

static double uniform(double low, double high)
{
    return low + (high - low) * (rand() / (double)RAND_MAX);
}

static void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance))
        fail_msg("%.9g is not within %g of %.9g", a, tolerance, b);
}

static void test_iou(void **state)
{
    struct box a = {0, 0, 10, 10};
    assert_near(box_iou(a, a), 1, 0);
    assert_near(box_iou(a, (struct box){5, 0, 10, 10}), 1 / 3.0, 1e-6);
    assert_near(box_iou(a, (struct box){10, 0, 10, 10}), 0, 0);
    assert_near(box_iou(a, (struct box){2, 2, 5, 5}), 0.25, 1e-6);
    assert_near(box_iou(a, (struct box){0, 0, 0, 10}), 0, 0);
    assert_near(box_iou(a, (struct box){0, 0, -10, -10}), 0, 0);
    assert_near(box_iou(a, (struct box){NAN, 0, 10, 10}), 0, 0);
    struct box huge = {-1e30f, -1e30f, 2e30f, 2e30f};
    assert_near(box_iou(huge, huge), 1, 0);
    for (int i = 0; i < 2000; i++) {
        struct box p = {(float)uniform(0, 9), (float)uniform(0, 9), (float)uniform(0, 9), (float)uniform(0, 9)};
        struct box q = {(float)uniform(0, 9), (float)uniform(0, 9), (float)uniform(0, 9), (float)uniform(0, 9)};
        float iou = box_iou(p, q);
        assert_true(iou >= 0 && iou <= 1);
        assert_near(iou, box_iou(q, p), 0);
    }
}

static void test_nms(void **state)
{
    const struct box boxes[6] = {{0, 0, 10, 10}, {1, 0, 10, 10},  {50, 50, 10, 10},
                                 {0, 0, 10, 10}, {50, 50, 0, 10}, {51, 50, 10, 10}};
    const float scores[6] = {0.5f, 0.9f, 0.7f, 0.5f, 1, NAN};
    int keep[6];
    assert_int_equal(box_nms(boxes, scores, 6, 0.5f, keep), 2);
    assert_int_equal(keep[0], 1);
    assert_int_equal(keep[1], 2);
    assert_int_equal(box_nms(boxes, scores, 4, 1, keep), 4); // nothing is above 1
    assert_int_equal(keep[2], 0);                            // ties: lower index first
    assert_int_equal(keep[3], 3);
    assert_int_equal(box_nms(boxes, scores, 0, 0.5f, keep), 0);
    assert_int_equal(box_nms(boxes, scores, -1, 0.5f, keep), -EINVAL);
    assert_int_equal(box_nms(boxes, scores, BOX_NMS_MAX + 1, 0.5f, keep), -EINVAL);
    static struct box many[BOX_NMS_MAX];
    static float many_scores[BOX_NMS_MAX];
    static int many_keep[BOX_NMS_MAX];
    for (int i = 0; i < BOX_NMS_MAX; i++) {
        many[i] = (struct box){(float)uniform(0, 500), (float)uniform(0, 500), 30, 30};
        many_scores[i] = (float)uniform(0, 1);
    }
    int n = box_nms(many, many_scores, BOX_NMS_MAX, 0.3f, many_keep);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++) {
            assert_true(box_iou(many[many_keep[i]], many[many_keep[j]]) <= 0.3f);
            assert_true(many_scores[many_keep[i]] <= many_scores[many_keep[j]]);
        }
    assert_true(n > 50 && n < BOX_NMS_MAX);
}

static void test_box_shapes(void **state)
{
    const struct point points[3] = {{3, 9}, {1, 5}, {7, 6}};
    struct box b = box_of_points(points, 3);
    assert_near(b.x, 1, 0);
    assert_near(b.y, 5, 0);
    assert_near(b.w, 6, 0);
    assert_near(b.h, 4, 0);
    b = box_squared(b, 2);
    assert_near(b.x, -2, 1e-6);
    assert_near(b.y, 1, 1e-6);
    assert_near(b.w, 12, 1e-6);
    assert_near(b.h, 12, 1e-6);
    b = box_clipped(b, 5, 100);
    assert_near(b.x, 0, 0);
    assert_near(b.w, 5, 0);
    b = box_clipped((struct box){200, 0, 10, 10}, 100, 100);
    assert_near(b.w + b.h, 0, 0);
    b = box_of_points(points, 0);
    assert_near(b.w + b.h, 0, 0);
}

static struct box face_at(double x, double y, double size)
{
    return (struct box){(float)x, (float)y, (float)size, (float)size};
}

static void test_birth_and_death(void **state)
{
    struct tracker t = {0};
    struct track_settings settings = TRACK_DEFAULTS;
    struct box face = face_at(100, 100, 80);
    uint32_t id;
    settings.birth_hits = 3;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(track_update(&t, &settings, &face, 1, i * FRAME_NS, &id), 0);
        assert_int_equal(id, i == 2 ? 1 : 0);
    }
    // A short miss keeps the id, a long one ends it and a new one is given.
    assert_int_equal(track_update(&t, &settings, NULL, 0, 3 * FRAME_NS, NULL), 0);
    assert_non_null(track_find(&t, 1));
    assert_false(track_find(&t, 1)->seen);
    assert_int_equal(track_update(&t, &settings, &face, 1, 2 * FRAME_NS + settings.death_ns, &id), 0);
    assert_int_equal(id, 1);
    int64_t later = 3 * FRAME_NS + 3 * settings.death_ns;
    assert_int_equal(track_update(&t, &settings, NULL, 0, later, NULL), 0);
    assert_null(track_find(&t, 1));
    assert_int_equal(t.count, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(track_update(&t, &settings, &face, 1, later + i * FRAME_NS, &id), 0);
    assert_int_equal(id, 2);
    // An unborn track that misses one frame starts again.
    struct tracker fresh = {0};
    assert_int_equal(track_update(&fresh, &settings, &face, 1, 0, &id), 0);
    assert_int_equal(track_update(&fresh, &settings, NULL, 0, 1, NULL), 0);
    assert_int_equal(fresh.count, 0);
    assert_null(track_find(&fresh, 0));
}

static void test_crossing(void **state)
{
    // Two people of different height walk past each other; for a few frames the hidden one is not found.
    struct tracker t = {0};
    struct track_settings settings = TRACK_DEFAULTS;
    uint32_t first = 0, second = 0;
    for (int i = 0; i < 120; i++) {
        double a = 100 + 6 * i, b = 820 - 6 * i;
        struct box boxes[2] = {face_at(a, 100, 90), face_at(b, 130, 80)};
        uint32_t ids[2];
        bool hidden = fabs(a - b) < 40;
        bool swapped = i & 1; // the order of detections means nothing
        struct box shown[2] = {boxes[swapped ? 1 : 0], boxes[swapped ? 0 : 1]};
        assert_int_equal(track_update(&t, &settings, hidden ? boxes : shown, hidden ? 1 : 2, i * FRAME_NS, ids), 0);
        uint32_t id_a = hidden ? ids[0] : ids[swapped ? 1 : 0], id_b = hidden ? second : ids[swapped ? 0 : 1];
        if (i == 10) {
            first = id_a;
            second = id_b;
            assert_true(first && second && first != second);
        }
        if (i > 10) {
            assert_int_equal(id_a, first);
            assert_int_equal(id_b, second);
        }
    }
    assert_int_equal(t.last_id, 2);
}

static void test_many_walkers(void **state)
{
    // 16 faces in lanes with jitter, shuffled detections and 10 % misses: nobody's id changes.
    struct tracker t = {0};
    struct track_settings settings = TRACK_DEFAULTS;
    uint32_t id_of[TRACK_MAX_FACES] = {0};
    double x[TRACK_MAX_FACES], v[TRACK_MAX_FACES];
    for (int i = 0; i < TRACK_MAX_FACES; i++) {
        x[i] = uniform(0, 900);
        v[i] = uniform(-8, 8);
    }
    for (int frame = 0; frame < 400; frame++) {
        struct box boxes[TRACK_MAX_FACES];
        int who[TRACK_MAX_FACES], n = 0;
        uint32_t ids[TRACK_MAX_FACES];
        for (int k = 0; k < TRACK_MAX_FACES; k++) {
            int i = (k * 7 + frame) % TRACK_MAX_FACES;
            if ((x[i] < 0 && v[i] < 0) || (x[i] > 900 && v[i] > 0))
                v[i] = -v[i];
            x[i] += v[i];
            if (frame > 10 && rand() % 10 == 0)
                continue;
            boxes[n] = face_at(x[i] + uniform(-3, 3), 70 * i + uniform(-3, 3), 60 + uniform(-3, 3));
            who[n++] = i;
        }
        assert_int_equal(track_update(&t, &settings, boxes, n, frame * FRAME_NS, ids), 0);
        for (int k = 0; k < n; k++) {
            if (frame == 5)
                id_of[who[k]] = ids[k];
            if (frame >= 5)
                assert_int_equal(ids[k], id_of[who[k]]);
        }
    }
    assert_int_equal(t.last_id, TRACK_MAX_FACES);
}

static void test_track_limits(void **state)
{
    struct tracker t = {0};
    struct track_settings settings = TRACK_DEFAULTS;
    struct box boxes[TRACK_MAX_FACES + 4];
    uint32_t ids[TRACK_MAX_FACES + 4];
    settings.birth_hits = 1;
    for (int i = 0; i < TRACK_MAX_FACES + 4; i++)
        boxes[i] = face_at(100 * i, 0, 50);
    assert_int_equal(track_update(&t, &settings, boxes, TRACK_MAX_FACES + 4, 0, ids), 0);
    for (int i = 0; i < TRACK_MAX_FACES + 4; i++)
        assert_int_equal(ids[i], i < TRACK_MAX_FACES ? i + 1 : 0);
    // A full table gives way to newcomers; all others are lost, none is used twice.
    for (int i = 0; i < TRACK_MAX_FACES; i++)
        boxes[i].y += 5000;
    assert_int_equal(track_update(&t, &settings, boxes, TRACK_MAX_FACES, 1, ids), 0);
    assert_int_equal(ids[0], TRACK_MAX_FACES + 1);
    assert_int_equal(t.count, TRACK_MAX_FACES);
    // Ids end at the last number instead of starting over.
    t = (struct tracker){.last_id = UINT32_MAX - 1};
    assert_int_equal(track_update(&t, &settings, boxes, 2, 0, ids), 0);
    assert_int_equal(ids[0], UINT32_MAX);
    assert_int_equal(ids[1], 0);
    // Time that stands still or runs back.
    assert_int_equal(track_update(&t, &settings, boxes, 2, -5 * FRAME_NS, ids), 0);
    assert_int_equal(ids[0], UINT32_MAX);
    assert_int_equal(track_update(&t, &settings, boxes, 2, INT64_MAX, ids), 0);
    struct tracker before = t;
    assert_int_equal(track_update(&t, &settings, boxes, -1, 0, ids), -EINVAL);
    settings.birth_hits = 0;
    assert_int_equal(track_update(&t, &settings, boxes, 1, 0, ids), -EINVAL);
    assert_memory_equal(&before, &t, sizeof(t));
    // Boxes that are no boxes.
    struct box odd[3] = {{NAN, 0, 10, 10}, {INFINITY, 0, 10, 10}, {0, 0, 0, 0}};
    settings.birth_hits = 1;
    for (int i = 0; i < 5; i++)
        assert_int_equal(track_update(&t, &settings, odd, 3, i, ids), 0);
}

// The paper's update, written out.
static double slow_one_euro(const struct one_euro_settings *s, double *x_hat, double *dx_hat, double last, double x,
                            double te)
{
    double a = 1 / (1 + 1 / (2 * M_PI * s->derivative_cutoff_hz) / te);
    *dx_hat = a * (x - last) / te + (1 - a) * *dx_hat;
    double cutoff = s->min_cutoff_hz + s->beta * fabs(*dx_hat);
    a = 1 / (1 + 1 / (2 * M_PI * cutoff) / te);
    *x_hat = a * x + (1 - a) * *x_hat;
    return *x_hat;
}

static void test_one_euro_formula(void **state)
{
    struct one_euro filter = {0};
    const struct one_euro_settings s = {1.2, 0.7, 1, 0};
    double x_hat = 3, dx_hat = 0, last = 3;
    int64_t now = 1000;
    assert_near(one_euro_update(&filter, &s, 3, now), 3, 0);
    for (int i = 0; i < 500; i++) {
        int64_t step = (int64_t)uniform(1e6, 1e8);
        double x = uniform(-5, 5);
        now += step;
        assert_near(one_euro_update(&filter, &s, x, now),
                    slow_one_euro(&s, &x_hat, &dx_hat, last, x, (double)step * 1e-9), 1e-9);
        last = x;
    }
}

static void test_one_euro_behaviour(void **state)
{
    const struct one_euro_settings s = ONE_EURO_GAZE;
    struct one_euro filter = {0};
    // Noise at rest shrinks; a jump is followed within 150 ms.
    double raw = 0, smooth = 0;
    for (int i = 0; i < 600; i++) {
        double noise = uniform(-0.02, 0.02), value = one_euro_update(&filter, &s, noise, i * FRAME_NS);
        raw += noise * noise;
        smooth += value * value;
    }
    assert_true(smooth < raw / 3);
    for (int i = 600; i < 605; i++)
        one_euro_update(&filter, &s, 0.5, i * FRAME_NS);
    assert_true(filter.value > 0.4);
    // Repeated and earlier times change nothing, nor does NaN; a gap starts anew.
    struct one_euro before = filter;
    assert_near(one_euro_update(&filter, &s, 9, filter.time_ns), before.value, 0);
    assert_near(one_euro_update(&filter, &s, 9, 0), before.value, 0);
    assert_near(one_euro_update(&filter, &s, NAN, 700 * FRAME_NS), before.value, 0);
    assert_memory_equal(&before, &filter, sizeof(filter));
    assert_near(one_euro_update(&filter, &s, -0.3, filter.time_ns + s.max_gap_ns + 1), -0.3, 0);
    assert_near(filter.derivative, 0, 0);
    struct one_euro fresh = {0};
    assert_near(one_euro_update(&fresh, &s, INFINITY, 5), 0, 0);
    assert_false(fresh.started);
    one_euro_update(&fresh, &s, 1, INT64_MIN);
    assert_near(one_euro_update(&fresh, &s, 2, INT64_MAX), 2, 0);
}

static void test_blink(void **state)
{
    const struct point open[6] = {{0, 0}, {10, -5}, {20, -5}, {30, 0}, {20, 4}, {10, 4}};
    const struct point shut[6] = {{0, 0}, {10, 0}, {20, 0}, {30, 0}, {20, 1}, {10, 1}};
    const struct point none[6] = {{0}};
    assert_near(blink_eye_aspect(open), 0.3, 1e-6);
    assert_near(blink_from_aspect(blink_eye_aspect(open)), 0, 0);
    assert_near(blink_from_aspect(blink_eye_aspect(shut)), 1, 0);
    assert_near(blink_from_aspect((BLINK_SHUT_ASPECT + BLINK_OPEN_ASPECT) / 2), 0.5, 1e-9);
    assert_near(blink_eye_aspect(none), 0, 0);
    struct point landmarks[FACE_LANDMARKS] = {{0}};
    memcpy(landmarks + 36, open, sizeof(open));
    memcpy(landmarks + 42, shut, sizeof(shut));
    double right, left;
    blink_from_landmarks(landmarks, &right, &left);
    assert_near(right, 0, 0);
    assert_near(left, 1, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_iou),
        cmocka_unit_test(test_nms),
        cmocka_unit_test(test_box_shapes),
        cmocka_unit_test(test_birth_and_death),
        cmocka_unit_test(test_crossing),
        cmocka_unit_test(test_many_walkers),
        cmocka_unit_test(test_track_limits),
        cmocka_unit_test(test_one_euro_formula),
        cmocka_unit_test(test_one_euro_behaviour),
        cmocka_unit_test(test_blink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
