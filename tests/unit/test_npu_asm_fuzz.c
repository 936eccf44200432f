/* test_npu_asm_fuzz.c - the corpus of programs of the NPU, as text and as binaries, as it is and damaged, survives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fuzz/replay.h"

static void the_corpus_is_survived(void **state)
{
    assert_true(fuzz_replay("tests/fuzz/corpus/npu_asm", 10) >= 250);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_corpus_is_survived)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
