/* What a client has to get: outbox, shared frames, token bucket, statistics. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/bucket.h"
#include "daemon/outbox.h"
#include "daemon/publish.h"
#include "daemon/stats.h"

static struct blob *bytes(const char *text)
{
    return blob_new(text, strlen(text));
}

static struct blob *result(uint64_t seq, bool json)
{
    static struct wire_msg m;
    m = (struct wire_msg){.type = WIRE_RESULT, .flags = json ? WIRE_FLAG_JSON : 0};
    m.result.seq = seq;
    m.result.frame_width_px = m.result.frame_height_px = 64;
    struct blob *b = publish_encode(&m);
    assert_non_null(b);
    return b;
}

static void assert_sends(struct outbox *o, const char *text)
{
    struct blob *b = outbox_start(o);
    assert_non_null(b);
    assert_int_equal(b->size, strlen(text));
    assert_memory_equal(b->data, text, b->size);
    assert_true(outbox_sent(o, b->size));
}

static void replies_then_status_then_results(void **state)
{
    struct outbox o = {0};
    assert_true(outbox_empty(&o));
    outbox_push(&o, OUTBOX_STATUS, bytes("status"));
    struct blob *r = result(1, false);
    outbox_push(&o, OUTBOX_RESULT, blob_ref(r));
    assert_true(outbox_next_is_push(&o));
    outbox_reply(&o, bytes("one"));
    outbox_reply(&o, bytes("two"));
    assert_false(outbox_next_is_push(&o));
    assert_sends(&o, "one");
    assert_sends(&o, "two");
    assert_sends(&o, "status");
    assert_ptr_equal(outbox_start(&o), r); /* shared, not copied */
    assert_false(outbox_sent(&o, 5));
    assert_ptr_equal(outbox_start(&o), r); /* still in flight */
    assert_false(outbox_next_is_push(&o));
    assert_true(outbox_sent(&o, r->size - 5));
    assert_true(outbox_empty(&o));
    assert_null(outbox_start(&o));
    blob_unref(r);
    assert_int_equal(blob_in_use(), 0);
}

static void a_reply_goes_behind_the_frame_in_flight(void **state)
{
    struct outbox o = {0};
    outbox_push(&o, OUTBOX_STATUS, bytes("status"));
    outbox_start(&o);
    outbox_sent(&o, 1);
    outbox_reply(&o, bytes("reply"));
    outbox_push(&o, OUTBOX_STATUS, bytes("newer"));
    assert_true(outbox_sent(&o, 5));
    assert_sends(&o, "reply");
    assert_sends(&o, "newer");
    assert_int_equal(blob_in_use(), 0);
}

static void sixteen_replies_at_most(void **state)
{
    struct outbox o = {0};
    for (int i = 0; i < OUTBOX_REPLIES_MAX; i++) {
        assert_false(outbox_replies_full(&o));
        assert_int_equal(outbox_reply(&o, bytes("r")), 0);
    }
    assert_true(outbox_replies_full(&o));
    assert_int_equal(outbox_reply(&o, bytes("one too many")), -ENOBUFS);
    assert_sends(&o, "r");
    assert_int_equal(outbox_reply(&o, bytes("last")), 0); /* round the ring */
    for (int i = 1; i < OUTBOX_REPLIES_MAX; i++)
        assert_sends(&o, "r");
    assert_sends(&o, "last");
    assert_int_equal(blob_in_use(), 0);
}

static void newest_result_with_count_of_lost_ones(void **state)
{
    for (int json = 0; json < 2; json++) {
        struct outbox o = {0};
        struct wire_msg m;
        struct blob *shared = NULL;
        outbox_push(&o, OUTBOX_RESULT, result(1, json));
        outbox_start(&o);
        for (uint64_t seq = 2; seq <= 5; seq++) {
            blob_unref(shared);
            shared = result(seq, json);
            outbox_push(&o, OUTBOX_RESULT, blob_ref(shared));
        }
        assert_true(outbox_sent(&o, o.flight->size));
        struct blob *b = outbox_start(&o);
        assert_ptr_not_equal(b, shared); /* other clients' bytes stay as they are */
        assert_int_equal(wire_decode(b->data, b->size, &m), 0);
        if (!json) {
            assert_int_equal(m.result.seq, 5);
            assert_int_equal(m.result.dropped_since_last, 3);
            assert_int_equal(wire_decode(shared->data, shared->size, &m), 0);
            assert_int_equal(m.result.dropped_since_last, 0);
        } else {
            assert_non_null(memmem(m.json.text, m.json.size, "         3}", 11));
        }
        outbox_sent(&o, b->size);
        outbox_push(&o, OUTBOX_RESULT, blob_ref(shared));
        assert_ptr_equal(outbox_start(&o), shared); /* the count began anew */
        outbox_clear(&o);
        blob_unref(shared);
        assert_int_equal(blob_in_use(), 0);
    }
}

static void a_new_subscription_forgets(void **state)
{
    struct outbox o = {0};
    outbox_push(&o, OUTBOX_RESULT, result(1, false));
    outbox_push(&o, OUTBOX_RESULT, result(2, false));
    assert_int_equal(o.dropped, 1);
    outbox_forget(&o, OUTBOX_RESULT);
    assert_int_equal(o.dropped, 0);
    assert_true(outbox_empty(&o));
    assert_int_equal(blob_in_use(), 0);
}

static void blobs_of_all_sizes_are_reused(void **state)
{
    static uint8_t data[WIRE_OUT_MAX + 1];
    for (size_t size = 0; size <= WIRE_OUT_MAX; size = size * 2 + 1) {
        struct blob *b = blob_new(data, size);
        assert_non_null(b);
        assert_true(b->capacity >= size);
        blob_unref(b);
        struct blob *again = blob_new(data, size);
        assert_ptr_equal(again, b);
        blob_unref(again);
    }
    struct blob *b = blob_new(data, WIRE_OUT_MAX);
    assert_non_null(b);
    assert_null(blob_unref(b));
    assert_null(blob_new(data, WIRE_OUT_MAX + 1));
    assert_null(blob_unref(NULL));
    blob_trim();
}

static void one_result_is_formatted_once(void **state)
{
    static struct publish p;
    static struct wire_result r = {.seq = 7, .face_count = 1, .fields = WIRE_FIELD_LANDMARKS};
    static struct wire_msg m;
    r.face[0].landmark_count = WIRE_LANDMARKS_MAX;
    publish_result(&p, &r);
    struct blob *plain = publish_frame(&p, WIRE_BINARY, 0);
    struct blob *full = publish_frame(&p, WIRE_BINARY, WIRE_FIELD_LANDMARKS);
    struct blob *json = publish_frame(&p, WIRE_JSON, WIRE_FIELD_LANDMARKS);
    assert_non_null(plain);
    assert_non_null(json);
    assert_int_equal(full->size - plain->size, WIRE_LANDMARKS_MAX * 4);
    assert_ptr_equal(publish_frame(&p, WIRE_BINARY, WIRE_FIELD_LANDMARKS), full);
    assert_ptr_equal(publish_frame(&p, WIRE_BINARY, WIRE_FIELDS_ALL), full); /* it has no more */
    assert_ptr_equal(publish_frame(&p, WIRE_BINARY, WIRE_FIELD_AUS), plain);
    assert_ptr_equal(publish_frame(&p, WIRE_JSON, WIRE_FIELDS_ALL), json);
    assert_int_equal(blob_in_use(), 3);
    assert_int_equal(wire_decode(full->data, full->size, &m), 0);
    assert_int_equal(m.result.face[0].landmark_count, WIRE_LANDMARKS_MAX);
    r.face[0].yaw_deg = 2 * WIRE_VALUE_MAX; /* can't be encoded: nobody gets it, nothing breaks */
    publish_result(&p, &r);
    assert_null(publish_frame(&p, WIRE_BINARY, 0));
    publish_end(&p);
    assert_int_equal(blob_in_use(), 0);
}

static void bucket_admits_burst_then_rate(void **state)
{
    struct bucket b = bucket_make(50, 32);
    unsigned n = 0;
    uint64_t now = 123456789;
    while (bucket_take(&b, now))
        n++;
    assert_int_equal(n, 32);
    assert_int_equal(bucket_next_ns(&b), now + 20000000);
    assert_false(bucket_take(&b, now + 19999999));
    assert_true(bucket_take(&b, now + 20000000));
    assert_false(bucket_take(&b, now + 20000000));
    for (n = 0; bucket_take(&b, now + 3600000000000); n++)
        ;
    assert_int_equal(n, 32); /* never more than full */

    struct bucket none = bucket_make(0, 1);
    for (n = 0; n < 1000; n++)
        assert_true(bucket_take(&none, now));
}

/* Results at 30 Hz with jitter: what passes at several limits in 100 s. */
static void rate_limit_of_results(void **state)
{
    static const struct {
        double limit_hz;
        unsigned least, most;
    } rows[] = {{0, 3000, 3000}, {100, 3000, 3000}, {30, 2950, 3000}, {20, 1990, 2001}, {10, 995, 1001}, {0.5, 50, 51}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct bucket b = bucket_make(rows[i].limit_hz, 1.5);
        unsigned n = 0;
        uint32_t random = 1;
        for (uint64_t k = 0; k < 3000; k++) {
            random = random * 1664525 + 1013904223;
            n += bucket_take(&b, 1000000000 + k * 100000000 / 3 + random % 8000000);
        }
        if (n < rows[i].least || n > rows[i].most)
            fail_msg("limit %g Hz: %u passed", rows[i].limit_hz, n);
    }
}

static void statistics(void **state)
{
    static struct stats s;
    assert_int_equal(stats_rate_mhz(&s, 0), 0);
    stats_sum_up(&s, 0);
    assert_int_equal(s.p50_us, 0);
    for (uint64_t i = 1; i <= 1000; i++)
        stats_add(&s, i * 10000000, i * 10000000 + (i % 100) * 1000);
    uint64_t now = UINT64_C(10000000000);
    assert_int_equal(stats_rate_mhz(&s, now), 100000); /* 100 Hz */
    stats_sum_up(&s, now);
    assert_in_range(s.p50_us, 49, 51);
    assert_in_range(s.p99_us, 97, 99);
    assert_int_equal(stats_rate_mhz(&s, now + UINT64_C(5000000000)), 0); /* none for 5 s */
    for (uint64_t i = 0; i < STATS_WINDOW; i++)
        stats_add(&s, 100, 50); /* a clock that jumps */
    stats_sum_up(&s, now + STATS_SUM_NS - 1);
    assert_in_range(s.p50_us, 49, 51); /* not so soon */
    stats_sum_up(&s, now + STATS_SUM_NS);
    assert_int_equal(s.p50_us, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_then_status_then_results),
        cmocka_unit_test(a_reply_goes_behind_the_frame_in_flight),
        cmocka_unit_test(sixteen_replies_at_most),
        cmocka_unit_test(newest_result_with_count_of_lost_ones),
        cmocka_unit_test(a_new_subscription_forgets),
        cmocka_unit_test(blobs_of_all_sizes_are_reused),
        cmocka_unit_test(one_result_is_formatted_once),
        cmocka_unit_test(bucket_admits_burst_then_rate),
        cmocka_unit_test(rate_limit_of_results),
        cmocka_unit_test(statistics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
