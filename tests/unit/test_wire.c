/* Gaze wire v1: golden bytes both ways, appended fields, and every limit at its edge. `test_wire --write` makes the
 * golden files; those of a released minor are never made again. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/wire/samples.h"

static struct wire_msg msg, back;
static uint8_t bytes[WIRE_OUT_MAX + 64], golden[WIRE_OUT_MAX + 64];

static void golden_path(char *path, size_t cap, const char *name)
{
    snprintf(path, cap, "tests/wire/golden/%s.bin", name);
}

static size_t encode_ok(const struct wire_msg *m)
{
    size_t size = 0;

    assert_int_equal(wire_encode(bytes, WIRE_OUT_MAX, m, &size), 0);
    return size;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static void test_golden(void **state)
{
    char path[256];

    for (unsigned i = 0; i < wire_sample_count; i++) {
        size_t size, want;

        golden_path(path, sizeof(path), wire_samples[i].name);
        want = wire_read_file(path, golden, sizeof(golden));
        wire_sample_get(wire_samples[i].name, &msg);
        size = encode_ok(&msg);
        assert_int_equal(size, want);
        assert_memory_equal(bytes, golden, want);

        memset(&back, 0, sizeof(back));
        assert_int_equal(wire_decode(golden, want, &back), 0);
        if (msg.flags & WIRE_FLAG_JSON) {
            assert_int_equal(back.json.size, want - WIRE_HEADER_SIZE);
            assert_ptr_equal(back.json.text, golden + WIRE_HEADER_SIZE);
            continue;
        }
        assert_memory_equal(&back, &msg, sizeof(msg));
    }
}

/* Bytes written by hand from PROTOCOL.md, independent of the encoder. */
static void test_hand_written(void **state)
{
    static const uint8_t ping[24] = {24, 0, 0, 0, 10,   0,    0,    0,    6,    0,    0,    0,
                                     0,  0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11};
    static const uint8_t subscribe[32] = {32, 0, 0, 0, 3, 0, 0, 0, 2,    0,    0, 0, 0, 0, 0, 0,
                                          3,  0, 0, 0, 3, 0, 0, 0, 0x98, 0x3a, 0, 0, 1, 0, 0, 0};

    wire_sample_get("ping", &msg);
    assert_int_equal(encode_ok(&msg), sizeof(ping));
    assert_memory_equal(bytes, ping, sizeof(ping));
    wire_sample_get("subscribe", &msg);
    assert_int_equal(encode_ok(&msg), sizeof(subscribe));
    assert_memory_equal(bytes, subscribe, sizeof(subscribe));
}

static void test_every_short_buffer(void **state)
{
    for (unsigned i = 0; i < wire_sample_count; i++) {
        size_t size, ignored = 12345;

        wire_sample_get(wire_samples[i].name, &msg);
        size = encode_ok(&msg);
        for (size_t cap = 0; cap < size; cap++) {
            bytes[cap] = 0xa5;
            assert_int_equal(wire_encode(bytes, cap, &msg, &ignored), -ENOSPC);
            assert_int_equal(ignored, 12345);
            assert_int_equal(bytes[cap], 0xa5);
        }
        assert_int_equal(wire_encode(bytes, size, &msg, &ignored), 0);
    }
}

/* A newer minor appends to every message; the reader sees what it knows. */
static void test_appended_bytes(void **state)
{
    for (unsigned i = 0; i < wire_sample_count; i++) {
        size_t size;

        wire_sample_get(wire_samples[i].name, &msg);
        if (msg.flags & WIRE_FLAG_JSON)
            continue;
        size = encode_ok(&msg);
        memset(bytes + size, 0xee, 24);
        put32(bytes, (uint32_t)size + 24);
        memset(&back, 0, sizeof(back));
        assert_int_equal(wire_decode(bytes, size + 24, &back), 0);
        assert_memory_equal(&back, &msg, sizeof(msg));
    }
}

/* 8 bytes appended to the fixed part of the result, to that of the face and to the face's end are skipped. */
static void test_appended_in_records(void **state)
{
    const size_t face = 16 + 80, fixed = 120;
    static uint8_t newer[WIRE_OUT_MAX];
    size_t size, at = 0, face_size;

    wire_sample_get("result_one", &msg);
    size = encode_ok(&msg);
    face_size = size - face;
    memset(newer, 0xee, sizeof(newer));
    memcpy(newer, bytes, face);
    newer[16] = 88;
    at = face + 8;
    memcpy(newer + at, bytes + face, fixed);
    newer[at] = (uint8_t)(face_size + 16);
    newer[at + 1] = (uint8_t)((face_size + 16) >> 8);
    newer[at + 2] = 128;
    memcpy(newer + at + 128, bytes + face + fixed, face_size - fixed);
    put32(newer, (uint32_t)size + 24);
    memset(&back, 0, sizeof(back));
    assert_int_equal(wire_decode(newer, size + 24, &back), 0);
    assert_memory_equal(&back, &msg, sizeof(msg));
}

/* Only the parts asked for are sent, and the others stay in the caller's result. */
static void test_fields(void **state)
{
    static const size_t extra[8] = {0, 312, 16, 328, 8, 320, 24, 336};

    wire_sample_get("result_one", &msg);
    for (uint32_t fields = 0; fields <= WIRE_FIELDS_ALL; fields++) {
        msg.result.fields = fields;
        assert_int_equal(encode_ok(&msg), 16 + 80 + 120 + extra[fields]);
        assert_int_equal(wire_decode(bytes, 16 + 80 + 120 + extra[fields], &back), 0);
        assert_int_equal(back.result.face[0].landmark_count, fields & WIRE_FIELD_LANDMARKS ? 78 : 0);
        assert_int_equal(back.result.face[0].au_count, fields & WIRE_FIELD_AUS ? 2 : 0);
        assert_int_equal(back.result.face[0].zone_count, fields & WIRE_FIELD_ZONES ? 1 : 0);
    }
}

/* One above each limit is refused by the encoder, and by the decoder when the bytes say so. */
static void test_count_limits(void **state)
{
    const size_t face = 16 + 80;
    size_t size;

    wire_sample_get("result_max", &msg);
    size = encode_ok(&msg);
    assert_int_equal(size, WIRE_RESULT_MAX);
    assert_int_equal(wire_decode(bytes, size, &back), 0);
    msg.result.face_count = WIRE_FACES_MAX + 1;
    assert_int_equal(wire_encode(bytes, WIRE_OUT_MAX, &msg, &size), -EINVAL);
    bytes[18] = WIRE_FACES_MAX + 1;
    assert_int_equal(wire_decode(bytes, size, &back), -EBADMSG);

    wire_sample_get("result_max", &msg);
    msg.result.face[3].landmark_count++;
    assert_int_equal(wire_encode(bytes, WIRE_OUT_MAX, &msg, &size), -EINVAL);
    msg.result.face[3].landmark_count--;
    msg.result.face[3].au_count++;
    assert_int_equal(wire_encode(bytes, WIRE_OUT_MAX, &msg, &size), -EINVAL);
    msg.result.face[3].au_count--;
    msg.result.face[3].zone_count++;
    assert_int_equal(wire_encode(bytes, WIRE_OUT_MAX, &msg, &size), -EINVAL);
    msg.result.face[3].zone_count--;
    size = encode_ok(&msg);
    for (unsigned i = 4; i < 8; i++) { /* landmark count (2 bytes), AU count, zone count */
        bytes[face + i]++;
        assert_int_equal(wire_decode(bytes, size, &back), -EBADMSG);
        bytes[face + i]--;
    }
    assert_int_equal(wire_decode(bytes, size, &back), 0);
}

static void test_floats(void **state)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY, 1000001.0f, -1000001.0f};
    size_t size;

    wire_sample_get("result_plain", &msg);
    msg.result.face[0].origin_mm[2] = WIRE_VALUE_MAX;
    msg.result.face[0].box_px[0] = -WIRE_PIXEL_MAX;
    size = encode_ok(&msg);
    assert_int_equal(wire_decode(bytes, size, &back), 0);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint32_t bits;

        wire_sample_get("result_plain", &msg);
        size = encode_ok(&msg);
        msg.result.face[0].yaw_deg = bad[i];
        assert_int_equal(wire_encode(golden, sizeof(golden), &msg, &size), -EINVAL);
        msg.flags = WIRE_FLAG_JSON;
        assert_int_equal(wire_encode(golden, sizeof(golden), &msg, &size), -EINVAL);
        memcpy(&bits, &bad[i], 4);
        for (size_t at = 16 + 80 + 16; at < size; at += 4) { /* each float of the face */
            uint8_t keep[4];

            memcpy(keep, bytes + at, 4);
            put32(bytes + at, bits);
            assert_int_equal(wire_decode(bytes, size, &back), -EBADMSG);
            memcpy(bytes + at, keep, 4);
        }
        assert_int_equal(wire_decode(bytes, size, &back), 0);
    }
    wire_sample_get("result_plain", &msg);
    msg.result.face[0].box_px[1] = WIRE_PIXEL_MAX + 1;
    assert_int_equal(wire_encode(bytes, WIRE_OUT_MAX, &msg, &size), -EINVAL);
}

static void test_landmarks_saturate(void **state)
{
    size_t size;

    wire_sample_get("result_one", &msg);
    msg.result.face[0].landmark_px[0][0] = msg.result.face[0].box_px[0] + 9000;
    msg.result.face[0].landmark_px[0][1] = msg.result.face[0].box_px[1] - 9000;
    msg.result.face[0].landmark_px[1][0] = msg.result.face[0].box_px[0] + 0.05f;
    size = encode_ok(&msg);
    assert_int_equal(wire_decode(bytes, size, &back), 0);
    assert_true(back.result.face[0].landmark_px[0][0] == back.result.face[0].box_px[0] + 4095.875f);
    assert_true(back.result.face[0].landmark_px[0][1] == back.result.face[0].box_px[1] - 4096.0f);
    assert_true(back.result.face[0].landmark_px[1][0] == back.result.face[0].box_px[0]);
    msg.result.face[0].landmark_px[77][1] = NAN;
    assert_int_equal(wire_encode(bytes, WIRE_OUT_MAX, &msg, &size), -EINVAL);
}

static void test_text(void **state)
{
    static const char *const bad[] = {
        "\x01", "a\nb", "\x7f", "\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc2\x9b", "\xe2\x82"};
    char field[8];
    size_t size;

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        wire_sample_get("hello", &msg);
        size = encode_ok(&msg);
        strcpy((char *)bytes + 24, bad[i]);
        assert_int_equal(wire_decode(bytes, size, &back), -EBADMSG);
        strcpy(msg.hello.client, bad[i]);
        assert_int_equal(wire_encode(bytes, WIRE_OUT_MAX, &msg, &size), -EINVAL);
        wire_set_text(msg.hello.client, sizeof(msg.hello.client), bad[i]);
        assert_non_null(strchr(msg.hello.client, '?'));
        encode_ok(&msg);
    }
    wire_sample_get("hello", &msg);
    memset(msg.hello.client, 'x', WIRE_NAME_MAX);
    assert_int_equal(wire_encode(bytes, WIRE_OUT_MAX, &msg, &size), -EINVAL);
    msg.hello.client[WIRE_NAME_MAX - 1] = 0;
    size = encode_ok(&msg);
    assert_int_equal(wire_decode(bytes, size, &back), 0);
    assert_string_equal(back.hello.client, msg.hello.client);
    bytes[size - 1] = 'x'; /* the last NUL */
    assert_int_equal(wire_decode(bytes, size, &back), -EBADMSG);

    wire_set_text(field, sizeof(field), "1234567890");
    assert_string_equal(field, "1234567");
    wire_set_text(field, sizeof(field), "12345\xc3\xa4\xc3\xa4"); /* the second a-umlaut would be cut in half */
    assert_string_equal(field, "12345\xc3\xa4");
    wire_set_text(field, sizeof(field), NULL);
    assert_memory_equal(field, "\0\0\0\0\0\0\0\0", 8);
}

static void test_peek(void **state)
{
    struct wire_header h = {.size = 99};
    uint8_t b[WIRE_IN_MAX] = {0};

    put32(b, WIRE_IN_MAX);
    b[4] = WIRE_PING;
    b[8] = 42;
    for (size_t len = 0; len < WIRE_HEADER_SIZE; len++)
        assert_int_equal(wire_peek(b, len, WIRE_IN_MAX, &h), 0);
    assert_int_equal(h.size, 99);
    assert_int_equal(wire_peek(b, WIRE_IN_MAX - 1, WIRE_IN_MAX, &h), 0);
    assert_int_equal(h.size, WIRE_IN_MAX);
    assert_int_equal(h.serial, 42);
    assert_int_equal(wire_peek(b, WIRE_IN_MAX, WIRE_IN_MAX, &h), 1);
    put32(b, WIRE_IN_MAX + 1);
    assert_int_equal(wire_peek(b, WIRE_IN_MAX, WIRE_IN_MAX, &h), -EMSGSIZE);
    put32(b, WIRE_HEADER_SIZE - 1);
    assert_int_equal(wire_peek(b, WIRE_IN_MAX, WIRE_IN_MAX, &h), -EBADMSG);
    put32(b, 24);
    b[12] = 1;
    assert_int_equal(wire_peek(b, WIRE_IN_MAX, WIRE_IN_MAX, &h), -EBADMSG);
}

static void test_types(void **state)
{
    unsigned from_client = 0;

    for (unsigned t = 0; t <= 0xffff; t++) {
        unsigned who = wire_type_senders((uint16_t)t);

        if (who & WIRE_FROM_CLIENT) {
            assert_true(t < 0xf000);
            from_client++;
        }
        if (who)
            assert_string_not_equal(wire_type_name((uint16_t)t), "unknown");
        if (t >= 0xf000)
            assert_int_equal(who & (WIRE_FROM_CLIENT | WIRE_FROM_SERVER), 0);
    }
    assert_int_equal(from_client, 6);

    wire_sample_get("ping", &msg);
    encode_ok(&msg);
    bytes[4] = 99;
    assert_int_equal(wire_decode(bytes, 24, &back), -EOPNOTSUPP);
    assert_int_equal(back.type, 99);
    assert_int_equal(back.serial, 6);
    assert_int_equal(wire_decode(bytes, 23, &back), -EBADMSG);
    msg.type = 0;
    assert_int_equal(wire_encode(bytes, WIRE_OUT_MAX, &msg, &(size_t){0}), -EOPNOTSUPP);
    assert_string_equal(wire_state_name(WIRE_WAITING_FOR_CAMERA), "waiting-for-camera");
    assert_string_equal(wire_state_name(999), "unknown");
    assert_string_equal(wire_error_name(WIRE_E_RATE), "too many requests");
    assert_string_equal(wire_device_kind_name(WIRE_DEVICE_NPU), "npu");
}

static void test_client_messages_fit(void **state)
{
    for (unsigned i = 0; i < wire_sample_count; i++) {
        wire_sample_get(wire_samples[i].name, &msg);
        if (wire_type_senders(msg.type) & WIRE_FROM_CLIENT)
            assert_true(encode_ok(&msg) <= WIRE_IN_MAX);
    }
}

static void test_check_subscribe(void **state)
{
    struct wire_subscribe s = {
        .topics = 0xffffffff, .fields = 0xffffffff, .rate_mhz = WIRE_RATE_MAX_MHZ, .encoding = WIRE_JSON};

    assert_int_equal(wire_check_subscribe(&s), 0);
    s.rate_mhz++;
    assert_int_equal(wire_check_subscribe(&s), -EINVAL);
    s.rate_mhz = 0;
    s.encoding = 2;
    assert_int_equal(wire_check_subscribe(&s), -EINVAL);
    s.encoding = 0;
    s.topics = 0;
    assert_int_equal(wire_check_subscribe(&s), -EINVAL);
}

static void test_patch(void **state)
{
    size_t size, again;

    for (unsigned json = 0; json < 2; json++) {
        wire_sample_get(json ? "result_json" : "result_one", &msg);
        size = encode_ok(&msg);
        assert_int_equal(wire_patch_dropped(bytes, size, UINT32_MAX), 0);
        assert_int_equal(wire_patch_publish(bytes, size, UINT64_MAX), 0);
        msg.result.dropped_since_last = UINT32_MAX;
        msg.result.publish_ns = UINT64_MAX;
        assert_int_equal(wire_encode(golden, WIRE_OUT_MAX, &msg, &again), 0);
        assert_int_equal(size, again);
        assert_memory_equal(bytes, golden, size);
        assert_int_equal(wire_patch_dropped(bytes, size, 0), 0);
        assert_int_equal(wire_patch_publish(bytes, size, 7), 0);
        msg.result.dropped_since_last = 0;
        msg.result.publish_ns = 7;
        assert_int_equal(wire_encode(golden, WIRE_OUT_MAX, &msg, &again), 0);
        assert_memory_equal(bytes, golden, size);
        assert_int_equal(wire_patch_dropped(bytes, size - 1, 0), -EINVAL);
    }
    wire_sample_get("status_json", &msg);
    size = encode_ok(&msg);
    assert_int_equal(wire_patch_dropped(bytes, size, 0), -EINVAL);
}

/* The longest JSON text there can be fits the outbound limit. */
static void test_json_largest(void **state)
{
    size_t size;

    wire_sample_get("result_max", &msg);
    msg.flags = WIRE_FLAG_JSON;
    msg.result.seq = msg.result.capture_ns = UINT64_MAX;
    msg.result.camera_id = UINT32_MAX;
    memset(msg.result.device, '"', WIRE_NAME_MAX - 1);
    for (unsigned i = 0; i < WIRE_FACES_MAX; i++) {
        struct wire_face *f = &msg.result.face[i];

        f->id = UINT32_MAX;
        f->flags = UINT32_MAX;
        for (float *v = &f->score; v <= &f->screen[1]; v++)
            *v = -WIRE_VALUE_MAX;
        for (unsigned k = 0; k < WIRE_LANDMARKS_MAX; k++)
            f->landmark_px[k][0] = f->landmark_px[k][1] = -WIRE_PIXEL_MAX - 4096;
        for (unsigned k = 0; k < WIRE_AUS_MAX; k++)
            f->au[k] = (struct wire_au){.au = UINT16_MAX, .side = 1, .intensity = -WIRE_VALUE_MAX};
        for (unsigned k = 0; k < WIRE_ZONES_MAX; k++)
            f->zone[k] = (struct wire_zone){.id = UINT32_MAX, .dwell_ms = UINT32_MAX};
    }
    size = encode_ok(&msg);
    assert_true(size <= WIRE_OUT_MAX);
    print_message("# the largest JSON result has %zu bytes\n", size);

    wire_sample_get("status_json", &msg);
    memset(msg.status.why, '\\', WIRE_TEXT_MAX - 1);
    memset(msg.status.text, '"', WIRE_TEXT_MAX - 1);
    encode_ok(&msg);
}

static void test_json_numbers(void **state)
{
    size_t size;

    wire_sample_get("result_json", &msg);
    msg.result.face[0].yaw_deg = -0.0004f;
    msg.result.face[0].pitch_deg = -12.3456f;
    size = encode_ok(&msg);
    bytes[size] = 0;
    assert_non_null(strstr((char *)bytes + 16, "\"gaze\":{\"yaw\":0.000,\"pitch\":-12.346,"));
    assert_non_null(strstr((char *)bytes + 16, "\"au\":{\"AU1\":0.00,\"AU2L\":0.13}"));
    assert_non_null(strstr((char *)bytes + 16, "\"head\":null"));
}

static int write_golden(void)
{
    for (unsigned i = 0; i < wire_sample_count; i++) {
        char path[256];
        size_t size;
        FILE *f;

        golden_path(path, sizeof(path), wire_samples[i].name);
        wire_sample_get(wire_samples[i].name, &msg);
        f = wire_encode(bytes, WIRE_OUT_MAX, &msg, &size) == 0 ? fopen(path, "wb") : NULL;
        if (!f || fwrite(bytes, 1, size, f) != size || fclose(f) != 0)
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_hand_written),
        cmocka_unit_test(test_every_short_buffer),
        cmocka_unit_test(test_appended_bytes),
        cmocka_unit_test(test_appended_in_records),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_count_limits),
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_landmarks_saturate),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_peek),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_client_messages_fit),
        cmocka_unit_test(test_check_subscribe),
        cmocka_unit_test(test_patch),
        cmocka_unit_test(test_json_largest),
        cmocka_unit_test(test_json_numbers),
    };

    if (argc > 1 && strcmp(argv[1], "--write") == 0)
        return write_golden();
    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
