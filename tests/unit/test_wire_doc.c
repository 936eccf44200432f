/* docs/PROTOCOL.md: its worked example is what the code reads and writes, and its tables have the code's numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/wire/samples.h"

static char doc[65536];

static int read_doc(void **state)
{
    doc[wire_read_file("docs/PROTOCOL.md", (uint8_t *)doc, sizeof(doc) - 1)] = 0;
    return 0;
}

/* The bytes of a line: pairs of hex digits up to the first other word. */
static size_t line_bytes(const char *line, uint8_t *out)
{
    size_t n = 0;

    while (*line && *line != '\n') {
        char pair[3] = {0}, *end;

        line += strspn(line, " ");
        if (strcspn(line, " \n") != 2)
            break;
        memcpy(pair, line, 2);
        out[n] = (uint8_t)strtoul(pair, &end, 16);
        if (end != pair + 2)
            break;
        n++;
        line += 2;
    }
    return n;
}

/* The bytes of the block "```hex NAME". */
static size_t block_bytes(const char *name, uint8_t *out)
{
    char head[64];
    const char *p;
    size_t n = 0;

    snprintf(head, sizeof(head), "```hex %s\n", name);
    p = strstr(doc, head);
    assert_non_null(p);
    for (p = strchr(p, '\n') + 1; strncmp(p, "```", 3) != 0; p = strchr(p, '\n') + 1)
        n += line_bytes(p, out + n);
    return n;
}

static void test_examples(void **state)
{
    static const char *const names[] = {"hello", "subscribe", "result_plain"};
    static struct wire_msg want, got;
    uint8_t bytes[4096], again[4096];
    size_t size, again_size;

    for (unsigned i = 0; i < 3; i++) {
        size = block_bytes(names[i], bytes);
        wire_sample_get(names[i], &want);
        memset(&got, 0, sizeof(got));
        assert_int_equal(wire_decode(bytes, size, &got), 0);
        assert_memory_equal(&got, &want, sizeof(got));
        assert_int_equal(wire_encode(again, sizeof(again), &want, &again_size), 0);
        assert_int_equal(again_size, size);
        assert_memory_equal(again, bytes, size);
    }
}

/* Each type's row: "| number | NAME | sender | payload bytes |". */
static void test_type_table(void **state)
{
    static struct wire_msg msg;
    uint8_t bytes[WIRE_OUT_MAX];
    char row[128];
    size_t size;

    for (unsigned i = 0; i < wire_sample_count; i++) {
        const char *p;

        wire_sample_get(wire_samples[i].name, &msg);
        if (msg.type == WIRE_RESULT || msg.flags & WIRE_FLAG_JSON)
            continue;
        assert_int_equal(wire_encode(bytes, sizeof(bytes), &msg, &size), 0);
        snprintf(row, sizeof(row), msg.type >= 0xf000 ? "\n| 0x%x | %s | " : "\n| %u | %s | ", msg.type,
                 wire_type_name(msg.type));
        p = strstr(doc, row);
        assert_non_null(p);
        p = strchr(p + strlen(row), '|') + 1;
        assert_int_equal(strtoul(p, NULL, 10), size - WIRE_HEADER_SIZE);
    }
}

/* Each limit and error code is in the text. */
static void test_numbers(void **state)
{
    static const char *const must[] = {"16 to 256 from a client, 16 to 65536 from the server", "| 1 000 000 mHz |",
                                       "a binary RESULT 12128", "| 16, 78, 32, 8 |", "80 to 12112"};
    char row[64];

    for (unsigned i = 0; i < sizeof(must) / sizeof(must[0]); i++)
        assert_non_null(strstr(doc, must[i]));
    assert_true(WIRE_IN_MAX == 256 && WIRE_OUT_MAX == 65536 && WIRE_RESULT_MAX == 12128);
    assert_true(WIRE_FACES_MAX == 16 && WIRE_LANDMARKS_MAX == 78 && WIRE_AUS_MAX == 32 && WIRE_ZONES_MAX == 8);
    for (unsigned code = 1; strcmp(wire_error_name((uint16_t)code), "unknown") != 0; code++) {
        snprintf(row, sizeof(row), "\n| %u | ", code);
        assert_non_null(strstr(strstr(doc, "### ERROR"), row));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_type_table),
        cmocka_unit_test(test_numbers),
    };

    return cmocka_run_group_tests_name("wire_doc", tests, read_doc, NULL);
}
