// The networks' own arithmetic: folding of batch norm, the finder's decoding, crops, eye strips, missing and wrong
// weights.
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "models/face_finder.h"
#include "models/face_parts.h"
#include "models/gaze_vit.h"
#include "models/landmarks.h"
#include "models/model_file.h"
#include "models/net.h"

static npu_ctx *ctx;
static npu_dev *dev;

static int open_ref(void **state)
{
    return npu_ctx_new("", &ctx) < 0 || npu_dev_open(ctx, "ref", &dev) < 0;
}

static int close_ref(void **state)
{
    dev = npu_dev_close(dev);
    ctx = npu_ctx_free(ctx);
    return 0;
}

static npu_val small_net(struct net *net)
{
    const int64_t dim[4] = {2, 6, 5, 3};
    npu_val x = npu_input(net->graph, "x", NPU_F32, 4, dim);
    npu_val y = net_conv(net, "one", x, &(struct net_conv){.channels = 4, .kernel = 3, .act = NPU_ACT_RELU});
    y = net_conv(net, "two", y, &(struct net_conv){.channels = 4, .kernel = 3, .act = NPU_ACT_RELU, .residual = y});
    y = net_conv(net, "three", y, &(struct net_conv){.channels = 2, .kernel = 1, .plain = true});
    npu_output(net->graph, "y", y);
    return y;
}

// With batch statistics as running statistics the training graph and the folded one must give the same.
static void folded_batch_norm_gives_the_same(void **state)
{
    struct net train, deploy;
    npu_plan *a = NULL, *b = NULL;
    float x[2 * 6 * 5 * 3], y1[2 * 6 * 5 * 2], y2[2 * 6 * 5 * 2], largest = 0, off = 0;
    assert_int_equal(net_init(&train, NPU_GRAPH_TRAIN), 0);
    assert_int_equal(net_init(&deploy, 0), 0);
    small_net(&train);
    small_net(&deploy);
    assert_int_equal(npu_plan_new(dev, train.graph, NULL, &a), 0);
    assert_int_equal(npu_plan_new(dev, deploy.graph, NULL, &b), 0);
    assert_int_equal(npu_plan_init(a, 3), 0);
    for (int i = 0; i < 2 * 6 * 5 * 3; i++)
        x[i] = sinf((float)i * 1.7f) + 0.3f;
    assert_int_equal(npu_plan_write(a, "x", x, sizeof(x)), 0);
    for (int i = 0; i < 1200; i++) // running statistics move to this batch's (variance is unbiased: 60/59)
        assert_int_equal(npu_plan_run(a), 0);
    assert_int_equal(npu_plan_read(a, "y", y1, sizeof(y1)), 0);
    assert_int_equal(net_export(&train, a, &deploy, b), 0);
    assert_int_equal(npu_plan_write(b, "x", x, sizeof(x)), 0);
    assert_int_equal(npu_plan_run(b), 0);
    assert_int_equal(npu_plan_read(b, "y", y2, sizeof(y2)), 0);
    for (int i = 0; i < 2 * 6 * 5 * 2; i++) {
        largest = fmaxf(largest, fabsf(y1[i]));
        off = fmaxf(off, fabsf(y1[i] - y2[i]));
    }
    assert_true(largest > 0.1f);
    assert_true(off < 0.03f * largest);
    npu_plan_free(a);
    npu_plan_free(b);
    net_clear(&train);
    net_clear(&deploy);
}

static void export_refuses_nets_the_wrong_way_round(void **state)
{
    struct net train, deploy;
    assert_int_equal(net_init(&train, NPU_GRAPH_TRAIN), 0);
    assert_int_equal(net_init(&deploy, 0), 0);
    assert_int_equal(net_export(&deploy, NULL, &train, NULL), -EINVAL);
    net_clear(&train);
    net_clear(&deploy);
}

static void finder_decodes_a_cell(void **state)
{
    const struct face_finder_level *level = &face_finder_levels[0];
    float map[4 * 6 * FACE_FINDER_CHANNELS] = {0};
    struct face_found found[BOX_NMS_MAX];
    for (int i = 0; i < 4 * 6; i++)
        map[i * FACE_FINDER_CHANNELS] = -8;
    float *cell = &map[(2 * 6 + 3) * FACE_FINDER_CHANNELS]; // row 2, column 3: middle (28, 20)
    cell[0] = 2;
    cell[1] = 0;          // left: one unit
    cell[2] = logf(0.5f); // top: half a unit
    cell[3] = logf(2);    // right: two
    cell[4] = 100;        // bottom: bounded
    cell[5] = -0.5f;
    cell[6] = 0.25f;
    assert_int_equal(face_finder_decode(map, 4, 6, level, 0.5f, found, 0), 1);
    assert_float_equal(found[0].score, 1 / (1 + expf(-2)), 1e-6);
    assert_float_equal(found[0].box.x, 28 - level->unit_px, 1e-4);
    assert_float_equal(found[0].box.y, 20 - level->unit_px / 2, 1e-4);
    assert_float_equal(found[0].box.w, 3 * level->unit_px, 1e-4);
    assert_true(isfinite(found[0].box.h));
    assert_float_equal(found[0].points[0].x, 28 - level->unit_px / 2, 1e-4);
    assert_float_equal(found[0].points[0].y, 20 + level->unit_px / 4, 1e-4);
    assert_int_equal(face_finder_decode(map, 4, 6, level, 0.9f, found, 0), 0);
    cell[0] = NAN;
    assert_int_equal(face_finder_decode(map, 4, 6, level, 0.5f, found, 0), 0);
    for (int i = 0; i < 4 * 6; i++)
        map[i * FACE_FINDER_CHANNELS] = 8;
    assert_int_equal(face_finder_decode(map, 4, 6, level, 0.5f, found, BOX_NMS_MAX - 5), BOX_NMS_MAX);
}

// The mean face as a camera sees it, turned and away from the picture's middle.
static struct face_landmarks mean_face(const struct camera *camera, struct head_angles pose, struct vec3 at_mm)
{
    struct face_landmarks f = {.head = rotation_from_head_angles(pose), .score = 1};
    for (int i = 0; i < FACE_POINTS; i++) {
        struct vec3 p = vec3_add(mat3_apply(&f.head, face_shape_mm[i]), at_mm);
        assert_int_equal(camera_project(camera, p, &f.points[i]), 0);
    }
    return f;
}

static void crops_of_box_and_points_agree_and_level_the_face(void **state)
{
    struct camera camera;
    assert_int_equal(camera_from_hfov(1280, 720, rad_from_deg(60), &camera), 0);
    const struct head_angles pose = {.roll_rad = 0.4};
    struct face_landmarks f = mean_face(&camera, pose, vec3_make(120, -60, 700));
    struct face_crop crop = face_crop_from_points(f.points);
    struct mat3 patch_from_frame, turn;
    assert_float_equal(crop.roll_rad, 0.4, 0.05);
    assert_int_equal(face_crop_make(&crop, &camera, &patch_from_frame, &turn), 0);
    struct point right, left, chin;
    assert_int_equal(homography_apply(&patch_from_frame, f.points[FACE_RIGHT_EYE_OUTER], &right), 0);
    assert_int_equal(homography_apply(&patch_from_frame, f.points[FACE_LEFT_EYE_OUTER], &left), 0);
    assert_int_equal(homography_apply(&patch_from_frame, f.points[FACE_CHIN], &chin), 0);
    assert_float_equal(right.y, left.y, 1);
    assert_true(left.x - right.x > 0.25f * LANDMARKS_SIZE_PX && left.x - right.x < 0.6f * LANDMARKS_SIZE_PX);
    assert_true(chin.y < LANDMARKS_SIZE_PX && chin.y > 0.7f * LANDMARKS_SIZE_PX);
    // The virtual camera looks at the crop's middle and takes the roll out.
    struct vec3 seen = mat3_apply(&turn, camera_ray(&camera, crop.centre));
    assert_float_equal(seen.z, 1, 1e-6);
    crop.side_px = 0;
    assert_int_equal(face_crop_make(&crop, &camera, &patch_from_frame, &turn), -EINVAL);
}

static void a_gaze_into_the_lens_is_zero_in_the_strip(void **state)
{
    struct camera camera;
    struct eye_strip strip;
    assert_int_equal(camera_from_hfov(1280, 720, rad_from_deg(60), &camera), 0);
    const struct head_angles pose = {.roll_rad = -0.3, .yaw_rad = 0.4, .pitch_rad = -0.2};
    const struct vec3 at = vec3_make(-150, 90, 600);
    struct face_landmarks f = mean_face(&camera, pose, at);
    assert_int_equal(gaze_vit_strip(&camera, f.points, &strip), 0);
    struct angles lens = gaze_to_angles(mat3_apply(&strip.rotation, vec3_scale(at, -1)));
    assert_float_equal(lens.yaw_rad, 0, 0.01);
    assert_float_equal(lens.pitch_rad, 0, 0.01);
    struct mat3 head = mat3_mul(&strip.rotation, &f.head);
    float input[GAZE_VIT_POSE];
    gaze_vit_pose_input(&head, input);
    assert_true(fabsf(input[2]) < 0.2f); // levelled
    assert_true(input[1] > 0.2f);        // still turned
}

static void eyes_are_cut_level_and_alike(void **state)
{
    // The corners' places in the strip, right outer, right inner, left inner, left outer, and in their windows.
    static const float share[4] = {EYE_STRIP_OUTER_SHARE, EYE_STRIP_INNER_SHARE, 1 - EYE_STRIP_INNER_SHARE,
                                   1 - EYE_STRIP_OUTER_SHARE};
    struct point in[4];
    for (int i = 0; i < 4; i++)
        in[i] = gaze_vit_in_window((struct point){share[i] * EYE_STRIP_WIDTH_PX, 0.5f * EYE_STRIP_HEIGHT_PX}, i / 2);
    for (int i = 0; i < 4; i++)
        assert_float_equal(in[i].y, 0.5f * GAZE_VIT_EYE_HEIGHT_PX, 1e-4);
    assert_float_equal(in[0].x + in[1].x, GAZE_VIT_EYE_WIDTH_PX, 1e-3); // the eye in the middle
    assert_float_equal(in[0].x, in[3].x, 1e-3);                         // outer corners on the same side
    assert_float_equal(in[1].x, in[2].x, 1e-3);
    assert_true(in[0].x < in[1].x);

    // A picture of the strip's size as the frame: grey follows the place, so the windows say where they were cut.
    struct image frame;
    assert_int_equal(image_alloc(EYE_STRIP_WIDTH_PX, EYE_STRIP_HEIGHT_PX, 1, &frame), 0);
    for (int y = 0; y < EYE_STRIP_HEIGHT_PX; y++)
        for (int x = 0; x < EYE_STRIP_WIDTH_PX; x++)
            frame.data[y * frame.stride + x] = (uint8_t)(x + 2 * y);
    struct eye_strip strip = {.strip_from_frame = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}}};
    static float pixels[GAZE_VIT_PIXELS], mirrored[GAZE_VIT_PIXELS];
    const float pose[GAZE_VIT_POSE] = {0.1f, 0.2f, 0.3f};
    float pose_mirrored[GAZE_VIT_POSE];
    assert_int_equal(gaze_vit_windows(&frame, &strip, pixels), 0);
    for (int eye = 0; eye < 2; eye++) {
        const struct point at = {eye ? 90.25f : 30.25f, 20.75f}, to = gaze_vit_in_window(at, eye);
        int row = eye * GAZE_VIT_EYE_HEIGHT_PX + (int)to.y;
        float grey = pixels[row * GAZE_VIT_EYE_WIDTH_PX + (int)to.x];
        assert_float_equal(grey, (at.x - 0.5f) + 2 * (at.y - 0.5f), 2);
    }
    // The mirrored face's right eye is the left one's mirror image, which is how the left one was cut.
    gaze_vit_mirror(pixels, pose, mirrored, pose_mirrored);
    assert_memory_equal(mirrored, pixels + GAZE_VIT_PIXELS / 2, sizeof(pixels) / 2);
    assert_memory_equal(mirrored + GAZE_VIT_PIXELS / 2, pixels, sizeof(pixels) / 2);
    assert_float_equal(pose_mirrored[0], pose[0], 0);
    assert_float_equal(pose_mirrored[1], -pose[1], 0);
    image_free(&frame);
}

struct part_case {
    struct {
        struct box box;
        float score;
    } faces[4];
    int count;
    int kept[4], kept_count;
};

static void parts_of_faces_are_left_out(void **state)
{
    static const struct part_case cases[] = {
        {.count = 0},
        {{{{0, 0, 100, 120}, 0.99f}}, 1, {0}, 1},
        // An eye in a face, before and behind it in the list.
        {{{{20, 30, 25, 25}, 0.98f}, {{0, 0, 100, 120}, 0.99f}}, 2, {1}, 1},
        {{{{0, 0, 100, 120}, 0.99f}, {{20, 30, 25, 25}, 0.98f}}, 2, {0}, 1},
        // As sure as the face: a part. Surer than it: both stay, for the large one may be the mistake.
        {{{{0, 0, 100, 120}, 0.98f}, {{20, 30, 25, 25}, 0.98f}}, 2, {0}, 1},
        {{{{0, 0, 100, 120}, 0.98f}, {{20, 30, 25, 25}, 0.99f}}, 2, {0, 1}, 2},
        // A neighbour, and one that stands half before another: 58 % and 62 % of the small one's width.
        {{{{0, 0, 100, 100}, 0.99f}, {{100, 0, 50, 50}, 0.98f}}, 2, {0, 1}, 2},
        {{{{0, 0, 100, 100}, 0.99f}, {{71, 0, 50, 50}, 0.98f}}, 2, {0, 1}, 2},
        {{{{0, 0, 100, 100}, 0.99f}, {{69, 0, 50, 50}, 0.98f}}, 2, {0}, 1},
        {{{{0, 0, 100, 100}, 0.99f}, {{-19, -1, 50, 50}, 0.98f}}, 2, {0}, 1},
        // Two of one size, whatever they share, are no parts of each other.
        {{{{0, 0, 50, 50}, 0.99f}, {{0, 0, 50, 50}, 0.98f}}, 2, {0, 1}, 2},
        // A part of a part goes too; the others keep their order.
        {{{{200, 0, 90, 90}, 0.97f}, {{10, 10, 10, 10}, 0.97f}, {{5, 5, 40, 40}, 0.98f}, {{0, 0, 100, 100}, 0.99f}},
         4,
         {0, 3},
         2},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct part_case *c = &cases[i];
        struct face_reading faces[4] = {0};
        int from[4];
        for (int k = 0; k < c->count; k++) {
            faces[k].box = c->faces[k].box;
            faces[k].score = c->faces[k].score;
            from[k] = 10 + k;
        }
        int kept = face_parts_drop(faces, c->count, from);
        if (kept != c->kept_count)
            print_message("# case %zu: %d faces, not %d\n", i, kept, c->kept_count);
        assert_int_equal(kept, c->kept_count);
        for (int k = 0; k < kept; k++) {
            assert_int_equal(from[k], 10 + c->kept[k]);
            assert_memory_equal(&faces[k].box, &c->faces[c->kept[k]].box, sizeof(struct box));
        }
    }
}

static void missing_and_wrong_weights_are_told(void **state)
{
    struct landmarks *l = NULL;
    struct gaze_vit *v = NULL;
    struct face_finder *f = NULL;
    char message[MODEL_MESSAGE_SIZE] = "";
    assert_int_equal(landmarks_open(dev, "/nonexistent", &l, message), -ENOENT);
    assert_non_null(strstr(message, "landmarks"));
    assert_non_null(strstr(message, "/nonexistent"));

    // A file of another network: right format, wrong tensors.
    char path[] = "/tmp/test_models_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    struct net net;
    npu_plan *plan = NULL;
    assert_int_equal(net_init(&net, 0), 0);
    small_net(&net);
    assert_int_equal(npu_plan_new(dev, net.graph, NULL, &plan), 0);
    assert_int_equal(npu_plan_init(plan, 1), 0);
    assert_int_equal(npu_plan_save(plan, path, NPU_SAVE_PARAMS, NULL), 0);
    npu_plan_free(plan);
    net_clear(&net);
    *message = 0;
    assert_true(gaze_vit_open(dev, path, &v, message) < 0);
    assert_non_null(strstr(message, "gaze_vit"));
    assert_non_null(strstr(message, path));
    assert_null(v);

    // Cut short.
    assert_int_equal(ftruncate(fd, 20), 0);
    *message = 0;
    assert_true(face_finder_open(dev, path, NULL, &f, message) < 0);
    assert_non_null(strstr(message, path));
    close(fd);
    unlink(path);

    const struct face_finder_options odd = {.width_px = 250, .height_px = 192};
    assert_int_equal(face_finder_open(dev, "/nonexistent", &odd, &f, message), -EINVAL);
    assert_non_null(strstr(message, "250"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folded_batch_norm_gives_the_same),
        cmocka_unit_test(export_refuses_nets_the_wrong_way_round),
        cmocka_unit_test(finder_decodes_a_cell),
        cmocka_unit_test(crops_of_box_and_points_agree_and_level_the_face),
        cmocka_unit_test(a_gaze_into_the_lens_is_zero_in_the_strip),
        cmocka_unit_test(eyes_are_cut_level_and_alike),
        cmocka_unit_test(parts_of_faces_are_left_out),
        cmocka_unit_test(missing_and_wrong_weights_are_told),
    };
    return cmocka_run_group_tests(tests, open_ref, close_ref);
}
