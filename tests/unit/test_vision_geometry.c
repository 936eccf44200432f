// Geometry, camera and normalisation against the goldens and their own inverses.
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "vision/camera.h"
#include "vision/geometry.h"
#include "vision/normalise.h"

#define RUNS 2000

static double uniform(double low, double high)
{
    return low + (high - low) * (rand() / (double)RAND_MAX);
}

static struct angles degrees(double pitch, double yaw)
{
    return (struct angles){rad_from_deg(pitch), rad_from_deg(yaw)};
}

static void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance))
        fail_msg("%.9g is not within %g of %.9g", a, tolerance, b);
}

static struct mat3 random_rotation(void)
{
    return rotation_from_vector(vec3_make(uniform(-1.8, 1.8), uniform(-1.8, 1.8), uniform(-1.8, 1.8)));
}

static void assert_rotation(const struct mat3 *r)
{
    struct mat3 t = mat3_transpose(r), product = mat3_mul(r, &t);
    for (int i = 0; i < 9; i++)
        assert_near(product.m[i / 3][i % 3], i % 4 == 0, 1e-9);
    assert_near(mat3_determinant(r), 1, 1e-9);
}

static void test_angle_signs(void **state)
{
    struct vec3 g = gaze_from_angles(degrees(0, 0));
    assert_near(g.x, 0, 1e-15);
    assert_near(g.z, -1, 1e-15);
    g = gaze_from_angles(degrees(30, 0)); // up: y is down
    assert_near(g.y, -0.5, 1e-12);
    g = gaze_from_angles(degrees(0, 30)); // toward the image's left
    assert_near(g.x, -0.5, 1e-12);
    struct angles none = gaze_to_angles(vec3_make(0, 0, 0));
    assert_near(none.pitch_rad, 0, 0);
    assert_near(none.yaw_rad, 0, 0);
}

static void test_angular_error_goldens(void **state)
{
    assert_near(deg_from_rad(angular_error(degrees(0, 0), degrees(-15, 30))), 33.225942, 1e-6);
    assert_near(deg_from_rad(angular_error(degrees(60, 0), degrees(60, 40))), 19.693104, 1e-6);
    assert_near(angular_error(degrees(7, 8), degrees(7, 8)), 0, 1e-12);
    assert_near(angle_between(vec3_make(1, 0, 0), vec3_make(-5, 0, 0)), M_PI, 1e-12);
    // acos would lose this: a millionth of a degree.
    assert_near(deg_from_rad(angular_error(degrees(10, 0), degrees(10 + 1e-6, 0))), 1e-6, 1e-12);
}

static void test_angles_round_trip(void **state)
{
    for (int i = 0; i < RUNS; i++) {
        struct angles a = degrees(uniform(-89, 89), uniform(-179, 179));
        struct angles b = gaze_to_angles(vec3_scale(gaze_from_angles(a), uniform(0.1, 900)));
        assert_near(a.pitch_rad, b.pitch_rad, 1e-9);
        assert_near(a.yaw_rad, b.yaw_rad, 1e-9);
    }
}

static void test_head_angles(void **state)
{
    struct mat3 r = rotation_from_head_angles((struct head_angles){0, 0, 0});
    struct mat3 identity = mat3_identity();
    assert_near(rotation_distance(&r, &identity), 0, 1e-12);
    // A head tilted clockwise in the image: its x axis points right and down.
    r = rotation_from_head_angles((struct head_angles){0, 0, rad_from_deg(20)});
    assert_true(r.m[0][0] > 0 && r.m[1][0] > 0);
    // A head turned to the image's left faces -x and brings its left side (head +x) nearer to the camera.
    r = rotation_from_head_angles((struct head_angles){0, rad_from_deg(20), 0});
    assert_true(-r.m[0][2] < 0 && r.m[2][0] < 0);
    for (int i = 0; i < RUNS; i++) {
        struct head_angles a = {uniform(-1.5, 1.5), uniform(-3.1, 3.1), uniform(-3.1, 3.1)};
        r = rotation_from_head_angles(a);
        assert_rotation(&r);
        struct head_angles b = head_angles_from_rotation(&r);
        assert_near(a.pitch_rad, b.pitch_rad, 1e-9);
        assert_near(a.yaw_rad, b.yaw_rad, 1e-9);
        assert_near(a.roll_rad, b.roll_rad, 1e-9);
        struct vec3 facing = vec3_scale(mat3_column(&r, 2), -1);
        assert_near(angle_between(facing, gaze_from_angles((struct angles){a.pitch_rad, a.yaw_rad})), 0, 1e-9);
    }
}

static void test_rotation_vectors(void **state)
{
    for (int i = 0; i < RUNS; i++) {
        struct vec3 axis = vec3_unit(vec3_make(uniform(-1, 1), uniform(-1, 1), uniform(-1, 1)));
        double angle = i % 4 == 0 ? uniform(0, 1e-5) : i % 4 == 1 ? uniform(3.1, 3.14159) : uniform(0, 3.1);
        struct mat3 r = rotation_from_vector(vec3_scale(axis, angle));
        assert_rotation(&r);
        struct vec3 back = rotation_to_vector(&r);
        assert_near(vec3_length(vec3_sub(back, vec3_scale(axis, angle))), 0, 1e-7);
        struct mat3 identity = mat3_identity();
        assert_near(rotation_distance(&identity, &r), angle, 1e-8);
    }
}

static void test_rotation_6d(void **state)
{
    struct mat3 r;
    for (int i = 0; i < RUNS; i++) {
        struct mat3 a = random_rotation();
        float six[6];
        rotation_to_6d(&a, six);
        float stretch = (float)uniform(0.1, 10), lean = (float)uniform(-2, 2);
        for (int k = 0; k < 3; k++) { // Gram-Schmidt takes out the length of both and the first's share in the second
            six[3 + k] = six[3 + k] * stretch + lean * six[k];
            six[k] *= stretch;
        }
        assert_int_equal(rotation_from_6d(six, &r), 0);
        assert_rotation(&r);
        assert_near(rotation_distance(&a, &r), 0, 1e-4);
    }
    struct mat3 before = r;
    assert_int_equal(rotation_from_6d((float[6]){0, 0, 0, 1, 0, 0}, &r), -EDOM);
    assert_int_equal(rotation_from_6d((float[6]){1, 2, 3, 2, 4, 6}, &r), -EDOM);
    assert_int_equal(rotation_from_6d((float[6]){NAN, 2, 3, 2, 4, 5}, &r), -EDOM);
    assert_int_equal(rotation_from_6d((float[6]){INFINITY, 2, 3, 2, 4, 5}, &r), -EDOM);
    assert_memory_equal(&before, &r, sizeof(r));
}

static void test_inverse(void **state)
{
    struct mat3 inverse;
    for (int i = 0; i < RUNS; i++) {
        struct mat3 a;
        for (int k = 0; k < 9; k++)
            a.m[k / 3][k % 3] = uniform(-2, 2);
        if (fabs(mat3_determinant(&a)) < 1e-2)
            continue;
        assert_int_equal(mat3_invert(&a, &inverse), 0);
        struct mat3 product = mat3_mul(&a, &inverse);
        for (int k = 0; k < 9; k++)
            assert_near(product.m[k / 3][k % 3], k % 4 == 0, 1e-9);
    }
    struct mat3 singular = {{{1, 2, 3}, {2, 4, 6}, {0, 0, 1}}};
    assert_int_equal(mat3_invert(&singular, &inverse), -EDOM);
    singular.m[0][0] = NAN;
    assert_int_equal(mat3_invert(&singular, &inverse), -EDOM);
}

static void test_camera(void **state)
{
    struct camera c;
    assert_int_equal(camera_from_hfov(1280, 720, rad_from_deg(90), &c), 0);
    assert_near(c.fx, 640, 1e-9);
    assert_near(c.cy, 360, 1e-9);
    assert_int_equal(camera_from_hfov(0, 720, 1, &c), -EINVAL);
    assert_int_equal(camera_from_hfov(10, 10, 0, &c), -EINVAL);
    assert_int_equal(camera_from_hfov(10, 10, 3.15, &c), -EINVAL);
    assert_int_equal(camera_from_hfov(10, 10, NAN, &c), -EINVAL);
    struct point p;
    assert_int_equal(camera_project(&c, vec3_make(1, 1, 0), &p), -EDOM);
    assert_int_equal(camera_project(&c, vec3_make(1, 1, -5), &p), -EDOM);
    for (int i = 0; i < RUNS; i++) {
        struct vec3 q = vec3_make(uniform(-400, 400), uniform(-300, 300), uniform(200, 2000));
        assert_int_equal(camera_project(&c, q, &p), 0);
        assert_near(vec3_length(vec3_sub(camera_unproject(&c, p, q.z), q)), 0, 1e-3);
        assert_near(angle_between(camera_ray(&c, p), q), 0, 1e-6);
        // The same point in the resized and in the cropped image.
        double sx = uniform(0.2, 3), sy = uniform(0.2, 3);
        struct camera scaled = camera_scaled(&c, sx, sy), cropped = camera_cropped(&c, 100, -50);
        struct point s;
        assert_int_equal(camera_project(&scaled, q, &s), 0);
        assert_near(s.x, p.x * sx, 2e-3);
        assert_near(s.y, p.y * sy, 2e-3);
        assert_int_equal(camera_project(&cropped, q, &s), 0);
        assert_near(s.x, p.x - 100, 1e-3);
        assert_near(s.y, p.y + 50, 1e-3);
    }
}

static void test_normalise_goldens(void **state)
{
    struct camera c = {600, 600, 320, 240};
    struct vec3 centre = vec3_make(100, -50, 600);
    struct mat3 head = mat3_identity();
    struct normalisation n;
    assert_int_equal(normalise_make(&c, centre, &head, &NORMALISE_FACE_448, &n), 0);
    struct point p;
    assert_int_equal(homography_apply(&n.patch_from_frame, (struct point){420, 190}, &p), 0);
    assert_near(p.x, 224, 1e-4);
    assert_near(p.y, 224, 1e-4);
    struct angles a = gaze_to_angles(normalise_gaze(&n, vec3_sub(vec3_make(200, 100, 0), centre)));
    assert_near(deg_from_rad(a.pitch_rad), -9.152689, 1e-6);
    assert_near(deg_from_rad(a.yaw_rad), -18.734407, 1e-6);
    a = gaze_to_angles(normalise_gaze(&n, vec3_sub(vec3_make(0, 0, 0), centre)));
    assert_near(deg_from_rad(a.pitch_rad), 0, 1e-9);
    assert_near(deg_from_rad(a.yaw_rad), 0, 1e-9);
}

// The patch is what a camera at the spec's distance and turn would see: any 3-D point lands where that camera projects
// it.
static void test_normalise_is_a_camera(void **state)
{
    struct camera c = {900, 880, 640, 360};
    for (int i = 0; i < RUNS; i++) {
        struct vec3 centre = vec3_make(uniform(-300, 300), uniform(-200, 200), uniform(300, 1500));
        struct mat3 head =
            rotation_from_head_angles((struct head_angles){uniform(-.6, .6), uniform(-1, 1), uniform(-.5, .5)});
        struct normalise_spec spec = NORMALISE_EYE_128;
        struct normalisation n;
        assert_int_equal(normalise_make(&c, centre, &head, &spec, &n), 0);
        assert_rotation(&n.rotation);
        struct vec3 turned = mat3_apply(&n.rotation, centre);
        assert_near(hypot(turned.x, turned.y), 0, 1e-9);
        struct mat3 upright = normalise_head(&n, &head);
        assert_near(upright.m[1][0], 0, 1e-9); // the head's x axis has no downward part: no roll
        // The homography moves the camera only along the ray of each point, so a point at the centre's depth along
        // the virtual axis lands where the virtual camera sees it.
        struct vec3 beside = vec3_add(turned, vec3_make(uniform(-20, 20), uniform(-20, 20), 0));
        struct vec3 world = mat3_apply_transposed(&n.rotation, beside);
        struct point seen, patch;
        if (camera_project(&c, world, &seen) < 0)
            continue;
        assert_int_equal(homography_apply(&n.patch_from_frame, seen, &patch), 0);
        assert_near(patch.x, 64 + 1800 * beside.x / 600, 2e-2);
        assert_near(patch.y, 64 + 1800 * beside.y / 600, 2e-2);
        struct vec3 g = gaze_from_angles(degrees(uniform(-60, 60), uniform(-60, 60)));
        assert_near(vec3_length(vec3_sub(denormalise_gaze(&n, normalise_gaze(&n, g)), g)), 0, 1e-12);
    }
}

static void test_normalise_refuses(void **state)
{
    struct camera c = {600, 600, 320, 240};
    struct mat3 head = mat3_identity();
    struct normalisation n;
    assert_int_equal(normalise_make(&c, vec3_make(0, 0, 0), &head, &NORMALISE_FACE_224, &n), -EDOM);
    assert_int_equal(normalise_make(&c, vec3_make(0, 0, -100), &head, &NORMALISE_FACE_224, &n), -EDOM);
    assert_int_equal(normalise_make(&c, vec3_make(NAN, 0, 100), &head, &NORMALISE_FACE_224, &n), -EDOM);
    struct mat3 sideways = rotation_from_head_angles((struct head_angles){0, M_PI / 2, 0});
    assert_int_equal(normalise_make(&c, vec3_make(0, 0, 600), &sideways, &NORMALISE_FACE_224, &n), -EDOM);
    struct normalise_spec bad = {0, 300, 224, 224};
    assert_int_equal(normalise_make(&c, vec3_make(0, 0, 600), &head, &bad, &n), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_angle_signs),       cmocka_unit_test(test_angular_error_goldens),
        cmocka_unit_test(test_angles_round_trip), cmocka_unit_test(test_head_angles),
        cmocka_unit_test(test_rotation_vectors),  cmocka_unit_test(test_rotation_6d),
        cmocka_unit_test(test_inverse),           cmocka_unit_test(test_camera),
        cmocka_unit_test(test_normalise_goldens), cmocka_unit_test(test_normalise_is_a_camera),
        cmocka_unit_test(test_normalise_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
