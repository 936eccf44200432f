// The trainer's promises: batches that depend on seed and step alone, training that resumes bit for bit, held-out
// portraits, mirrored points, scenes whose boxes are where the faces are.
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "train/augment.h"
#include "train/augment_eyes.h"
#include "train/fold.h"
#include "train/judge.h"
#include "train/mirror.h"
#include "train/scene.h"
#include "train/trainer.h"
#include "vision/png.h"

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

// ---- a task small enough for a test: tell the mean of a noisy 4 x 4 picture ----
static const struct task_input inputs[] = {{"image", 3, {4, 4, 1}}, {"target", 1, {1}}};

static int tiny_open(const struct task_settings *settings, void **ret_data, char *message)
{
    *ret_data = malloc(1);
    return 0;
}

static int tiny_fill(void *user, struct rng *rng, float *const *in)
{
    in[1][0] = rng_uniform(rng, -1, 1);
    for (int i = 0; i < 16; i++)
        in[0][i] = in[1][0] + 0.1f * rng_normal(rng);
    return 0;
}

static npu_val tiny_net(struct net *net, npu_val image, int batch)
{
    const int64_t flat[2] = {batch, -1};
    npu_val x = net_conv(net, "conv", image, &(struct net_conv){.channels = 8, .kernel = 3, .act = NPU_ACT_RELU});
    return net_linear(net, "out", npu_reshape(net->graph, x, 2, flat), &(struct net_linear){.channels = 1});
}

static npu_val tiny_build(struct net *net, const npu_val *in, int batch)
{
    return npu_mse(net->graph, tiny_net(net, in[0], batch), in[1], NPU_NONE);
}

static void tiny_deployed(struct net *net)
{
    const int64_t dim[4] = {1, 4, 4, 1};
    npu_output(net->graph, "y", tiny_net(net, npu_input(net->graph, "image", NPU_F32, 4, dim), 1));
}

static int tiny_judge(void *user, npu_dev *device, const char *path, struct figures *ret, char *message)
{
    figures_add(ret, "exists", access(path, R_OK) == 0);
    return 0;
}

static const struct task tiny = {
    .name = "tiny",
    .inputs = inputs,
    .input_count = 2,
    .batch = 8,
    .lr = 1e-2f,
    .open = tiny_open,
    .close = free,
    .fill = tiny_fill,
    .build = tiny_build,
    .build_deployed = tiny_deployed,
    .judge = tiny_judge,
};

static void read_all(const char *path, unsigned char **ret_data, size_t *ret_size)
{
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    *ret_data = malloc(1 << 20);
    *ret_size = fread(*ret_data, 1, 1 << 20, f);
    fclose(f);
}

static void assert_same_file(const char *a, const char *b)
{
    unsigned char *x, *y;
    size_t n, m;
    read_all(a, &x, &n);
    read_all(b, &y, &m);
    assert_int_equal(n, m);
    assert_true(n > 100);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

static struct trainer_result train(struct trainer_settings s, int expected)
{
    struct trainer_result result = {0};
    char message[TRAINER_MESSAGE_SIZE] = "";
    int r = trainer_run(&s, &result, message);
    if (r != expected)
        print_message("# %d %s\n", r, message);
    assert_int_equal(r, expected);
    return result;
}

static void training_resumes_bit_for_bit(void **state)
{
    char folder[] = "/tmp/test_train_XXXXXX", once[64], half[64], whole[64], check[64], curve[64];
    assert_non_null(mkdtemp(folder));
    snprintf(once, sizeof(once), "%s/once", folder);
    snprintf(half, sizeof(half), "%s/half", folder);
    snprintf(whole, sizeof(whole), "%s/whole", folder);
    snprintf(check, sizeof(check), "%s/check", folder);
    snprintf(curve, sizeof(curve), "%s/curve.svg", folder);
    struct trainer_settings s = {
        .task = &tiny, .data = {.dev = dev}, .steps = 20, .seed = 7, .threads = 2, .out = once, .curve = curve};
    struct trainer_result a = train(s, 0);
    assert_int_equal(a.step, 20);
    assert_true(a.figures.count == 1 && a.figures.list[0].value == 1);
    s.out = half;
    s.checkpoint = check;
    s.stop_after = 10;
    assert_int_equal(train(s, 1).step, 10);
    s.out = whole;
    s.stop_after = 0;
    s.resume = check;
    s.threads = 1;
    struct trainer_result b = train(s, 0);
    assert_int_equal(b.step, 20);
    assert_true(a.loss == b.loss);
    assert_same_file(once, whole);
    s.seed = 8;
    train(s, -EINVAL); // another seed would see other batches
    s.resume = once;
    train(s, -EINVAL); // deployed weights are no checkpoint
    assert_int_equal(access(curve, R_OK), 0);
    const char *const files[] = {once, half, whole, check, curve};
    for (int i = 0; i < 5; i++)
        unlink(files[i]);
    rmdir(folder);
}

static void training_learns_and_stops_when_told(void **state)
{
    static volatile sig_atomic_t stop;
    char out[] = "/tmp/test_train_XXXXXX";
    close(mkstemp(out));
    struct trainer_settings s = {
        .task = &tiny, .data = {.dev = dev}, .steps = 300, .seed = 1, .out = out, .stop = &stop};
    assert_true(train(s, 0).loss < 0.02f); // the variance of the target is 0.33
    stop = 1;
    assert_int_equal(train(s, 1).step, 0);
    unlink(out);
}

static void the_rate_warms_up_and_falls(void **state)
{
    assert_float_equal(trainer_rate(2, 0.05, 0.1), 1, 1e-6);
    assert_float_equal(trainer_rate(2, 0.1, 0.1), 2, 1e-6);
    assert_float_equal(trainer_rate(2, 0.55, 0.1), 1.01, 1e-6);
    assert_float_equal(trainer_rate(2, 1, 0.1), 0.02, 1e-6);
    assert_float_equal(trainer_rate(2, 1.5, 0.1), 0.02, 1e-6);
}

static void batches_depend_on_seed_and_step_alone(void **state)
{
    static const size_t sizes[2] = {16, 1};
    struct loader_spec spec = {
        .fill = tiny_fill, .sizes = sizes, .input_count = 2, .batch = 5, .threads = 1, .seed = 9};
    struct loader *one, *many;
    const float *a[LOADER_MAX_INPUTS], *b[LOADER_MAX_INPUTS];
    assert_int_equal(loader_start(&spec, &one), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(loader_next(one, a), 0);
    spec.threads = 4;
    spec.first_step = 3;
    assert_int_equal(loader_start(&spec, &many), 0);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(loader_next(one, a), 0);
        assert_int_equal(loader_next(many, b), 0);
        assert_memory_equal(a[0], b[0], 5 * 16 * sizeof(float));
        assert_memory_equal(a[1], b[1], 5 * sizeof(float));
        assert_true(a[1][0] != a[1][1]);
    }
    loader_stop(one);
    loader_stop(many);
    spec.batch = 0;
    assert_int_equal(loader_start(&spec, &one), -EINVAL);
}

static int failing_fill(void *user, struct rng *rng, float *const *in)
{
    return -EIO;
}

static void a_failed_sample_ends_the_batch(void **state)
{
    static const size_t sizes[1] = {1};
    struct loader_spec spec = {.fill = failing_fill, .sizes = sizes, .input_count = 1, .batch = 2, .threads = 2};
    struct loader *l;
    const float *in[LOADER_MAX_INPUTS];
    assert_int_equal(loader_start(&spec, &l), 0);
    assert_int_equal(loader_next(l, in), -EIO);
    loader_stop(l);
}

static void mirrored_points_are_a_mirror(void **state)
{
    for (int i = 0; i < FACE_POINTS; i++) {
        assert_int_equal(face_mirror[face_mirror[i]], i);
        // The mean face is symmetrical: the partner lies on the other side at the same height.
        struct vec3 a = face_shape_mm[i], b = face_shape_mm[face_mirror[i]];
        assert_true(fabs(a.x + b.x) < 6 && fabs(a.y - b.y) < 6);
    }
}

static void portraits_are_held_out_by_fold(void **state)
{
    struct face_set teaches = {0}, judges = {0};
    char message[FACE_SET_MESSAGE_SIZE];
    if (access("../shared/data/portraits_hd.jsonl", R_OK) < 0) {
        print_message("# SKIP ../shared/data is not there\n");
        skip();
    }
    assert_int_equal(face_set_add_portraits(&teaches, "../shared/data", "portraits_hd", FACE_SET_TEACHES, message), 0);
    assert_int_equal(face_set_add_portraits(&judges, "../shared/data", "portraits_hd", FACE_SET_JUDGES, message), 0);
    assert_int_equal(teaches.count + judges.count, 198);
    assert_true(judges.count > 20 && judges.count < 60);
    for (int i = 0; i < teaches.count; i++)
        assert_false(fold_is_held_out(teaches.samples[i].id));
    for (int i = 0; i < judges.count; i++) {
        const struct face_sample *s = &judges.samples[i];
        assert_true(fold_is_held_out(s->id));
        assert_int_equal(s->image.width, 384);
        assert_int_equal(s->image.channels, 1);
        assert_true(s->points[FACE_RIGHT_EYE_OUTER].x < s->points[FACE_LEFT_EYE_OUTER].x);
        assert_true(s->points[FACE_CHIN].y > s->points[FACE_NOSE_TIP].y);
        assert_true(box_iou(s->box, box_of_points(s->points, FACE_LANDMARKS)) > 0.5f);
    }
    face_set_clear(&teaches);
    face_set_clear(&judges);
    assert_true(face_set_add(&teaches, "/nonexistent", FACE_SET_ALL, 0, message) < 0);
    assert_non_null(strstr(message, "/nonexistent"));
}

static void put_numbers(FILE *f, const char *name, const char *number, int count)
{
    fprintf(f, "\"%s\":[", name);
    for (int i = 0; i < count; i++)
        fprintf(f, "%s%s", i ? "," : "", number);
    fputs("],", f);
}

// A line as gaze-render writes it.
static void put_render(FILE *f, const char *file)
{
    fprintf(f, "{\"file\":\"%s\",\"identity\":7,\"camera\":{\"fx\":300,\"fy\":300,\"cx\":8,\"cy\":8},", file);
    put_numbers(f, "box", "4", 4);
    put_numbers(f, "landmarks", "[1,2]", FACE_LANDMARKS);
    put_numbers(f, "iris", "[3,4]", FACE_IRIS);
    put_numbers(f, "landmarks_visible", "1", FACE_LANDMARKS);
    put_numbers(f, "face_origin_mm", "100", 3);
    fputs("\"head\":{\"R\":[1,0,0,0,1,0,0,0,1]},\"gaze\":{\"vector\":[0,0,-1]},\"blink\":{\"right\":0,\"left\":1}}\n",
          f);
}

static void renders_are_known_by_their_files_names(void **state)
{
    char folder[] = "/tmp/test_train_XXXXXX", path[64], message[FACE_SET_MESSAGE_SIZE] = "";
    struct face_set set = {0};
    struct image image;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(image_alloc(16, 16, 3, &image), 0);
    memset(image.data, 90, (size_t)image.stride * 16);
    snprintf(path, sizeof(path), "%s/a.b.000007.png", folder);
    assert_int_equal(png_write(&image, path), 0);
    image_free(&image);
    snprintf(path, sizeof(path), "%s/labels.jsonl", folder);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    put_render(f, "a.b.000007.png");
    put_render(f, "absent-and-long-000000012345.jpg");
    fclose(f);
    assert_int_equal(face_set_add(&set, folder, FACE_SET_ALL, 1, message), 0);
    assert_int_equal(set.count, 1);
    assert_string_equal(set.samples[0].id, "a.b.000007");
    assert_int_equal(set.samples[0].image.width, 16);
    assert_int_equal(set.samples[0].identity, 7);
    assert_int_equal(face_set_add(&set, folder, FACE_SET_ALL, 0, message), -ENOENT); // appends; all but one are there
    assert_non_null(strstr(message, "absent-and-long-000000012345.jpg: "));
    assert_int_equal(set.count, 3);
    assert_string_equal(set.samples[1].id, "a.b.000007");
    assert_string_equal(set.samples[2].id, "absent-and-long-0000000");
    face_set_clear(&set);
    f = fopen(path, "ae");
    assert_non_null(f);
    fputs("{\"file\":\"x.jpg\"}\n", f);
    fclose(f);
    assert_int_equal(face_set_add(&set, folder, FACE_SET_ALL, 0, message), -EBADMSG);
    assert_non_null(strstr(message, "labels.jsonl, line 3"));
    face_set_clear(&set);
    unlink(path);
    snprintf(path, sizeof(path), "%s/a.b.000007.png", folder);
    unlink(path);
    rmdir(folder);
}

// A picture that is dark but for a white face box.
static void make_face(struct face_set *set)
{
    struct face_sample *s = face_set_append(set);
    assert_non_null(s);
    assert_int_equal(image_alloc(100, 100, 1, &s->image), 0);
    s->box = (struct box){30, 25, 40, 50};
    for (int y = 25; y < 75; y++)
        memset(s->image.data + y * s->image.stride + 30, 255, 40);
    for (int i = 0; i < FACE_POINTS; i++)
        s->points[i] = (struct point){50, 50};
}

static void scenes_have_faces_where_they_say(void **state)
{
    struct face_set set = {0}, none = {0};
    struct scene_face faces[SCENE_MAX_FACES];
    struct image scene;
    const struct scene_spec spec = {256, 192, 30, 100, 1, SCENE_MAX_FACES};
    int total = 0;
    make_face(&set);
    assert_int_equal(image_alloc(256, 192, 1, &scene), 0);
    for (int i = 0; i < 30; i++) {
        struct rng rng = rng_make(1, 2, (uint64_t)i);
        int n = scene_compose(&rng, &set, &none, &spec, &scene, faces);
        assert_true(n >= 0 && n <= SCENE_MAX_FACES);
        total += n;
        for (int k = 0; k < n; k++) {
            struct box b = faces[k].box;
            assert_true(b.x >= -0.5f && b.y >= -0.5f && b.x + b.w <= 256.5f && b.y + b.h <= 192.5f);
            assert_true(b.h >= 29.5f && b.h <= 100.5f);
            int x = (int)faces[k].points[2].x, y = (int)faces[k].points[2].y;
            assert_true(scene.data[y * scene.stride + x] > 200);
            for (int j = 0; j < k; j++)
                assert_true(box_iou(b, faces[j].box) < 0.01f);
        }
    }
    assert_true(total > 60);
    image_free(&scene);
    face_set_clear(&set);
}

// Light and dark change between the lids and along the upper lid, nothing elsewhere; what is told of lids and irises
// stays true.
static void changed_eyes_change_eyes_only(void **state)
{
    enum { W = 128, H = 48 };
    static const struct augment_eye eye[2] = {
        {{{18, 24}, {28, 19}, {36, 19}, {46, 25}, {36, 28}, {27, 28}},
         {{32, 23.5f}, {38, 23.5f}, {32, 17.5f}, {26, 23.5f}, {32, 29.5f}}},
        {{{82, 25}, {92, 19}, {100, 19}, {110, 24}, {101, 28}, {92, 28}},
         {{96, 23.5f}, {102, 23.5f}, {96, 17.5f}, {90, 23.5f}, {96, 29.5f}}},
    };
    static float a[4 * W * H], b[4 * W * H];

    for (int scale = 1; scale <= 2; scale++) {
        const int w = scale * W, count = scale * scale * W * H;
        int paler = 0, darker_lids = 0;
        for (uint64_t seed = 0; seed < 200; seed++) {
            struct rng r1 = rng_make(seed, 5, 0), r2 = r1;
            for (int i = 0; i < count; i++) {
                float x = ((float)(i % w) + 0.5f) / (float)scale, y = ((float)(i / w) + 0.5f) / (float)scale;
                a[i] = b[i] = hypotf(x - 32, y - 23.5f) < 5 ? 30 : 150;
            }
            augment_eyes(&r1, eye, w, scale * H, (float)scale, a);
            augment_eyes(&r2, eye, w, scale * H, (float)scale, b);
            assert_memory_equal(a, b, sizeof(a));
            for (int i = 0; i < count; i++) {
                int x = i % w / scale, y = i / w / scale;
                assert_true(a[i] >= 0 && a[i] <= 255);
                if (y < 14 || y > 31 || (x > 50 && x < 77) || x < 14 || x > 114)
                    assert_float_equal(a[i], 150, 0.5);
            }
            paler += a[25 * scale * w + 32 * scale] > 40;
            darker_lids += a[18 * scale * w + 96 * scale] < 140;
        }
        assert_in_range(paler, 60, 180);
        assert_in_range(darker_lids, 60, 180);
    }
}

static void augmented_patches_stay_in_range_and_repeat(void **state)
{
    static const struct augment_strength strength = {1, 1, 1, 1};
    float a[48 * 32], b[48 * 32];
    int changed = 0;
    for (int k = 0; k < 60; k++) {
        struct rng r1 = rng_make(4, 5, (uint64_t)k), r2 = r1;
        for (int i = 0; i < 48 * 32; i++)
            a[i] = b[i] = (float)((i * 7) % 256);
        assert_int_equal(augment_patch(&r1, &strength, 48, 32, a), 0);
        assert_int_equal(augment_patch(&r2, &strength, 48, 32, b), 0);
        assert_memory_equal(a, b, sizeof(a));
        for (int i = 0; i < 48 * 32; i++)
            assert_true(a[i] >= 0 && a[i] <= 255);
        changed += fabsf(a[100] - (float)((100 * 7) % 256)) > 1;
    }
    assert_true(changed > 30);
}

struct sweep_case {
    int chosen, count;
    struct {
        float threshold;
        int found, boxes, scene_found, scene_boxes; // of 200 faces in photographs, 100 in scenes
    } point[3];
};

static void the_sweep_takes_the_fewest_false_boxes(void **state)
{
    static const struct sweep_case cases[] = {
        {.chosen = -1, .count = 0},
        {0, 1, {{0.9f, 198, 230, 95, 120}}},
        {-1, 1, {{0.9f, 197, 197, 95, 95}}}, // 98.5 % found
        {-1, 1, {{0.9f, 198, 198, 94, 94}}}, // 94 % of the scenes'
        {1, 3, {{0.8f, 200, 204, 100, 101}, {0.9f, 199, 200, 98, 99}, {0.95f, 197, 197, 96, 96}}},
        {1, 3, {{0.8f, 200, 204, 100, 101}, {0.9f, 199, 199, 98, 98}, {0.95f, 198, 198, 96, 96}}}, // alike: the lower
        {2, 3, {{0.8f, 200, 200, 100, 103}, {0.9f, 199, 201, 98, 99}, {0.95f, 198, 198, 96, 98}}}, // both count
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct judge_sweep sweep = {.count = cases[i].count};
        for (int k = 0; k < sweep.count; k++) {
            sweep.photographs[k] = (struct judge_tally){cases[i].point[k].threshold, 200, 200, cases[i].point[k].found,
                                                        cases[i].point[k].boxes};
            sweep.scenes[k] = (struct judge_tally){cases[i].point[k].threshold, 30, 100, cases[i].point[k].scene_found,
                                                   cases[i].point[k].scene_boxes};
        }
        assert_int_equal(judge_sweep_choose(&sweep), cases[i].chosen);
    }
    const struct judge_tally none = {0}, some = {0.5f, 50, 60, 57, 59};
    assert_true(judge_found_percent(&none) == 0 && judge_false_per_100(&none) == 0);
    assert_true(judge_found_percent(&some) == 95 && judge_false_per_100(&some) == 4);
}

static void quantiles(void **state)
{
    double v[] = {5, 1, 4, 2, 3};
    assert_float_equal(judge_quantile(v, 5, 0.5), 3, 1e-9);
    assert_float_equal(judge_quantile(v, 5, 0), 1, 1e-9);
    assert_float_equal(judge_quantile(v, 5, 0.9), 4.6, 1e-9);
    assert_true(isnan(judge_quantile(v, 0, 0.5)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_resumes_bit_for_bit),
        cmocka_unit_test(training_learns_and_stops_when_told),
        cmocka_unit_test(the_rate_warms_up_and_falls),
        cmocka_unit_test(batches_depend_on_seed_and_step_alone),
        cmocka_unit_test(a_failed_sample_ends_the_batch),
        cmocka_unit_test(mirrored_points_are_a_mirror),
        cmocka_unit_test(portraits_are_held_out_by_fold),
        cmocka_unit_test(renders_are_known_by_their_files_names),
        cmocka_unit_test(scenes_have_faces_where_they_say),
        cmocka_unit_test(augmented_patches_stay_in_range_and_repeat),
        cmocka_unit_test(changed_eyes_change_eyes_only),
        cmocka_unit_test(the_sweep_takes_the_fewest_false_boxes),
        cmocka_unit_test(quantiles),
    };
    return cmocka_run_group_tests(tests, open_ref, close_ref);
}
