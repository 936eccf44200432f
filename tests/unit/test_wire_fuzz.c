/* Hostile bytes to gaze wire, without a fuzzer: truncations and every single-byte mutation of each golden frame, random
 * bytes, and the corpus of tests/fuzz. Run under the address sanitizer it proves that nothing is read out of bounds. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fuzz/replay.h"
#include "tests/wire/samples.h"

static struct wire_msg msg;
static uint8_t bytes[WIRE_OUT_MAX];

static void put_size(uint8_t *p, size_t size)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(size >> (8 * i));
}

static size_t sample_bytes(unsigned i)
{
    size_t size = 0;

    wire_sample_get(wire_samples[i].name, &msg);
    assert_int_equal(wire_encode(bytes, sizeof(bytes), &msg, &size), 0);
    return size;
}

/* Cut frames whose header admits it are refused (JSON text is only checked for its final newline). */
static void test_truncations(void **state)
{
    for (unsigned i = 0; i < wire_sample_count; i++) {
        size_t size = sample_bytes(i);

        for (size_t cut = WIRE_HEADER_SIZE; cut < size; cut++) {
            uint8_t *frame = malloc(cut);

            memcpy(frame, bytes, cut);
            put_size(frame, cut);
            assert_int_equal(wire_decode(frame, cut, &msg), -EBADMSG);
            LLVMFuzzerTestOneInput(frame, cut);
            free(frame);
        }
    }
}

/* Every other value of every byte in frames of up to 300 bytes, each fifth up to 3000. Of the largest frame three
 * values of every byte up to the end of the first face, and of each 13th byte of the other faces, which are like the
 * first. */
static void test_mutations(void **state)
{
    for (unsigned i = 0; i < wire_sample_count; i++) {
        size_t size = sample_bytes(i);
        unsigned step = size > 3000 ? 85 : size > 300 ? 5 : 1;

        for (size_t at = 0; at<size; at += at> 850 && size > 3000 ? 13 : 1)
            for (unsigned delta = 1; delta < 256; delta += step) {
                bytes[at] = (uint8_t)(bytes[at] + delta);
                LLVMFuzzerTestOneInput(bytes, size);
                bytes[at] = (uint8_t)(bytes[at] - delta);
            }
    }
}

/* Random payloads under valid headers: every type is reached with every small size. */
static void test_random(void **state)
{
    static const uint16_t types[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0xf001, 0xf002, 0xf003, 0xffff};
    unsigned seed = 12345;

    for (unsigned n = 0; n < 60000; n++) {
        size_t size = 16 + (unsigned)rand_r(&seed) % 600;
        uint16_t type = types[(unsigned)rand_r(&seed) % (sizeof(types) / sizeof(types[0]))];

        for (size_t k = 0; k < size; k++)
            bytes[k] = rand_r(&seed) % 3 ? 0 : (uint8_t)rand_r(&seed);
        put_size(bytes, size);
        bytes[4] = (uint8_t)type;
        bytes[5] = (uint8_t)(type >> 8);
        memset(bytes + 12, 0, 4);
        LLVMFuzzerTestOneInput(bytes, size);
        LLVMFuzzerTestOneInput(bytes + 1, size - 1);
    }
}

static void test_corpus(void **state)
{
    assert_true(fuzz_replay("tests/fuzz/corpus/wire", 40) >= 17);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_corpus),
    };

    return cmocka_run_group_tests_name("wire_fuzz", tests, NULL, NULL);
}
