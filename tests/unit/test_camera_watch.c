// The camera's state machine as a table of events, times and actions.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/camera_watch.h"

#define MS INT64_C(1000000)

struct step {
    int64_t at_ms;
    enum camera_event event;
    enum camera_action action;
};

static void play(const struct step *steps, size_t count, double fps)
{
    struct camera_watch w = {0};
    for (size_t i = 0; i < count; i++) {
        enum camera_action a = camera_watch_step(&w, steps[i].event, fps, steps[i].at_ms * MS);
        if (a != steps[i].action)
            print_message("step %zu: action %d, not %d\n", i, a, steps[i].action);
        assert_int_equal(a, steps[i].action);
    }
}
#define PLAY(fps, ...)                                                                                                 \
    play((const struct step[]){__VA_ARGS__}, sizeof((const struct step[]){__VA_ARGS__}) / sizeof(struct step), fps)

static void opens_when_wanted_and_closes_when_not(void **state)
{
    PLAY(30, {0, CAMERA_TICK, CAMERA_DO_NOTHING}, {1, CAMERA_PLUGGED, CAMERA_DO_NOTHING},
         {2, CAMERA_WANTED, CAMERA_DO_OPEN}, {3, CAMERA_OPENED, CAMERA_DO_NOTHING},
         {4, CAMERA_WANTED, CAMERA_DO_NOTHING}, {40, CAMERA_FRAME, CAMERA_DO_NOTHING},
         {900, CAMERA_TICK, CAMERA_DO_NOTHING}, {950, CAMERA_UNWANTED, CAMERA_DO_CLOSE},
         {9000, CAMERA_TICK, CAMERA_DO_NOTHING});
}

static void a_stall_restarts_then_reopens_then_waits(void **state)
{
    PLAY(30, {0, CAMERA_WANTED, CAMERA_DO_OPEN}, {1, CAMERA_OPENED, CAMERA_DO_NOTHING},
         {1000, CAMERA_TICK, CAMERA_DO_NOTHING}, {1001, CAMERA_TICK, CAMERA_DO_RESTART},
         {1010, CAMERA_OPENED, CAMERA_DO_NOTHING}, {2010, CAMERA_TICK, CAMERA_DO_OPEN},
         {2020, CAMERA_FAILED, CAMERA_DO_CLOSE}, {2119, CAMERA_TICK, CAMERA_DO_NOTHING},
         {2120, CAMERA_TICK, CAMERA_DO_OPEN});
}

static void a_frame_after_the_restart_makes_it_good_again(void **state)
{
    PLAY(30, {0, CAMERA_WANTED, CAMERA_DO_OPEN}, {0, CAMERA_OPENED, CAMERA_DO_NOTHING},
         {1000, CAMERA_TICK, CAMERA_DO_RESTART}, {1000, CAMERA_OPENED, CAMERA_DO_NOTHING},
         {1100, CAMERA_FRAME, CAMERA_DO_NOTHING}, {2100, CAMERA_TICK, CAMERA_DO_RESTART});
}

static void slow_cameras_get_five_periods(void **state)
{
    PLAY(2, {0, CAMERA_WANTED, CAMERA_DO_OPEN}, {0, CAMERA_OPENED, CAMERA_DO_NOTHING},
         {2400, CAMERA_TICK, CAMERA_DO_NOTHING}, {2500, CAMERA_TICK, CAMERA_DO_RESTART});
}

static void pauses_double_up_to_a_second_and_plugging_ends_them(void **state)
{
    struct camera_watch w = {0};
    int64_t now = 0, pauses[8];
    assert_int_equal(camera_watch_step(&w, CAMERA_WANTED, 30, now), CAMERA_DO_OPEN);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(camera_watch_step(&w, CAMERA_FAILED, 30, now), CAMERA_DO_CLOSE);
        pauses[i] = camera_watch_deadline_ns(&w, 30) - now;
        now += pauses[i];
        assert_int_equal(camera_watch_step(&w, CAMERA_TICK, 30, now), CAMERA_DO_OPEN);
    }
    assert_int_equal(pauses[0], CAMERA_RETRY_FIRST_NS);
    assert_int_equal(pauses[1], 2 * CAMERA_RETRY_FIRST_NS);
    assert_int_equal(pauses[7], CAMERA_RETRY_MAX_NS);
    camera_watch_step(&w, CAMERA_FAILED, 30, now);
    assert_int_equal(camera_watch_step(&w, CAMERA_PLUGGED, 30, now + 1), CAMERA_DO_OPEN);
}

// Damaged frames keep a stream alive, but a restart has not helped for them, nor are pauses short again.
static void damaged_frames_are_a_sign_of_life_only(void **state)
{
    PLAY(30, {0, CAMERA_WANTED, CAMERA_DO_OPEN}, {0, CAMERA_OPENED, CAMERA_DO_NOTHING},
         {1000, CAMERA_TICK, CAMERA_DO_RESTART}, {1000, CAMERA_OPENED, CAMERA_DO_NOTHING},
         {1500, CAMERA_DAMAGED, CAMERA_DO_NOTHING}, {2400, CAMERA_TICK, CAMERA_DO_NOTHING},
         {2500, CAMERA_TICK, CAMERA_DO_OPEN});
}

static void a_useless_file_is_tried_less_and_less(void **state)
{
    struct camera_watch w = {0};
    int64_t now = 0, pause = 0, before = 0;
    assert_int_equal(camera_watch_step(&w, CAMERA_USELESS, 30, now), CAMERA_DO_NOTHING);
    assert_int_equal(camera_watch_step(&w, CAMERA_WANTED, 30, now), CAMERA_DO_OPEN);
    for (int i = 0; i < 12; i++) {
        camera_watch_step(&w, CAMERA_OPENED, 30, now);
        camera_watch_step(&w, CAMERA_DAMAGED, 30, now);
        assert_int_equal(camera_watch_step(&w, CAMERA_USELESS, 30, now), CAMERA_DO_CLOSE);
        pause = camera_watch_deadline_ns(&w, 30) - now;
        assert_true(i == 0 ? pause == CAMERA_RETRY_FIRST_NS
                           : pause == (2 * before < CAMERA_USELESS_MAX_NS ? 2 * before : CAMERA_USELESS_MAX_NS));
        before = pause;
        now += pause;
        assert_int_equal(camera_watch_step(&w, CAMERA_TICK, 30, now), CAMERA_DO_OPEN);
    }
    assert_int_equal(pause, CAMERA_USELESS_MAX_NS);
    // One that can't be opened any more is looked for as often as ever.
    camera_watch_step(&w, CAMERA_FAILED, 30, now);
    assert_int_equal(camera_watch_deadline_ns(&w, 30) - now, CAMERA_RETRY_MAX_NS);
    // And one good frame makes all good.
    camera_watch_step(&w, CAMERA_OPENED, 30, now);
    camera_watch_step(&w, CAMERA_FRAME, 30, now);
    camera_watch_step(&w, CAMERA_USELESS, 30, now);
    assert_int_equal(camera_watch_deadline_ns(&w, 30) - now, CAMERA_RETRY_FIRST_NS);
}

static void a_file_at_its_end_rests_until_wanted_anew(void **state)
{
    PLAY(30, {0, CAMERA_WANTED, CAMERA_DO_OPEN}, {0, CAMERA_OPENED, CAMERA_DO_NOTHING},
         {10, CAMERA_END, CAMERA_DO_CLOSE}, {5000, CAMERA_TICK, CAMERA_DO_NOTHING},
         {5000, CAMERA_WANTED, CAMERA_DO_NOTHING}, {6000, CAMERA_UNWANTED, CAMERA_DO_CLOSE},
         {6001, CAMERA_WANTED, CAMERA_DO_OPEN});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_when_wanted_and_closes_when_not),
        cmocka_unit_test(a_stall_restarts_then_reopens_then_waits),
        cmocka_unit_test(a_frame_after_the_restart_makes_it_good_again),
        cmocka_unit_test(slow_cameras_get_five_periods),
        cmocka_unit_test(pauses_double_up_to_a_second_and_plugging_ends_them),
        cmocka_unit_test(damaged_frames_are_a_sign_of_life_only),
        cmocka_unit_test(a_useless_file_is_tried_less_and_less),
        cmocka_unit_test(a_file_at_its_end_rests_until_wanted_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
