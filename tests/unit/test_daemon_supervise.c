/* supervise.c as tables: events in, actions and state out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/supervise.h"

#define S  SUPERVISE_SECOND_NS
#define MS UINT64_C(1000000)

enum { NPU = 1, GPU, CPU, REF };
static const int AUTO[SUPERVISE_DEVICES_MAX] = {NPU, GPU, CPU, REF};
static const uint64_t T0 = 1000 * S;

static struct supervise fresh(void)
{
    struct supervise s;
    supervise_init(&s, 2 * S, 20 * S, AUTO, T0);
    return s;
}

/* Starts a worker at t that says it runs on `kind` and comes up. */
static void bring_up(struct supervise *s, int kind, uint64_t t)
{
    assert_int_equal(supervise_step(s, SUPERVISE_TICK, t), SUPERVISE_DO_SPAWN);
    supervise_step(s, SUPERVISE_SPAWNED, t);
    supervise_running(s, kind);
    supervise_step(s, SUPERVISE_BEAT, t);
    assert_int_equal(s->phase, SUPERVISE_UP);
}

static void assert_devices(const struct supervise *s, uint64_t t, int a, int b, int c, int d)
{
    int got[SUPERVISE_DEVICES_MAX] = {0};
    const int want[] = {a, b, c, d};
    supervise_devices(s, t, got);
    assert_memory_equal(got, want, sizeof(want));
}

static void steps_of_one_worker(void **state)
{
    static const struct {
        const char *name;
        enum supervise_phase phase;
        enum supervise_event event;
        uint64_t after_ns;
        enum supervise_action action;
        enum supervise_phase next;
        unsigned strikes;
    } rows[] = {
        {"down, not due", SUPERVISE_DOWN, SUPERVISE_TICK, 0, SUPERVISE_DO_NOTHING, SUPERVISE_DOWN, 0},
        {"down, due", SUPERVISE_DOWN, SUPERVISE_TICK, S, SUPERVISE_DO_SPAWN, SUPERVISE_DOWN, 0},
        {"spawned", SUPERVISE_DOWN, SUPERVISE_SPAWNED, S, SUPERVISE_DO_NOTHING, SUPERVISE_STARTING, 0},
        {"no spawn", SUPERVISE_DOWN, SUPERVISE_SPAWN_FAILED, S, SUPERVISE_DO_NOTHING, SUPERVISE_DOWN, 0},
        {"down, stop", SUPERVISE_DOWN, SUPERVISE_STOP, 0, SUPERVISE_DO_NOTHING, SUPERVISE_STOPPED, 0},
        {"loads for long", SUPERVISE_STARTING, SUPERVISE_TICK, 20 * S - 1, SUPERVISE_DO_NOTHING, SUPERVISE_STARTING, 0},
        {"loads for ever", SUPERVISE_STARTING, SUPERVISE_TICK, 20 * S, SUPERVISE_DO_KILL, SUPERVISE_KILLED, 1},
        {"loads and beats", SUPERVISE_STARTING, SUPERVISE_BEAT_LOADING, S, SUPERVISE_DO_NOTHING, SUPERVISE_STARTING, 0},
        {"comes up", SUPERVISE_STARTING, SUPERVISE_BEAT, S, SUPERVISE_DO_NOTHING, SUPERVISE_UP, 0},
        {"comes up idle", SUPERVISE_STARTING, SUPERVISE_BEAT_IDLE, S, SUPERVISE_DO_NOTHING, SUPERVISE_UP, 0},
        {"dies loading", SUPERVISE_STARTING, SUPERVISE_EXITED, S, SUPERVISE_DO_NOTHING, SUPERVISE_DOWN, 1},
        {"garbage", SUPERVISE_STARTING, SUPERVISE_GARBAGE, S, SUPERVISE_DO_KILL, SUPERVISE_KILLED, 1},
        {"stop while loading", SUPERVISE_STARTING, SUPERVISE_STOP, S, SUPERVISE_DO_END, SUPERVISE_ENDING, 0},
        {"in time", SUPERVISE_UP, SUPERVISE_TICK, 2 * S - 1, SUPERVISE_DO_NOTHING, SUPERVISE_UP, 0},
        {"too late", SUPERVISE_UP, SUPERVISE_TICK, 2 * S, SUPERVISE_DO_KILL, SUPERVISE_KILLED, 1},
        {"compiles anew", SUPERVISE_UP, SUPERVISE_BEAT_LOADING, S, SUPERVISE_DO_NOTHING, SUPERVISE_STARTING, 0},
        {"crash", SUPERVISE_UP, SUPERVISE_EXITED, S, SUPERVISE_DO_NOTHING, SUPERVISE_DOWN, 1},
        {"killed by others", SUPERVISE_UP, SUPERVISE_EXITED_BY_OTHERS, S, SUPERVISE_DO_NOTHING, SUPERVISE_DOWN, 0},
        {"garbage when up", SUPERVISE_UP, SUPERVISE_GARBAGE, S, SUPERVISE_DO_KILL, SUPERVISE_KILLED, 1},
        {"restart", SUPERVISE_UP, SUPERVISE_RESTART, S, SUPERVISE_DO_END, SUPERVISE_ENDING, 0},
        {"ends", SUPERVISE_ENDING, SUPERVISE_EXITED, S, SUPERVISE_DO_NOTHING, SUPERVISE_DOWN, 0},
        {"last words", SUPERVISE_ENDING, SUPERVISE_BEAT, S, SUPERVISE_DO_NOTHING, SUPERVISE_ENDING, 0},
        {"last garbage", SUPERVISE_ENDING, SUPERVISE_GARBAGE, S, SUPERVISE_DO_NOTHING, SUPERVISE_ENDING, 0},
        {"may still end", SUPERVISE_ENDING, SUPERVISE_TICK, 2 * S - 1, SUPERVISE_DO_NOTHING, SUPERVISE_ENDING, 0},
        {"does not end", SUPERVISE_ENDING, SUPERVISE_TICK, 2 * S, SUPERVISE_DO_KILL, SUPERVISE_KILLED, 0},
        {"dead", SUPERVISE_KILLED, SUPERVISE_EXITED_BY_OTHERS, 1, SUPERVISE_DO_NOTHING, SUPERVISE_DOWN, 0},
        {"not yet dead", SUPERVISE_KILLED, SUPERVISE_TICK, S - 1, SUPERVISE_DO_NOTHING, SUPERVISE_KILLED, 0},
        {"does not die", SUPERVISE_KILLED, SUPERVISE_TICK, S, SUPERVISE_DO_ABANDON, SUPERVISE_DOWN, 0},
        {"stop again", SUPERVISE_STOPPED, SUPERVISE_STOP, S, SUPERVISE_DO_NOTHING, SUPERVISE_STOPPED, 0},
        {"late exit", SUPERVISE_STOPPED, SUPERVISE_EXITED, S, SUPERVISE_DO_NOTHING, SUPERVISE_STOPPED, 0},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct supervise s = fresh();
        s.phase = rows[i].phase;
        s.beat_ns = s.up_ns = T0;
        s.due_ns = T0 + S;
        s.offer[0] = NPU;
        enum supervise_action action = supervise_step(&s, rows[i].event, T0 + rows[i].after_ns);
        if (action != rows[i].action || s.phase != rows[i].next || s.strikes[NPU] != rows[i].strikes)
            fail_msg("%s: action %d, phase %d, %u strikes", rows[i].name, (int)action, (int)s.phase, s.strikes[NPU]);
    }
}

static void devices_in_order_after_failures(void **state)
{
    struct supervise s = fresh();
    uint64_t t = T0;
    assert_devices(&s, t, NPU, GPU, CPU, REF);
    bring_up(&s, NPU, t);
    supervise_step(&s, SUPERVISE_EXITED, ++t);
    assert_devices(&s, t, GPU, CPU, REF, NPU);
    bring_up(&s, GPU, t);
    assert_int_equal(supervise_better(&s), NPU);
    supervise_step(&s, SUPERVISE_EXITED, ++t);
    assert_devices(&s, t, CPU, REF, NPU, GPU);
}

static void a_device_that_is_not_there_takes_no_blame(void **state)
{
    struct supervise s = fresh();
    uint64_t t = T0;
    supervise_step(&s, SUPERVISE_TICK, t);
    supervise_step(&s, SUPERVISE_SPAWNED, t);
    supervise_step(&s, SUPERVISE_EXITED, ++t); /* before it said on what */
    assert_int_equal(s.strikes[NPU], 1);
    bring_up(&s, CPU, t);
    assert_int_equal(supervise_better(&s), NPU);
    supervise_step(&s, SUPERVISE_RESTART, ++t);
    supervise_step(&s, SUPERVISE_EXITED, ++t);
    s.first = 0;
    bring_up(&s, CPU, t); /* offered NPU and GPU, took CPU */
    assert_int_equal(s.strikes[NPU], 0);
    assert_int_equal(supervise_better(&s), 0);
}

static void three_strikes_quarantine(void **state)
{
    static const int only[SUPERVISE_DEVICES_MAX] = {GPU, CPU};
    struct supervise s;
    uint64_t t = T0;
    int got[SUPERVISE_DEVICES_MAX];
    supervise_init(&s, 2 * S, 20 * S, only, t);
    for (unsigned n = 1; n <= 3; n++) {
        s.first = 0;
        t = supervise_deadline_ns(&s);
        bring_up(&s, GPU, t);
        supervise_step(&s, SUPERVISE_EXITED, ++t);
        assert_int_equal(s.strikes[GPU], n);
        assert_int_equal(supervise_quarantined(&s, GPU, t), n == 3);
    }
    assert_int_equal(supervise_devices(&s, t, got), 1);
    assert_int_equal(got[0], CPU);
    assert_int_equal(supervise_devices(&s, t + SUPERVISE_QUARANTINE_NS - 1, got), 1);
    assert_int_equal(supervise_devices(&s, t + SUPERVISE_QUARANTINE_NS, got), 2);
    for (unsigned n = 1; n <= 3; n++) {
        t = supervise_deadline_ns(&s);
        bring_up(&s, CPU, t);
        supervise_step(&s, SUPERVISE_EXITED, ++t);
    }
    assert_int_equal(supervise_devices(&s, t, got), 2); /* all in quarantine: all are tried */
}

static void back_off_grows_to_a_cap(void **state)
{
    static const uint64_t want_ms[] = {0, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000};
    struct supervise s = fresh();
    uint64_t t = T0;
    for (size_t i = 0; i < sizeof(want_ms) / sizeof(want_ms[0]); i++) {
        supervise_step(&s, SUPERVISE_TICK, t);
        supervise_step(&s, SUPERVISE_SPAWNED, t);
        supervise_step(&s, SUPERVISE_EXITED, t);
        assert_int_equal((supervise_deadline_ns(&s) - t) / MS, want_ms[i]);
        t = supervise_deadline_ns(&s);
    }
    assert_int_equal(s.restarts, 10);
    bring_up(&s, REF, t);
    supervise_step(&s, SUPERVISE_BEAT, t + SUPERVISE_GOOD_RUN_NS); /* a good run: forgotten */
    supervise_step(&s, SUPERVISE_EXITED, t + SUPERVISE_GOOD_RUN_NS);
    assert_int_equal(supervise_deadline_ns(&s), t + SUPERVISE_GOOD_RUN_NS);
}

static void killed_by_others_again_and_again_is_blamed(void **state)
{
    struct supervise s = fresh();
    uint64_t t = T0;
    for (unsigned n = 1; n <= 3; n++) {
        bring_up(&s, NPU, t);
        supervise_step(&s, SUPERVISE_EXITED_BY_OTHERS, ++t);
        assert_int_equal(s.strikes[NPU], n == 3);
        t = supervise_deadline_ns(&s);
    }
}

static void a_better_device_is_tried_again(void **state)
{
    static const struct {
        unsigned strikes;
        enum supervise_event beat;
        uint64_t after_ns;
    } rows[] = {
        {1, SUPERVISE_BEAT, SUPERVISE_RETRY_NS},           {2, SUPERVISE_BEAT, 4 * SUPERVISE_RETRY_NS},
        {1, SUPERVISE_BEAT_IDLE, SUPERVISE_RETRY_IDLE_NS}, {2, SUPERVISE_BEAT_IDLE, SUPERVISE_RETRY_IDLE_NS},
        {3, SUPERVISE_BEAT_IDLE, SUPERVISE_QUARANTINE_NS},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct supervise s = fresh();
        uint64_t end = T0 + rows[i].after_ns, t;
        s.strikes[GPU] = rows[i].strikes;
        s.struck_ns[GPU] = T0;
        s.first = 2;
        bring_up(&s, CPU, T0);
        for (t = T0; t < end; t += S) {
            supervise_step(&s, rows[i].beat, t);
            assert_int_equal(supervise_step(&s, SUPERVISE_TICK, t), SUPERVISE_DO_NOTHING);
        }
        assert_int_equal(supervise_step(&s, SUPERVISE_TICK, end), SUPERVISE_DO_END);
        supervise_step(&s, SUPERVISE_EXITED, end + 1);
        assert_int_equal(s.failures, 0);
        assert_int_equal(supervise_deadline_ns(&s), end + 1); /* at once */
        assert_devices(&s, end + 1, GPU, CPU, REF, NPU);
    }
}

static void strikes_are_forgiven_after_a_long_good_run(void **state)
{
    struct supervise s = fresh();
    s.strikes[NPU] = 2;
    bring_up(&s, NPU, T0);
    supervise_step(&s, SUPERVISE_BEAT, T0 + SUPERVISE_FORGIVE_NS - 1);
    assert_int_equal(s.strikes[NPU], 2);
    supervise_step(&s, SUPERVISE_BEAT, T0 + SUPERVISE_FORGIVE_NS);
    assert_int_equal(s.strikes[NPU], 0);
}

static void stop_ends_for_good(void **state)
{
    struct supervise s = fresh();
    bring_up(&s, NPU, T0);
    assert_int_equal(supervise_step(&s, SUPERVISE_STOP, T0), SUPERVISE_DO_END);
    assert_int_equal(supervise_step(&s, SUPERVISE_STOP, T0), SUPERVISE_DO_NOTHING); /* a second SIGTERM */
    supervise_step(&s, SUPERVISE_EXITED, T0 + 1);
    assert_int_equal(s.phase, SUPERVISE_STOPPED);
    assert_true(supervise_deadline_ns(&s) == UINT64_MAX);

    s = fresh();
    bring_up(&s, NPU, T0);
    supervise_step(&s, SUPERVISE_STOP, T0);
    assert_int_equal(supervise_step(&s, SUPERVISE_TICK, T0 + 2 * S), SUPERVISE_DO_KILL);
    assert_int_equal(supervise_step(&s, SUPERVISE_TICK, T0 + 3 * S), SUPERVISE_DO_ABANDON);
    assert_int_equal(s.phase, SUPERVISE_STOPPED);
}

static void watchdog_sees_progress(void **state)
{
    struct supervise s = fresh();
    assert_true(supervise_makes_progress(&s, T0));
    bring_up(&s, NPU, T0);
    assert_true(supervise_makes_progress(&s, T0 + 2 * S));
    assert_false(supervise_makes_progress(&s, T0 + 4 * S)); /* the loop did not act on a missed beat */
}

static void new_settings_forgive(void **state)
{
    static const int only[SUPERVISE_DEVICES_MAX] = {CPU};
    struct supervise s = fresh();
    s.strikes[CPU] = 3;
    s.first = 3;
    supervise_set(&s, S, 5 * S, only);
    int got[SUPERVISE_DEVICES_MAX];
    assert_int_equal(supervise_devices(&s, T0, got), 1);
    assert_int_equal(got[0], CPU);
    assert_false(supervise_quarantined(&s, CPU, T0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_of_one_worker),
        cmocka_unit_test(devices_in_order_after_failures),
        cmocka_unit_test(a_device_that_is_not_there_takes_no_blame),
        cmocka_unit_test(three_strikes_quarantine),
        cmocka_unit_test(back_off_grows_to_a_cap),
        cmocka_unit_test(killed_by_others_again_and_again_is_blamed),
        cmocka_unit_test(a_better_device_is_tried_again),
        cmocka_unit_test(strikes_are_forgiven_after_a_long_good_run),
        cmocka_unit_test(stop_ends_for_good),
        cmocka_unit_test(watchdog_sees_progress),
        cmocka_unit_test(new_settings_forgive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
