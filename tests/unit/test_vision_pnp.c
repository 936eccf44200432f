// Head pose: synthetic faces come back, with noise, outliers, priors and at the limits.
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "vision/pnp.h"

#define RUNS 300

static const struct camera camera = {1000, 1000, 640, 360};

static double uniform(double low, double high)
{
    return low + (high - low) * (rand() / (double)RAND_MAX);
}

static double gaussian(void)
{
    return sqrt(-2 * log(uniform(1e-12, 1))) * cos(2 * M_PI * uniform(0, 1));
}

static void assert_below(double a, double limit)
{
    if (!(a <= limit))
        fail_msg("%.9g is not below %g", a, limit);
}

struct scene {
    struct mat3 rotation;
    struct vec3 translation;
    struct point points[FACE_LANDMARKS];
};

static struct scene random_scene(double noise_px)
{
    struct scene s;
    s.rotation = rotation_from_head_angles((struct head_angles){
        rad_from_deg(uniform(-35, 35)), rad_from_deg(uniform(-60, 60)), rad_from_deg(uniform(-40, 40))});
    s.translation = vec3_make(uniform(-200, 200), uniform(-100, 100), uniform(350, 1500));
    for (int i = 0; i < FACE_LANDMARKS; i++) {
        struct vec3 q = vec3_add(mat3_apply(&s.rotation, face_shape_mm[i]), s.translation);
        assert_int_equal(camera_project(&camera, q, &s.points[i]), 0);
        s.points[i].x += (float)(noise_px * gaussian());
        s.points[i].y += (float)(noise_px * gaussian());
    }
    return s;
}

static void test_exact_points(void **state)
{
    for (int i = 0; i < RUNS; i++) {
        struct scene s = random_scene(0);
        struct pnp_result result;
        assert_int_equal(pnp_face(&camera, s.points, NULL, 0, NULL, &result), 0);
        assert_below(deg_from_rad(rotation_distance(&result.rotation, &s.rotation)), 0.02);
        assert_below(vec3_length(vec3_sub(result.translation_mm, s.translation)), 0.2);
        assert_below(result.rms_px, 0.01);
    }
}

static void test_noise(void **state)
{
    double squares = 0, predicted = 0, depth = 0;
    for (int i = 0; i < RUNS; i++) {
        struct scene s = random_scene(0.5);
        struct pnp_options options = {.noise_px = 0.5};
        struct pnp_result result;
        assert_int_equal(pnp_solve(&camera, face_shape_mm, s.points, NULL, FACE_LANDMARKS, &options, &result), 0);
        double error = rotation_distance(&result.rotation, &s.rotation);
        squares += error * error / RUNS;
        predicted += vec3_dot(result.rotation_sigma, result.rotation_sigma) / RUNS;
        depth += fabs(result.translation_mm.z - s.translation.z) / s.translation.z / RUNS;
    }
    assert_below(deg_from_rad(sqrt(squares)), 0.6);
    assert_below(depth, 0.01);
    // The sigma it reports is the error it makes, within a factor of 1.4.
    assert_below(sqrt(squares / predicted), 1.4);
    assert_below(sqrt(predicted / squares), 1.4);
}

static void test_outliers(void **state)
{
    double worst = 0, plain = 0;
    for (int i = 0; i < RUNS; i++) {
        struct scene s = random_scene(0.3);
        for (int k = 0; k < 10; k++) { // 15 %
            s.points[rand() % FACE_LANDMARKS].x += (float)uniform(-60, 60);
            s.points[rand() % FACE_LANDMARKS].y += (float)uniform(-60, 60);
        }
        struct pnp_options options = {.noise_px = 0.5}, square = {.noise_px = 0.5, .huber = 1e9};
        struct pnp_result result;
        assert_int_equal(pnp_solve(&camera, face_shape_mm, s.points, NULL, FACE_LANDMARKS, &options, &result), 0);
        worst = fmax(worst, rotation_distance(&result.rotation, &s.rotation));
        assert_int_equal(pnp_solve(&camera, face_shape_mm, s.points, NULL, FACE_LANDMARKS, &square, &result), 0);
        plain = fmax(plain, rotation_distance(&result.rotation, &s.rotation));
    }
    assert_below(deg_from_rad(worst), 5);
    assert_below(2 * worst, plain); // Huber earns its keep
}

static void test_confidence_switches_points_off(void **state)
{
    struct scene s = random_scene(0);
    float confidence[FACE_LANDMARKS];
    for (int i = 0; i < FACE_LANDMARKS; i++)
        confidence[i] = 1;
    s.points[FACE_NOSE_TIP].x += 400;
    s.points[FACE_MOUTH_LEFT] = (struct point){NAN, 3};
    confidence[FACE_NOSE_TIP] = 0;
    struct pnp_result result;
    assert_int_equal(pnp_face(&camera, s.points, confidence, 0, NULL, &result), 0);
    assert_below(deg_from_rad(rotation_distance(&result.rotation, &s.rotation)), 0.02);
}

static void test_prior_holds_what_points_leave_open(void **state)
{
    // Three points with 1 px noise know little of the head's turn; the network's estimate does.
    double with = 0, without_sigma = 0;
    for (int i = 0; i < RUNS; i++) {
        struct scene s = random_scene(1);
        struct vec3 model[4] = {face_shape_mm[36], face_shape_mm[39], face_shape_mm[42], face_shape_mm[45]};
        struct point points[4] = {s.points[36], s.points[39], s.points[42], s.points[45]};
        struct pnp_prior prior = {s.rotation, rad_from_deg(2)};
        struct mat3 error = rotation_from_vector(vec3_make(0.02 * gaussian(), 0.02 * gaussian(), 0.02 * gaussian()));
        prior.rotation = mat3_mul(&error, &s.rotation);
        struct pnp_options options = {.noise_px = 1, .prior = &prior};
        struct pnp_result result;
        assert_int_equal(pnp_solve(&camera, model, points, NULL, 4, &options, &result), 0);
        with = fmax(with, rotation_distance(&result.rotation, &s.rotation));
        without_sigma = fmax(without_sigma, vec3_length(result.rotation_sigma));
    }
    assert_below(deg_from_rad(with), 7);
    assert_below(deg_from_rad(without_sigma), 2 * 1.8); // never wider than the prior's sqrt(3) * 2 degrees
}

static void test_translation_alone(void **state)
{
    for (int i = 0; i < RUNS; i++) {
        struct scene s = random_scene(0);
        struct pnp_result result;
        assert_int_equal(pnp_face_translation(&camera, s.points, NULL, 0, &s.rotation, &result), 0);
        assert_below(vec3_length(vec3_sub(result.translation_mm, s.translation)), 0.1);
        assert_below(rotation_distance(&result.rotation, &s.rotation), 0);
        assert_true(result.rotation_sigma.x == 0 && result.translation_sigma_mm.z > 0);
    }
}

static void test_refuses(void **state)
{
    struct scene s = random_scene(0);
    struct pnp_result result = {.iterations = 77};
    struct pnp_options options = {.noise_px = 1};
    struct point one[4] = {{5, 5}, {5, 5}, {5, 5}, {5, 5}};
    struct point nan[4] = {{NAN, 5}, {5, NAN}, {5, 5}, {6, 5}};
    assert_int_equal(pnp_solve(&camera, face_shape_mm, s.points, NULL, 3, &options, &result), -ENODATA);
    assert_int_equal(pnp_solve(&camera, face_shape_mm, s.points, NULL, PNP_MAX_POINTS + 1, &options, &result), -EINVAL);
    assert_int_equal(pnp_solve(&camera, face_shape_mm, s.points, NULL, -1, &options, &result), -EINVAL);
    assert_int_equal(pnp_solve(&camera, face_shape_mm, nan, NULL, 4, &options, &result), -ENODATA);
    assert_int_equal(pnp_solve(&camera, face_shape_mm, one, NULL, 4, &options, &result), -EDOM);
    options.noise_px = 0;
    assert_int_equal(pnp_solve(&camera, face_shape_mm, s.points, NULL, 20, &options, &result), -EINVAL);
    struct point collapsed[FACE_LANDMARKS] = {0};
    assert_int_equal(pnp_face(&camera, collapsed, NULL, 0, NULL, &result), -EDOM);
    assert_int_equal(pnp_face_translation(&camera, collapsed, NULL, 0, &s.rotation, &result), -EDOM);
    assert_int_equal(result.iterations, 77);
}

static void test_garbage_ends(void **state)
{
    for (int i = 0; i < RUNS; i++) {
        struct point points[FACE_LANDMARKS];
        for (int k = 0; k < FACE_LANDMARKS; k++)
            points[k] = (struct point){(float)uniform(-1e4, 1e4), (float)uniform(-1e4, 1e4)};
        struct pnp_result result;
        int r = pnp_face(&camera, points, NULL, 0, NULL, &result);
        assert_true(r == 0 || r == -EDOM);
        if (r == 0)
            assert_true(isfinite(result.rms_px) && isfinite(vec3_length(result.translation_mm)) &&
                        result.translation_mm.z > -500);
    }
}

static void test_shape(void **state)
{
    // Face origin = mean of the eye midpoints and the mouth corners; mirror symmetric; eyes above, nose in front.
    struct vec3 eyes = vec3_add(face_eye_centre_mm(0), face_eye_centre_mm(1));
    struct vec3 sum = vec3_add(eyes, vec3_add(face_shape_mm[FACE_MOUTH_RIGHT], face_shape_mm[FACE_MOUTH_LEFT]));
    assert_below(vec3_length(sum), 0.05);
    assert_true(face_shape_mm[FACE_NOSE_TIP].z < -20 && face_shape_mm[FACE_CHIN].y > 60);
    assert_true(face_eye_centre_mm(0).x < 0 && face_eye_centre_mm(0).y < -30);
    for (int i = 0; i <= 16; i++)
        assert_below(fabs(face_shape_mm[i].x + face_shape_mm[16 - i].x), 1e-9);
    struct scene s = random_scene(0);
    struct point origin = face_origin_px(s.points), projected;
    camera_project(&camera, s.translation, &projected);
    assert_below(hypot(origin.x - projected.x, origin.y - projected.y), 0.05 * face_interocular_px(s.points));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_exact_points),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_outliers),
        cmocka_unit_test(test_confidence_switches_points_off),
        cmocka_unit_test(test_prior_holds_what_points_leave_open),
        cmocka_unit_test(test_translation_alone),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_garbage_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
