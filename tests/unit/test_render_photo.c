// Photographs in the renderer: the fitted head explains the landmarks, labels stay exact, held-out pictures stay out.
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
#include "train/render/photo.h"
#include "train/render/render.h"

#define DATA  "../shared/data"
#define SIDE  128
#define EVERY 41 // of the photographs is fitted here

static struct facekit *kit;
static struct head head;
static struct skin_atlas atlas;
static struct photo_set photos;

static int set_up(void **state)
{
    if (access(DATA "/facekit.json", R_OK) < 0 || access(DATA "/portraits.jsonl", R_OK) < 0)
        return 0;
    if (facekit_load(DATA, &kit) < 0 || head_init(&head, kit) < 0 || skin_atlas_init(&atlas, &head) < 0)
        return -1;
    return photo_set_load(DATA, &head, &photos);
}

static int tear_down(void **state)
{
    photo_set_free(&photos);
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

static void test_held_out_pictures_stay_out(void **state)
{
    size_t all = 1393 + 198;

    need_data();
    assert_true(photos.count > all * 7 / 10 && photos.count < all * 9 / 10);
    for (size_t i = 0; i < photos.count; i++) {
        const char *name = strrchr(photos.photo[i].path, '/') + 1;
        char id[64];
        snprintf(id, sizeof(id), "%.*s", (int)strcspn(name, "."), name);
        assert_false(fold_is_held_out(id));
    }
}

static void test_fit_explains_landmarks(void **state)
{
    static const double off[2] = {0.05, -0.03};
    double sum = 0;
    int fitted = 0, upright = 0;

    need_data();
    for (size_t i = 0; i < photos.count; i += EVERY) {
        const struct photo *p = &photos.photo[i];
        float width = fabsf(p->point[454][0] - p->point[234][0]);
        struct photo_fit fit;
        struct head_angles a;
        assert_int_equal(photo_fit(&head, p, 256, 256, 1000, off, &fit), 0);
        assert_true(fit.rms_px < 0.05f * width);
        assert_float_equal(mat3_determinant(&fit.head), 1, 1e-6);
        sum += (double)(fit.rms_px / width);
        a = head_angles_from_rotation(&fit.head);
        upright += fabs(a.yaw_rad) < 1 && fabs(a.pitch_rad) < 0.7 && fabs(a.roll_rad) < 0.5;
        fitted++;
    }
    assert_true(sum / fitted < 0.025); // of the face's width
    assert_int_equal(upright, fitted);
}

static void test_photo_pictures(void **state)
{
    struct render_setup setup = {.head = &head,
                                 .atlas = &atlas,
                                 .photos = &photos,
                                 .seed = 4,
                                 .side = SIDE,
                                 .mode = RENDER_MIX,
                                 .pictures_per_identity = 2,
                                 .identities = UINT32_MAX,
                                 .limits = {60, 35, 20}};
    struct renderer *r;
    struct image rgb, again;
    struct labels l;
    int photo = 0;

    need_data();
    assert_int_equal(renderer_new(&setup, &r), 0);
    assert_int_equal(image_alloc(SIDE, SIDE, 3, &rgb), 0);
    assert_int_equal(image_alloc(SIDE, SIDE, 3, &again), 0);
    for (uint64_t i = 0; i < 24; i++) {
        struct point origin, p;
        assert_int_equal(renderer_draw(r, i, &rgb, &l), 0);
        assert_int_equal(l.photo, i / 2 % 2 == 1); // whole identities alternate
        photo += l.photo;
        origin = face_origin_px(l.landmark);
        assert_int_equal(camera_project(&l.camera, l.face_mm, &p), 0);
        assert_float_equal(p.x, origin.x, 0.04f * l.box[2] + 1);
        assert_float_equal(p.y, origin.y, 0.04f * l.box[2] + 1);
        assert_float_equal(angle_between(vec3_sub(l.target_mm, l.face_mm), l.gaze), 0, 1e-7);
        if (l.photo)
            assert_true(l.box[2] > 0.3f * SIDE && l.box[2] < 0.8f * SIDE);
    }
    assert_int_equal(photo, 12);
    assert_int_equal(renderer_draw(r, 2, &rgb, &l), 0);
    renderer_free(r);
    assert_int_equal(renderer_new(&setup, &r), 0);
    assert_int_equal(renderer_draw(r, 2, &again, &l), 0);
    assert_memory_equal(rgb.data, again.data, (size_t)SIDE * SIDE * 3);
    image_free(&rgb);
    image_free(&again);
    renderer_free(r);
}

static void test_missing_folder(void **state)
{
    struct photo_set set;

    need_data();
    assert_int_equal(photo_set_load("/nonexistent", &head, &set), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held_out_pictures_stay_out),
        cmocka_unit_test(test_fit_explains_landmarks),
        cmocka_unit_test(test_photo_pictures),
        cmocka_unit_test(test_missing_folder),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
