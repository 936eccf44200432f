// The face renderer: labels agree with each other and with the pixels, and a picture depends on (seed, index) alone.
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

#include "train/fold.h"
#include "train/render/renderer.h"
#include "train/render/tensors.h"

#define DATA "../shared/data"
#define SIDE 128
#define SEED 11

static struct facekit *kit;
static struct head head;
static struct skin_atlas atlas;
static struct render_setup setup;

static int set_up(void **state)
{
    if (access(DATA "/facekit.json", R_OK) < 0)
        return 0;
    if (facekit_load(DATA, &kit) < 0 || head_init(&head, kit) < 0 || skin_atlas_init(&atlas, &head) < 0)
        return -1;
    setup = (struct render_setup){.head = &head,
                                  .atlas = &atlas,
                                  .seed = SEED,
                                  .side = SIDE,
                                  .pictures_per_identity = 4,
                                  .identities = UINT32_MAX,
                                  .limits = {60, 35, 20}};
    return 0;
}

static int tear_down(void **state)
{
    skin_atlas_free(&atlas);
    head_free(&head);
    kit = facekit_free(kit);
    return 0;
}

static void need_data(void)
{
    if (!kit) {
        print_message("# SKIP " DATA " is not here\n");
        skip();
    }
}

static void draw(struct renderer *r, uint64_t index, struct image *rgb, struct labels *l)
{
    memset(l, 0, sizeof(*l));
    assert_int_equal(renderer_draw(r, index, rgb, l), 0);
}

static void test_same_picture_whatever_came_before(void **state)
{
    struct renderer *a, *b;
    struct image pa, pb;
    struct labels la, lb;

    need_data();
    assert_int_equal(renderer_new(&setup, &a), 0);
    assert_int_equal(renderer_new(&setup, &b), 0);
    assert_int_equal(image_alloc(SIDE, SIDE, 3, &pa), 0);
    assert_int_equal(image_alloc(SIDE, SIDE, 3, &pb), 0);
    draw(a, 9, &pa, &la);
    for (uint64_t i = 2; i <= 9; i++)
        draw(b, i, &pb, &lb);
    assert_memory_equal(pa.data, pb.data, (size_t)SIDE * SIDE * 3);
    assert_memory_equal(&la.landmark, &lb.landmark, sizeof(la.landmark));
    assert_memory_equal(&la.gaze, &lb.gaze, sizeof(la.gaze));
    draw(b, 10, &pb, &lb);
    assert_int_not_equal(memcmp(pa.data, pb.data, (size_t)SIDE * SIDE * 3), 0);
    assert_int_equal(la.identity, lb.identity); // 8..11 are one person
    image_free(&pa);
    image_free(&pb);
    renderer_free(a);
    renderer_free(b);
}

static struct point project(const struct labels *l, struct vec3 p)
{
    struct point q;
    assert_int_equal(camera_project(&l->camera, p, &q), 0);
    return q;
}

static double luma(const struct image *i, float x, float y)
{
    int px = (int)x, py = (int)y;
    const uint8_t *c;
    if (px < 0 || py < 0 || px >= i->width || py >= i->height)
        return -1;
    c = i->data + (size_t)py * (size_t)i->stride + 3 * px;
    return 0.3 * c[0] + 0.59 * c[1] + 0.11 * c[2];
}

static void check_geometry(const struct labels *l)
{
    struct point origin = face_origin_px(l->landmark), p = project(l, l->face_mm);
    float slack = 0.04f * l->box[2] + 1; // the mean of projections is not the projection of the mean
    struct labels again = *l;

    assert_float_equal(p.x, origin.x, slack);
    assert_float_equal(p.y, origin.y, slack);
    assert_true(l->face_mm.z > 150 && l->face_mm.z < 1800);
    assert_float_equal(mat3_determinant(&l->head), 1, 1e-9);
    for (int i = 0; i < FACE_LANDMARKS; i++) {
        assert_true(l->landmark[i].x >= l->box[0] - 0.01f && l->landmark[i].x <= l->box[0] + l->box[2] + 0.01f);
        assert_true(l->landmark[i].y >= l->box[1] - 0.01f && l->landmark[i].y <= l->box[1] + l->box[3] + 0.01f);
    }
    again.gaze = vec3_make(0, 0, 0);
    assert_int_equal(labels_derive(&again), 0);
    assert_float_equal(angle_between(again.gaze, l->gaze), 0, 1e-9);
    assert_float_equal(vec3_length(l->gaze), 1, 1e-9);
    // target = origin + gaze * distance
    assert_float_equal(angle_between(vec3_sub(l->target_mm, l->face_mm), l->gaze), 0, 1e-7);
}

// Eye in head and the iris' place: the iris' centre lies off the ball's centre toward where the eye looks.
static void check_iris(const struct labels *l)
{
    for (int side = 0; side < 2; side++) {
        struct point ball = project(l, l->eye_mm[side]), iris = l->iris[side ? 5 : 0];
        // the ball's centre lies 10.5 mm behind the iris' centre along the optical axis, some degrees off the sight
        struct point ahead = project(l, vec3_add(l->eye_mm[side], vec3_scale(l->sight[side], 10.5)));
        double px_per_mm = l->camera.fx / l->eye_mm[side].z;
        assert_float_equal(iris.x, ahead.x, 2.0 * px_per_mm);
        assert_float_equal(iris.y, ahead.y, 1.6 * px_per_mm);
        assert_true(fabs(ball.x - iris.x) < 11 * px_per_mm);
        // rim: image right, top, left, bottom
        assert_true(l->iris[(side ? 5 : 0) + 1].x > l->iris[(side ? 5 : 0) + 3].x);
        assert_true(l->iris[(side ? 5 : 0) + 2].y < l->iris[(side ? 5 : 0) + 4].y);
    }
}

static void test_labels_agree(void **state)
{
    struct renderer *r;
    struct image rgb;
    struct labels l;
    int eyes = 0, darker = 0;

    need_data();
    assert_int_equal(renderer_new(&setup, &r), 0);
    assert_int_equal(image_alloc(SIDE, SIDE, 3, &rgb), 0);
    for (uint64_t i = 0; i < 48; i++) {
        draw(r, i, &rgb, &l);
        check_geometry(&l);
        check_iris(&l);
        if (l.glasses || l.box[2] < 0.4f * SIDE || fabs(head_angles_from_rotation(&l.head).yaw_rad) > 0.4)
            continue;
        for (int side = 0; side < 2; side++) { // the pixels at the iris are darker than the cheek below
            struct point iris = l.iris[side ? 5 : 0], cheek = l.landmark[side ? 47 : 41];
            double pupil = luma(&rgb, iris.x, iris.y), skin;
            cheek.y += 0.09f * l.box[3];
            skin = luma(&rgb, cheek.x, cheek.y);
            if (l.opening_mm[side] < 7 || pupil < 0 || skin < 0)
                continue;
            eyes++;
            darker += pupil < skin;
        }
    }
    assert_true(eyes >= 10);
    assert_true(darker * 10 >= eyes * 9);
    image_free(&rgb);
    renderer_free(r);
}

static void test_lids_shut(void **state)
{
    struct renderer *r;
    struct image rgb;
    struct labels l;
    float shut = 99, open = 0;

    need_data();
    assert_int_equal(renderer_new(&setup, &r), 0);
    assert_int_equal(image_alloc(SIDE, SIDE, 3, &rgb), 0);
    for (uint64_t i = 0; i < 80; i++) {
        draw(r, 7 * i, &rgb, &l);
        if (l.blink[0] > 0.9f)
            shut = l.opening_mm[0] < shut ? l.opening_mm[0] : shut;
        if (l.blink[0] == 0)
            open = l.opening_mm[0] > open ? l.opening_mm[0] : open;
    }
    assert_true(shut < 2.5f);
    assert_true(open > 8);
    image_free(&rgb);
    renderer_free(r);
}

// The goldens of the normalisation: pitch -9.152689, yaw -18.734407 for a target at (200, 100, 0); the lens is (0, 0).
static void test_normalised_goldens(void **state)
{
    struct labels l = {.face_mm = {100, -50, 600}, .target_mm = {200, 100, 0}};

    l.head = mat3_identity();
    assert_int_equal(labels_derive(&l), 0);
    assert_float_equal(deg_from_rad(l.normalised.pitch_rad), -9.152689, 1e-6);
    assert_float_equal(deg_from_rad(l.normalised.yaw_rad), -18.734407, 1e-6);
    l.target_mm = vec3_make(0, 0, 0);
    assert_int_equal(labels_derive(&l), 0);
    assert_float_equal(l.normalised.pitch_rad, 0, 1e-9);
    assert_float_equal(l.normalised.yaw_rad, 0, 1e-9);
    l.face_mm.z = -1;
    assert_int_equal(labels_derive(&l), -EDOM);
}

static void test_targets_within_the_eyes_reach(void **state)
{
    struct mat3 turned = rotation_from_head_angles((struct head_angles){0.2, -0.7, 0.1});

    for (uint64_t i = 0; i < 500; i++) {
        struct vec3 origin = vec3_make(120, -40, 700), target = scene_draw_target(3, i, &turned, origin);
        struct angles a = gaze_to_angles(mat3_apply_transposed(&turned, vec3_sub(target, origin)));
        assert_true(fabs(deg_from_rad(a.yaw_rad)) < 36.01);
        double pitch_deg = deg_from_rad(a.pitch_rad) - (double)EYE_PRIMARY_DEG; // from the eye's rest
        assert_true(pitch_deg < 22.01 && pitch_deg > -27.01);
    }
}

// People's eyes stand between their lids: the model's own balls are up to 3 mm off, a person's differ by half of one.
// Height over the line of the right eye's corners, shares of its width.
static double over_corners(const struct labels *l, struct point p)
{
    struct point a = l->landmark[FACE_RIGHT_EYE_OUTER], b = l->landmark[FACE_RIGHT_EYE_INNER];
    double x = b.x - a.x, y = b.y - a.y;
    return -((p.y - 0.5 * (a.y + b.y)) * x - (p.x - 0.5 * (a.x + b.x)) * y) / (x * x + y * y);
}

// In 1,222 portraits of people who look into the lens, heads pitched by -8.6 degrees, the lids' middle stands 0.054
// over the corners' line, the iris 0.021 over that, give or take 0.015 and 0.013.
static void test_eyes_sit_as_in_portraits(void **state)
{
    static const struct scene_given lens = {.camera = {1000, 1000, SIDE / 2, SIDE / 2}};
    double lids = 0, sum = 0, squares = 0;
    enum { PEOPLE = 200 };
    struct labels l = {.width = SIDE, .height = SIDE};
    struct renderer *r;

    if (!kit)
        skip();
    assert_int_equal(renderer_new(&setup, &r), 0);
    for (uint32_t id = 0; id < PEOPLE; id++) {
        struct person p;
        person_draw(17, id, &p);
        render_set_person(r, &p);
        scene_draw(17, id, &p, &setup.limits, &r->scene);
        r->scene.given = &lens;
        r->scene.face_mm = vec3_make(0, 0, 800);
        r->scene.head =
            rotation_from_head_angles((struct head_angles){.pitch_rad = -rad_from_deg((double)EYE_PRIMARY_DEG)});
        memset(r->scene.lids.blink, 0, sizeof(r->scene.lids.blink));
        assert_int_equal(render_place(r, &l), 0);
        double middle = 0, over;
        for (int k = 1; k < 6; k++)
            if (k != 3) // 37, 38, 40, 41
                middle += over_corners(&l, l.landmark[FACE_RIGHT_EYE_OUTER + k]) / 4;
        over = over_corners(&l, l.iris[0]) - middle;
        lids += middle / PEOPLE;
        sum += over / PEOPLE;
        squares += over * over / PEOPLE;
    }
    double spread = sqrt(squares - sum * sum);
    assert_true(lids > 0.044 && lids < 0.064);
    assert_true(sum > 0.011 && sum < 0.031);
    assert_true(spread > 0.008 && spread < 0.04);
    renderer_free(r);
    print_message("# lids %.4f over the corners, irises %.4f over them, spread %.4f\n", lids, sum, spread);
}

static void test_expressions_in_range(void **state)
{
    int seen[EXPRESSION_AUS] = {0};

    for (uint64_t i = 0; i < 4000; i++) {
        struct rng rng = rng_make(5, 6, i);
        struct expression e;
        expression_draw(&rng, &e);
        for (int a = 0; a < EXPRESSION_AUS; a++) {
            assert_true(e.au[a][0] >= 0 && e.au[a][0] <= 5 && e.au[a][1] >= 0 && e.au[a][1] <= 5);
            seen[a] += e.au[a][0] > 0.5f;
        }
    }
    for (int a = 0; a < EXPRESSION_AUS; a++)
        assert_true(seen[a] > 20); // each unit in half a per cent of the pictures at least
    assert_int_equal(expression_au_number[expression_au_index(45)], 45);
    assert_int_equal(expression_au_index(3), -1);
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    fclose(f);
}

static void test_bad_tensor_files(void **state)
{
    static const char header[] = "{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]},"
                                 "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
    char path[] = "/tmp/test_render.XXXXXX", file[512] = {0};
    uint64_t length = sizeof(header) - 1;
    uint16_t half[2] = {0x3c00, 0xc500}; // 1, -5
    struct tensors *t = NULL;
    float *x = NULL;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    memcpy(file, &length, 8);
    memcpy(file + 8, header, length);
    memcpy(file + 8 + length, half, 4);
    write_file(path, file, 8 + length + 4);
    assert_int_equal(tensors_open(path, &t), 0);
    assert_int_equal(tensors_floats(t, "a", 2, &x), 0);
    assert_true(x[0] == 1 && x[1] == -5);
    free(x);
    assert_int_equal(tensors_floats(t, "a", 3, &x), -EBADMSG);
    assert_int_equal(tensors_floats(t, "b", 2, &x), -EBADMSG); // beyond the file's end
    assert_int_equal(tensors_floats(t, "c", 2, &x), -ENOENT);
    tensors_close(t);
    for (size_t cut = 0; cut < 8 + length; cut += 7) {
        write_file(path, file, cut);
        assert_int_equal(tensors_open(path, &t), -EBADMSG);
    }
    unlink(path);
    assert_int_equal(tensors_open(path, &t), -ENOENT);
}

static void test_half_floats(void **state)
{
    assert_true(float_from_half(0x0001) == 0x1p-24f);
    assert_true(float_from_half(0x8400) == -0x1p-14f);
    assert_true(float_from_half(0x7bff) == 65504);
    assert_true(isinf(float_from_half(0x7c00)));
}

// FNV-1a's published values: "" 0x811c9dc5, "a" 0xe40c292c, "foobar" 0xbf9cf968.
static void test_fold(void **state)
{
    assert_int_equal(fold_is_held_out(""), 0x811c9dc5u % 5 == 0);
    assert_int_equal(fold_is_held_out("a"), 0xe40c292cu % 5 == 0);
    assert_int_equal(fold_is_held_out("foobar"), 0xbf9cf968u % 5 == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_picture_whatever_came_before),
        cmocka_unit_test(test_labels_agree),
        cmocka_unit_test(test_lids_shut),
        cmocka_unit_test(test_normalised_goldens),
        cmocka_unit_test(test_targets_within_the_eyes_reach),
        cmocka_unit_test(test_eyes_sit_as_in_portraits),
        cmocka_unit_test(test_expressions_in_range),
        cmocka_unit_test(test_bad_tensor_files),
        cmocka_unit_test(test_half_floats),
        cmocka_unit_test(test_fold),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
