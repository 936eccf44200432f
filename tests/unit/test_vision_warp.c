// Warps and eye strips: pictures whose truth is a formula, so every sampled pixel can be checked.
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vision/eye_strip.h"
#include "vision/face_shape.h"
#include "vision/warp.h"

static double uniform(double low, double high)
{
    return low + (high - low) * (rand() / (double)RAND_MAX);
}

static void assert_near(double a, double b, double tolerance)
{
    if (!(fabs(a - b) <= tolerance))
        fail_msg("%.9g is not within %g of %.9g", a, tolerance, b);
}

// A linear ramp: bilinear sampling and area averages of it are exact.
static double ramp(double x, double y, int c)
{
    return 20 + 0.5 * x + 0.3 * y + 10 * c;
}

static struct image ramp_image(int width, int height, int channels)
{
    struct image image;
    assert_int_equal(image_alloc(width, height, channels, &image), 0);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < channels; c++)
                image.data[y * image.stride + x * channels + c] = (uint8_t)lround(ramp(x + 0.5, y + 0.5, c));
    return image;
}

static void test_identity(void **state)
{
    struct image image = ramp_image(200, 100, 3), out;
    struct mat3 h = mat3_identity();
    assert_int_equal(image_alloc(200, 100, 3, &out), 0);
    assert_int_equal(warp_to_u8(&image, &h, &out), 0);
    assert_memory_equal(image.data, out.data, 200 * 100 * 3);
    // A homography has no scale and no sign.
    for (int i = 0; i < 9; i++)
        h.m[i / 3][i % 3] *= -7;
    memset(out.data, 0, 200 * 100 * 3);
    assert_int_equal(warp_to_u8(&image, &h, &out), 0);
    assert_memory_equal(image.data, out.data, 200 * 100 * 3);
    image_free(&image);
    image_free(&out);
}

// Similarities of all sizes, wider than a chunk, to grey and colour.
static void test_ramp_under_affine(void **state)
{
    static float patch[300 * 40 * 3];
    for (int run = 0; run < 60; run++) {
        int channels = run & 1 ? 3 : 1, out_channels = run & 2 ? 3 : 1;
        struct image image = ramp_image(300, 160, channels);
        float roll = (float)uniform(-0.2, 0.2), side = (float)uniform(60, 100);
        struct mat3 h = warp_from_square((struct point){150, 80}, side, roll,
                                         run % 3 == 0   ? 300
                                         : run % 3 == 1 ? 40
                                                        : 9);
        int w = run % 3 == 0 ? 300 : run % 3 == 1 ? 40 : 9, rows = w < 40 ? w : 40;
        struct mat3 back;
        assert_int_equal(mat3_invert(&h, &back), 0);
        struct warp_norm norm = {{1, 2, 3}, {1, 0.5f, 2}};
        assert_int_equal(warp_to_f32(&image, &h, w, rows, out_channels, &norm, patch), 0);
        for (int y = 0; y < rows; y++)
            for (int x = 0; x < w; x++)
                for (int c = 0; c < out_channels; c++) {
                    struct point p;
                    assert_int_equal(homography_apply(&back, (struct point){x + 0.5f, y + 0.5f}, &p), 0);
                    double grey = 0.299 * ramp(p.x, p.y, 0) + 0.587 * ramp(p.x, p.y, 1) + 0.114 * ramp(p.x, p.y, 2);
                    double truth = channels == 1 ? ramp(p.x, p.y, 0) : out_channels == 1 ? grey : ramp(p.x, p.y, c);
                    truth = (truth - norm.mean[c]) * norm.scale[c];
                    assert_near(patch[(y * w + x) * out_channels + c], truth, 0.6 * norm.scale[c]);
                }
        image_free(&image);
    }
}

static void test_perspective(void **state)
{
    struct image image = ramp_image(400, 200, 1);
    static float patch[64 * 64];
    struct mat3 h = {{{0.4, 0.02, -20}, {-0.03, 0.45, 1}, {0.0004, 0.0002, 0.9}}}, back;
    assert_int_equal(mat3_invert(&h, &back), 0);
    assert_int_equal(warp_to_f32(&image, &h, 64, 64, 1, &(struct warp_norm){{0}, {1}}, patch), 0);
    int inside = 0;
    for (int y = 0; y < 64; y++)
        for (int x = 0; x < 64; x++) {
            struct point p;
            assert_int_equal(homography_apply(&back, (struct point){x + 0.5f, y + 0.5f}, &p), 0);
            if (p.x < 3 || p.y < 3 || p.x > 397 || p.y > 197)
                continue;
            inside++;
            assert_near(patch[y * 64 + x], ramp(p.x, p.y, 0), 0.7);
        }
    assert_true(inside > 3000);
    image_free(&image);
}

static void test_shrinking_averages(void **state)
{
    // A chessboard of single pixels is grey when it is shrunk, at any angle; without averaging it would be black and
    // white.
    struct image image;
    static uint8_t data[256 * 256];
    for (int i = 0; i < 256 * 256; i++)
        data[i] = ((i ^ (i >> 8)) & 1) ? 255 : 0;
    assert_int_equal(image_view(data, sizeof(data), 256, 256, 256, 1, &image), 0);
    static float patch[64 * 64];
    for (int side = 20; side <= 64; side += 11)
        for (float roll = 0; roll < 0.8f; roll += 0.13f) {
            struct mat3 h = warp_from_square((struct point){128, 128}, 160, roll, side);
            assert_int_equal(warp_to_f32(&image, &h, side, side, 1, &(struct warp_norm){{0}, {1}}, patch), 0);
            double squares = 0;
            for (int i = 0; i < side * side; i++)
                squares += (patch[i] - 127.5) * (patch[i] - 127.5) / (side * side);
            assert_near(sqrt(squares), 0, 20);
        }
}

// Upright shrinks go another way (boxes): the same values as a warp turned by nothing worth mentioning, inside and
// beyond the frame.
static void test_boxes_agree_with_samples(void **state)
{
    static float boxes[300 * 30 * 3], samples[300 * 30 * 3];
    for (int run = 0; run < 120; run++) {
        int channels = run & 1 ? 3 : 1, w = run % 5 == 0 ? 300 : 1 + rand() % 60, h = 1 + rand() % 30;
        struct image image = ramp_image(1 + rand() % 240, 1 + rand() % 150, channels);
        float sx = (float)uniform(1.2, 8), sy = (float)uniform(1.2, 12);
        float x = (float)uniform(-300, 300), y = (float)uniform(-200, 200);
        struct mat3 upright = warp_from_rect(x, y, sx * (float)w, sy * (float)h, w, h), turned = upright;
        turned.m[0][1] = 1e-9;
        const struct warp_norm raw = {{0}, {1, 1, 1}};
        assert_int_equal(warp_to_f32(&image, &upright, w, h, channels, &raw, boxes), 0);
        assert_int_equal(warp_to_f32(&image, &turned, w, h, channels, &raw, samples), 0);
        for (int i = 0; i < w * h * channels; i++)
            assert_near(boxes[i], samples[i], 0.9); // the ramp is rounded, and its border bends it
        image_free(&image);
    }
    // Exactly the average, on noise.
    struct image noise = ramp_image(64, 48, 1);
    for (int i = 0; i < 64 * 48; i++)
        noise.data[i] = (uint8_t)rand();
    struct mat3 quarter = warp_letterbox(64, 48, 16, 12);
    assert_int_equal(warp_to_f32(&noise, &quarter, 16, 12, 1, &(struct warp_norm){{0}, {1}}, boxes), 0);
    for (int i = 0; i < 16 * 12; i++) {
        double sum = 0;
        for (int k = 0; k < 16; k++)
            sum += noise.data[(i / 16 * 4 + k / 4) * 64 + i % 16 * 4 + k % 4];
        assert_near(boxes[i], sum / 16, 1e-2);
    }
    // Far outside: the border, and an end.
    struct mat3 far = {{{0.25, 0, 1e12}, {0, 0.25, -1e12}, {0, 0, 1}}};
    assert_int_equal(warp_to_f32(&noise, &far, 16, 12, 1, &(struct warp_norm){{0}, {1}}, boxes), 0);
    assert_near(boxes[5], noise.data[47 * 64], 1e-2);
    image_free(&noise);
}

static void test_border_repeats(void **state)
{
    uint8_t data[6] = {10, 20, 30, 40, 50, 60};
    struct image image = {3, 2, 3, 1, data};
    float patch[9 * 6];
    // The 3 x 2 image in the middle of 9 x 6.
    struct mat3 h = {{{1, 0, 3}, {0, 1, 2}, {0, 0, 1}}};
    assert_int_equal(warp_to_f32(&image, &h, 9, 6, 1, &(struct warp_norm){{0}, {1}}, patch), 0);
    assert_near(patch[0], 10, 1e-5);
    assert_near(patch[8], 30, 1e-5);
    assert_near(patch[5 * 9], 40, 1e-5);
    assert_near(patch[5 * 9 + 8], 60, 1e-5);
    assert_near(patch[2 * 9 + 4], 20, 1e-5);
    // One pixel is enough of an image, as colour too.
    uint8_t one[3] = {7, 8, 9};
    struct image dot = {1, 1, 3, 3, one};
    float colours[3 * 3 * 3];
    assert_int_equal(warp_to_f32(&dot, &h, 3, 3, 3, &(struct warp_norm){{0, 0, 0}, {1, 1, 1}}, colours), 0);
    for (int i = 0; i < 27; i++)
        assert_near(colours[i], 7 + i % 3, 1e-5);
}

static void test_refuses(void **state)
{
    struct image image = ramp_image(32, 32, 1), out = ramp_image(8, 8, 1), broken = image;
    float patch[64];
    struct mat3 singular = {{{1, 0, 0}, {2, 0, 0}, {0, 0, 1}}};
    struct mat3 horizon = {{{1, 0, 0}, {0, 1, 0}, {0.25, 0, 1}}}; // back: w = 1 - x/4, zero inside 8 x 8
    struct mat3 nan = {{{NAN, 0, 0}, {0, 1, 0}, {0, 0, 1}}}, fine = mat3_identity();
    assert_int_equal(warp_to_u8(&image, &singular, &out), -EDOM);
    assert_int_equal(warp_to_u8(&image, &horizon, &out), -EDOM);
    assert_int_equal(warp_to_u8(&image, &nan, &out), -EDOM);
    broken.stride = 5;
    assert_int_equal(warp_to_u8(&broken, &fine, &out), -EINVAL);
    assert_int_equal(warp_to_f32(&image, &fine, 0, 8, 1, &WARP_NORM_UNIT, patch), -EINVAL);
    assert_int_equal(warp_to_f32(&image, &fine, 8, IMAGE_MAX_SIDE_PX + 1, 1, &WARP_NORM_UNIT, patch), -EINVAL);
    assert_int_equal(warp_to_f32(&image, &fine, 8, 8, 2, &WARP_NORM_UNIT, patch), -EINVAL);
    image_free(&image);
    image_free(&out);
}

static void test_random_homographies_stay_inside(void **state)
{
    // Under the sanitizers: no read outside the frame whatever the matrix.
    uint8_t *data = malloc(37 * 23 * 3);
    struct image image;
    memset(data, 100, 37 * 23 * 3);
    assert_int_equal(image_view(data, 37 * 23 * 3, 37, 23, 37 * 3, 3, &image), 0);
    float patch[17 * 13 * 3];
    int done = 0;
    for (int i = 0; i < 4000; i++) {
        struct mat3 h;
        for (int k = 0; k < 9; k++)
            h.m[k / 3][k % 3] = uniform(-1, 1) * pow(10, uniform(-6, 6));
        int r = warp_to_f32(&image, &h, 17, 13, 3, &WARP_NORM_UNIT, patch);
        assert_true(r == 0 || r == -EDOM);
        if (r < 0)
            continue;
        done++;
        for (int k = 0; k < 17 * 13 * 3; k++)
            assert_near(patch[k], 100 / 255.0, 1e-4);
    }
    assert_true(done > 100);
    free(data);
}

static void test_standardise(void **state)
{
    float v[4] = {1, 2, 3, 4}, flat[3] = {5, 5, 5.001f};
    warp_standardise(v, 4, 1e-3f);
    assert_near(v[0], -1.5 / sqrt(1.25), 1e-6);
    assert_near(v[3], 1.5 / sqrt(1.25), 1e-6);
    warp_standardise(flat, 3, 1);
    assert_near(flat[0], 0, 1e-3);
    warp_standardise(flat, 0, 1);
}

static void test_letterbox_and_rect(void **state)
{
    struct point p;
    struct mat3 h = warp_letterbox(1280, 720, 256, 256);
    assert_int_equal(homography_apply(&h, (struct point){0, 0}, &p), 0);
    assert_near(p.x, 0, 1e-5);
    assert_near(p.y, 56, 1e-5);
    assert_int_equal(homography_apply(&h, (struct point){1280, 720}, &p), 0);
    assert_near(p.x, 256, 1e-4);
    assert_near(p.y, 200, 1e-4);
    h = warp_from_rect(10, 20, 30, 40, 60, 160);
    assert_int_equal(homography_apply(&h, (struct point){40, 60}, &p), 0);
    assert_near(p.x, 60, 1e-5);
    assert_near(p.y, 160, 1e-5);
    // 90 degrees clockwise: what is below the centre in the frame is to the right in the patch.
    h = warp_from_square((struct point){50, 50}, 20, (float)M_PI / 2, 40);
    assert_int_equal(homography_apply(&h, (struct point){50, 60}, &p), 0);
    assert_near(p.x, 40, 1e-4);
    assert_near(p.y, 20, 1e-4);
}

static void test_fit_similarity(void **state)
{
    struct mat3 m;
    double rms;
    for (int run = 0; run < 300; run++) {
        struct point from[5], to[5];
        double s = uniform(0.1, 8), a = uniform(-3, 3), tx = uniform(-90, 90), ty = uniform(-90, 90);
        for (int i = 0; i < 5; i++) {
            from[i] = (struct point){(float)uniform(-50, 50), (float)uniform(-50, 50)};
            to[i].x = (float)(s * (cos(a) * from[i].x - sin(a) * from[i].y) + tx);
            to[i].y = (float)(s * (sin(a) * from[i].x + cos(a) * from[i].y) + ty);
        }
        assert_int_equal(warp_fit_similarity(from, to, 5, true, &m, &rms), 0);
        assert_near(rms, 0, 1e-3);
        assert_near(m.m[0][0], s * cos(a), 1e-4);
        assert_near(m.m[1][0], s * sin(a), 1e-4);
        assert_near(m.m[0][2], tx, 1e-2);
    }
    struct point same[3] = {{1, 1}, {1, 1}, {1, 1}}, other[3] = {{1, 2}, {3, 4}, {5, 6}};
    assert_int_equal(warp_fit_similarity(same, other, 3, true, &m, NULL), -EDOM);
    assert_int_equal(warp_fit_similarity(other, same, 3, true, &m, NULL), -EDOM);
    assert_int_equal(warp_fit_similarity(other, other, 1, true, &m, NULL), -EINVAL);
    struct point upside_down[3] = {{-1, -2}, {-3, -4}, {-5, -6}};
    assert_int_equal(warp_fit_similarity(other, upside_down, 3, false, &m, NULL), -EDOM);
}

static void project_corners(const struct camera *camera, const struct mat3 *head, struct vec3 centre,
                            struct point corners[4])
{
    const int which[4] = {FACE_RIGHT_EYE_OUTER, FACE_RIGHT_EYE_INNER, FACE_LEFT_EYE_INNER, FACE_LEFT_EYE_OUTER};
    for (int i = 0; i < 4; i++)
        assert_int_equal(
            camera_project(camera, vec3_add(mat3_apply(head, face_shape_mm[which[i]]), centre), &corners[i]), 0);
}

static void test_eye_strip(void **state)
{
    struct camera camera = {900, 900, 640, 360};
    for (int i = 0; i < 500; i++) {
        enum eye_strip_roll roll = i & 1 ? EYE_STRIP_ROLL_HEAD : EYE_STRIP_ROLL_CORNERS;
        double yaw = i < 100 ? 0 : uniform(-0.7, 0.7), pitch = i < 100 ? 0 : uniform(-0.5, 0.5);
        struct mat3 head =
            rotation_from_head_angles((struct head_angles){pitch, yaw, i < 100 ? 0 : uniform(-0.6, 0.6)});
        struct vec3 centre = vec3_make(uniform(-250, 250), uniform(-120, 120), uniform(350, 1500));
        if (i < 100)
            centre = vec3_make(0, 0, centre.z);
        struct point corners[4], p;
        project_corners(&camera, &head, centre, corners);
        struct eye_strip strip;
        assert_int_equal(eye_strip_make(&camera, centre, &head, corners, roll, 128, 48, &strip), 0);
        // Into the lens is (0, 0) for any head, and the rotation is one.
        struct angles lens = gaze_to_angles(mat3_apply(&strip.rotation, vec3_scale(centre, -1)));
        assert_near(lens.pitch_rad, 0, 1e-9);
        assert_near(lens.yaw_rad, 0, 1e-9);
        assert_near(mat3_determinant(&strip.rotation), 1, 1e-9);
        // Corners near their places (yaw and pitch keep them from all being there at once).
        assert_near(strip.corner_rms_px, 0, i < 100 ? 2 : 14);
        assert_int_equal(homography_apply(&strip.strip_from_frame, corners[0], &p), 0);
        assert_near(p.x, 0.14 * 128, i < 100 ? 2 : 20);
        assert_near(p.y, 24, i < 100 ? 2 : 25);
        assert_true(strip.frame_px_per_strip_px > 0.3 && strip.frame_px_per_strip_px < 4);
        if (roll == EYE_STRIP_ROLL_HEAD) {
            struct mat3 upright = mat3_mul(&strip.rotation, &head);
            assert_near(upright.m[1][0], 0, 1e-9);
        }
        // The picture and the rotation agree: a point shifted along the strip frame's x axis moves along +x in the
        // strip.
        struct vec3 eyes = vec3_add(mat3_apply(&head, face_eye_centre_mm(0)), centre);
        struct vec3 beside = vec3_add(eyes, mat3_apply_transposed(&strip.rotation, vec3_make(5, 0, 0)));
        struct point a, b, in_a, in_b;
        assert_int_equal(camera_project(&camera, eyes, &a) | camera_project(&camera, beside, &b), 0);
        assert_int_equal(homography_apply(&strip.strip_from_frame, a, &in_a), 0);
        assert_int_equal(homography_apply(&strip.strip_from_frame, b, &in_b), 0);
        assert_true(in_b.x - in_a.x > 3);
        assert_near(in_b.y, in_a.y, 1e-2);
    }
}

static void test_eye_strip_refuses(void **state)
{
    struct camera camera = {900, 900, 640, 360};
    struct mat3 head = mat3_identity();
    struct point corners[4], same[4] = {{9, 9}, {9, 9}, {9, 9}, {9, 9}}, swapped[4];
    struct eye_strip strip;
    project_corners(&camera, &head, vec3_make(0, 0, 600), corners);
    for (int i = 0; i < 4; i++)
        swapped[i] = corners[3 - i];
    struct vec3 c = vec3_make(0, 0, 600);
    assert_int_equal(eye_strip_make(&camera, c, NULL, corners, EYE_STRIP_ROLL_CORNERS, 128, 48, &strip), 0);
    assert_int_equal(eye_strip_make(&camera, c, NULL, corners, EYE_STRIP_ROLL_HEAD, 128, 48, &strip), -EINVAL);
    assert_int_equal(eye_strip_make(&camera, c, &head, corners, EYE_STRIP_ROLL_HEAD, 0, 48, &strip), -EINVAL);
    assert_int_equal(eye_strip_make(&camera, c, &head, same, EYE_STRIP_ROLL_CORNERS, 128, 48, &strip), -EDOM);
    assert_int_equal(eye_strip_make(&camera, c, &head, same, EYE_STRIP_ROLL_HEAD, 128, 48, &strip), -EDOM);
    assert_int_equal(eye_strip_make(&camera, c, &head, swapped, EYE_STRIP_ROLL_HEAD, 128, 48, &strip), -EDOM);
    c.z = -600;
    assert_int_equal(eye_strip_make(&camera, c, &head, corners, EYE_STRIP_ROLL_HEAD, 128, 48, &strip), -EDOM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_ramp_under_affine),
        cmocka_unit_test(test_perspective),
        cmocka_unit_test(test_shrinking_averages),
        cmocka_unit_test(test_boxes_agree_with_samples),
        cmocka_unit_test(test_border_repeats),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_random_homographies_stay_inside),
        cmocka_unit_test(test_standardise),
        cmocka_unit_test(test_letterbox_and_rect),
        cmocka_unit_test(test_fit_similarity),
        cmocka_unit_test(test_eye_strip),
        cmocka_unit_test(test_eye_strip_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
