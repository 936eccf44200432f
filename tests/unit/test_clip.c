// Clips: motion is human and depends on its seed alone; frames agree with their truth.
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "train/render/clip_gaze.h"
#include "train/render/clip_stage.h"

#define DATA   "../shared/data"
#define FRAMES 900
#define FPS    30.0
#define WIDTH  320
#define HEIGHT 180

static double turn_deg(const struct mat3 *a, const struct mat3 *b)
{
    return deg_from_rad(rotation_distance(a, b));
}

static void test_motion_is_smooth_and_within_limits(void **state)
{
    struct clip_motion m;

    for (uint64_t seed = 1; seed <= 5; seed++) {
        assert_int_equal(clip_motion_make(seed, FRAMES, FPS, &m), 0);
        for (int n = 0; n < FRAMES; n++) {
            const struct clip_moment *x = &m.moment[n];
            struct head_angles h = head_angles_from_rotation(&x->head);
            struct angles eye = gaze_to_angles(mat3_apply_transposed(&x->head, vec3_sub(x->target_mm, x->face_mm)));
            assert_float_equal(x->time_s, n / FPS, 1e-9);
            assert_true(fabs(deg_from_rad(h.yaw_rad)) <= 25 && fabs(deg_from_rad(h.pitch_rad)) <= 12);
            assert_true(vec3_length(x->face_mm) > 450 && vec3_length(x->face_mm) < 800);
            assert_true(fabs(deg_from_rad(eye.yaw_rad)) < 40 && fabs(deg_from_rad(eye.pitch_rad)) < 32);
            assert_true(x->blink >= 0 && x->blink <= 1);
            assert_true(x->light > 0.9f && x->light < 1.1f);
            if (n == 0)
                continue;
            assert_true(turn_deg(&x->head, &x[-1].head) < 4); // 120 degrees a second
            assert_true(turn_deg(&x->body, &x[-1].body) < 1.5);
            assert_true(vec3_length(vec3_sub(x->face_mm, x[-1].face_mm)) < 12);
        }
        clip_motion_free(&m);
    }
}

static void test_motion_is_a_function_of_its_seed(void **state)
{
    struct clip_motion a, b, other;

    assert_int_equal(clip_motion_make(7, 60, FPS, &a), 0);
    assert_int_equal(clip_motion_make(7, 30, FPS, &b), 0);
    assert_int_equal(clip_motion_make(8, 30, FPS, &other), 0);
    assert_memory_equal(a.moment, b.moment, 30 * sizeof(*a.moment));
    assert_true(vec3_length(vec3_sub(a.moment[20].face_mm, other.moment[20].face_mm)) > 1);
    clip_motion_free(&a);
    clip_motion_free(&b);
    clip_motion_free(&other);
    assert_int_equal(clip_motion_make(7, 0, FPS, &a), -EINVAL);
    assert_int_equal(clip_motion_make(7, 10, 0.5, &a), -EINVAL);
}

static void test_fixations_and_saccades(void **state)
{
    struct clip_gaze g;
    struct vec3 eye = vec3_make(0, 0, 600);
    double saccade_s = -2;
    int fixations = 0, pursuits = 0;

    clip_gaze_start(&g, 3);
    for (int ms = 0; ms < 120000; ms++) {
        struct vec3 p = clip_gaze_at(&g, ms * 1e-3, eye);
        double hold = g.end_s - g.hold_s, flight = g.hold_s - g.saccade_s;
        if (g.saccade_s < 0)
            continue;
        if (ms * 1e-3 >= g.hold_s && vec3_length(g.pursuit_mm) == 0)
            assert_true(vec3_length(vec3_sub(p, g.to_mm)) < 1e-9);
        if (g.saccade_s == saccade_s)
            continue;
        saccade_s = g.saccade_s;
        assert_true(flight > 0.0299 && flight < 0.0601);
        if (vec3_length(g.pursuit_mm) > 0) {
            pursuits++;
            continue;
        }
        fixations++;
        assert_true(hold > 0.199 && hold < 0.801);
    }
    assert_in_range(fixations, 120, 400);
    assert_in_range(pursuits, 5, 90);
}

static void test_blinks(void **state)
{
    struct clip_blinks b;
    int blinks = 0, closed_ms = 0;

    clip_blinks_start(&b, 3);
    for (int ms = 0; ms < 60000; ms++) {
        float x = clip_blinks_at(&b, ms * 1e-3);
        if (x > 0)
            closed_ms++;
        if (x == 0 && closed_ms) {
            assert_in_range(closed_ms, 145, 301);
            closed_ms = 0;
            blinks++;
        }
    }
    assert_in_range(blinks, 10, 40);
}

struct drawn {
    struct image rgb;
    struct labels labels;
};

static struct drawn draw(struct clip_stage *stage, const struct clip_motion *m, int n)
{
    struct drawn d;
    assert_int_equal(image_alloc(WIDTH, HEIGHT, 3, &d.rgb), 0);
    assert_int_equal(clip_stage_draw(stage, &m->moment[n], (uint64_t)n, &d.rgb, &d.labels), 0);
    return d;
}

static void check_labels(const struct labels *l, const struct clip_moment *m)
{
    struct point p;
    int visible = 0;

    assert_float_equal(l->camera.fx, WIDTH / 2 / tan(rad_from_deg(30)), 1e-6);
    assert_float_equal(l->camera.cx, WIDTH / 2, 1e-9);
    assert_float_equal(l->camera.cy, HEIGHT / 2, 1e-9);
    assert_true(vec3_length(vec3_sub(l->target_mm, m->target_mm)) < 1e-9);
    assert_true(angle_between(l->gaze, vec3_sub(m->target_mm, l->face_mm)) < 1e-6);
    assert_true(vec3_length(vec3_sub(l->face_mm, m->face_mm)) < 5);
    for (int i = 0; i < FACE_LANDMARKS; i++)
        visible += l->visible[i];
    assert_true(visible > 40);
    for (int side = 0; side < 2; side++) { // the iris lies where the eye is
        assert_int_equal(camera_project(&l->camera, l->eye_mm[side], &p), 0);
        assert_true(hypotf(p.x - l->iris[5 * side].x, p.y - l->iris[5 * side].y) < 5);
    }
}

static void test_frames_agree_with_their_truth(void **state)
{
    struct facekit *kit = NULL;
    struct head head;
    struct skin_atlas atlas;
    struct clip_motion m;
    struct clip_stage *stage;
    struct clip_setup setup = {&head, &atlas, 3, WIDTH, HEIGHT, rad_from_deg(60), 80};
    struct drawn a, b, again;

    if (access(DATA "/facekit.json", R_OK) < 0) {
        print_message("# SKIP " DATA " is not here\n");
        skip();
    }
    assert_int_equal(facekit_load(DATA, &kit), 0);
    assert_int_equal(head_init(&head, kit), 0);
    assert_int_equal(skin_atlas_init(&atlas, &head), 0);
    assert_int_equal(clip_motion_make(setup.seed, 40, FPS, &m), 0);
    assert_int_equal(clip_stage_new(&setup, &stage), 0);
    a = draw(stage, &m, 0);
    b = draw(stage, &m, 39);
    again = draw(stage, &m, 0); // whatever was drawn before
    check_labels(&a.labels, &m.moment[0]);
    check_labels(&b.labels, &m.moment[39]);
    assert_memory_equal(a.rgb.data, again.rgb.data, WIDTH * HEIGHT * 3);
    assert_memory_not_equal(a.rgb.data, b.rgb.data, WIDTH * HEIGHT * 3);
    image_free(&a.rgb);
    image_free(&b.rgb);
    image_free(&again.rgb);
    clip_stage_free(stage);
    setup.width = 10;
    assert_int_equal(clip_stage_new(&setup, &stage), -EINVAL);
    clip_motion_free(&m);
    skin_atlas_free(&atlas);
    head_free(&head);
    facekit_free(kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_motion_is_smooth_and_within_limits),
        cmocka_unit_test(test_motion_is_a_function_of_its_seed),
        cmocka_unit_test(test_fixations_and_saccades),
        cmocka_unit_test(test_blinks),
        cmocka_unit_test(test_frames_agree_with_their_truth),
    };
    return cmocka_run_group_tests_name("clip", tests, NULL, NULL);
}
