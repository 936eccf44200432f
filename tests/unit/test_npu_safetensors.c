/* test_npu_safetensors.c - files: good ones, a table of bad ones, every limit, every truncation, thousands of
 * mutations; loading into a plan is all or nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "libnpu/dtype.h"
#include "libnpu/rng.h"
#include "libnpu/safetensors.h"
#include "tests/fuzz/replay.h"
#include "tests/unit/npu_helpers.h"

static const struct npu_init zero = {.kind = NPU_INIT_ZERO};

/* A file in memory: header text and n data bytes 0, 1, 2, ... */
static unsigned char *make_file(const char *header, size_t n_data, size_t *ret_size)
{
    size_t n = strlen(header);
    unsigned char *b = malloc(8 + n + n_data + 1);

    assert_non_null(b);
    for (int i = 0; i < 8; i++)
        b[i] = (unsigned char)((uint64_t)n >> (8 * i));
    memcpy(b + 8, header, n);
    for (size_t i = 0; i < n_data; i++)
        b[8 + n + i] = (unsigned char)i;
    *ret_size = 8 + n + n_data;
    return b;
}

static int open_text(const char *header, size_t n_data, char *why, size_t why_size)
{
    struct st_file *f = NULL;
    size_t size;
    unsigned char *b = make_file(header, n_data, &size);
    int r = st_open_bytes(b, size, &f, why, why_size);

    assert_true((r == 0) == (f != NULL));
    st_close(f);
    free(b);
    return r;
}

static void good_files_are_read(void **state)
{
    const char *header =
        "{\"__metadata__\":{\"format\":\"pt\",\"q\\u00e4\\n\":\"\\ud83d\\ude00\"}, \"b\" : {\"dtype\":\"U8\","
        "\"shape\":[2,2],\"data_offsets\":[8,12]},\"a\":{\"data_offsets\":[0,8],\"shape\":[ 4 ],"
        "\"dtype\":\"BF16\"},\"empty\":{\"dtype\":\"F32\",\"shape\":[0,3],\"data_offsets\":[12,12]},"
        "\"s\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[12,20]}}   ";
    struct st_file *f;
    char why[256] = "";
    size_t size;
    unsigned char *b = make_file(header, 20, &size);
    float x[4];

    assert_int_equal(st_open_bytes(b, size, &f, why, sizeof why), 0);
    assert_int_equal(st_n_tensors(f), 4);
    assert_string_equal(st_tensor(f, 0)->name, "a");
    assert_string_equal(st_tensor(f, 3)->name, "s");
    assert_null(st_tensor(f, 4));
    assert_null(st_tensor(f, -1));
    assert_null(st_find(f, "c"));
    assert_int_equal(st_find(f, "b")->shape.rank, 2);
    assert_int_equal(((const uint8_t *)st_find(f, "b")->data)[0], 8);
    assert_int_equal(st_read_f32(st_find(f, "b"), 1, 3, x), 0);
    assert_float_equal(x[2], 11, 0);
    assert_int_equal(st_read_f32(st_find(f, "b"), 1, 4, x), -ERANGE);
    assert_int_equal(st_read_f32(st_find(f, "s"), 0, 1, x), -EOPNOTSUPP);
    assert_int_equal(st_read_f32(st_find(f, "a"), 0, 4, x), 0);
    assert_float_equal(x[0], npu_bf16_to_f32(0x0100), 0);
    assert_string_equal(st_metadata(f, "format"), "pt");
    assert_string_equal(st_metadata(f, "q\303\244\n"), "\360\237\230\200");
    assert_null(st_metadata(f, "none"));
    st_close(f);
    free(b);
}

#define T(NAME, SHAPE, BEGIN, END)                                                                                     \
    "\"" NAME "\":{\"dtype\":\"F32\",\"shape\":" SHAPE ",\"data_offsets\":[" #BEGIN "," #END "]}"

static void bad_headers_are_refused(void **state)
{
    static const struct {
        const char *header;
        size_t n_data;
        int expect;
        const char *text;
    } cases[] = {
        {"", 0, -EBADMSG, "{"},
        {"{", 0, -EBADMSG, ""},
        {"[]", 0, -EBADMSG, ""},
        {"{} x", 0, -EBADMSG, "follows"},
        {"{" T("a", "[2]", 0, 8) "}", 7, -EBADMSG, "outside"},
        {"{" T("a", "[2]", 8, 0) "}", 8, -EBADMSG, "outside"},
        {"{" T("a", "[2]", 0, 4) "}", 8, -EBADMSG, "shape"},
        {"{" T("a", "[2]", 0, 8) "," T("a", "[2]", 8, 16) "}", 16, -EBADMSG, "twice"},
        {"{" T("a", "[2]", 0, 8) "," T("b", "[2]", 4, 12) "}", 16, -EBADMSG, "overlap"},
        {"{" T("a", "[2]", 0, 8) "," T("b", "[2]", 0, 8) "}", 16, -EBADMSG, "overlap"},
        {"{" T("a", "[9223372036854775807]", 0, 8) "}", 8, -E2BIG, "elements"},
        {"{" T("a", "[9223372036854775808]", 0, 8) "}", 8, -EBADMSG, "large"},
        {"{" T("a", "[4294967296,4294967296,4]", 0, 0) "}", 8, -E2BIG, "elements"},
        {"{" T("a", "[1,1,1,1,1,1,2]", 0, 8) "}", 8, -E2BIG, "dimensions"},
        {"{" T("a", "[-2]", 0, 8) "}", 8, -EBADMSG, "whole"},
        {"{" T("a", "[2.0]", 0, 8) "}", 8, -EBADMSG, "whole"},
        {"{" T("a", "[2e0]", 0, 8) "}", 8, -EBADMSG, "whole"},
        {"{" T("a", "[02]", 0, 8) "}", 8, -EBADMSG, "zeros"},
        {"{" T("a", "[2,]", 0, 8) "}", 8, -EBADMSG, "whole"},
        {"{" T("a", "[2]", 0, 18446744073709551624) "}", 8, -EBADMSG, "large"},
        {"{\"a\":{\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, -EOPNOTSUPP, "F33"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, -EBADMSG, "lacks"},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, -EBADMSG, "twice"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8, -EBADMSG, "unknown field"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,9]}}", 8, -EBADMSG, ""},
        {"{\"a\":[]}", 8, -EBADMSG, ""},
        {"{\"a\\u0000b\":{}}", 8, -EBADMSG, "character"},
        {"{\"a\\ud800\":{}}", 8, -EBADMSG, "surrogate"},
        {"{\"\\x\":{}}", 8, -EBADMSG, "escape"},
        {"{\"a\nb\":{}}", 8, -EBADMSG, "control"},
        {"{\"__metadata__\":{\"a\":1}}", 0, -EBADMSG, "string"},
        {"{\"__metadata__\":{\"a\":\"b\"}", 0, -EBADMSG, ""},
        {"{" T("a", "[2]", 0, 8) ",}", 8, -EBADMSG, "string"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char why[256] = "";
        int r = open_text(cases[i].header, cases[i].n_data, why, sizeof why);

        if (r != cases[i].expect || !strstr(why, cases[i].text))
            fail_msg("%s: %d \"%s\"", cases[i].header, r, why);
    }
}

static void limits_hold(void **state)
{
    unsigned char head[16] = {0};
    struct st_file *f = NULL;
    char why[256], *text;
    size_t size;
    FILE *out;

    for (size_t n = 0; n < 8; n++)
        assert_int_equal(st_open_bytes(head, n, &f, why, sizeof why), -EBADMSG);
    memset(head, 0xff, 8);
    assert_int_equal(st_open_bytes(head, 16, &f, why, sizeof why), -E2BIG);
    memset(head, 0, 8);
    head[0] = 9;
    assert_int_equal(st_open_bytes(head, 16, &f, why, sizeof why), -EBADMSG);
    head[0] = 1;
    head[3] = 1; /* 16 MiB + 1 */
    assert_int_equal(st_open_bytes(head, 16, &f, why, sizeof why), -E2BIG);
    for (int extra = 0; extra < 2; extra++) { /* one name as long as allowed, one longer */
        char name[ST_MAX_NAME + 1];

        memset(name, 'n', sizeof name);
        name[ST_MAX_NAME - 1 + extra] = '\0';
        out = open_memstream(&text, &size);
        fprintf(out, "{\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", name);
        fclose(out);
        assert_int_equal(open_text(text, 1, why, sizeof why), extra ? -EBADMSG : 0);
        free(text);
    }
    for (int extra = 0; extra < 2; extra++) { /* tensors */
        out = open_memstream(&text, &size);
        for (int i = 0; i < ST_MAX_TENSORS + extra; i++)
            fprintf(out, "%s\"%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}", i ? "," : "{", i);
        fputc('}', out);
        fclose(out);
        assert_int_equal(open_text(text, 1, why, sizeof why), extra ? -E2BIG : 0);
        free(text);
    }
    for (int extra = 0; extra < 2; extra++) { /* metadata */
        out = open_memstream(&text, &size);
        fputs("{\"__metadata__\":", out);
        for (int i = 0; i < ST_MAX_METADATA + extra; i++)
            fprintf(out, "%s\"%d\":\"\"", i ? "," : "{", i);
        fputs("}}", out);
        fclose(out);
        assert_int_equal(open_text(text, 1, why, sizeof why), extra ? -E2BIG : 0);
        free(text);
    }
}

static void mutations_are_survived(void **state)
{
    const char *header = "{\"__metadata__\":{\"k\":\"v\\u00e4\"}," T("a.weight", "[2,3]", 0, 24) "," T(
        "b", "[]", 24, 28) ","
                           "\"c\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[28,36]}}";
    static const char tokens[] = "{}[]:,\"\\0123456789eu-";
    size_t size, at = 0;
    unsigned char *b = make_file(header, 36, &size);

    for (size_t n = 0; n <= size; n++) { /* in memory of exactly that size, so that a sanitizer sees each step beyond */
        unsigned char *c = malloc(n + !n);

        memcpy(c, b, n);
        LLVMFuzzerTestOneInput(c, n);
        free(c);
    }
    for (int round = 0; round < 20000; round++) {
        unsigned char *c = malloc(size);
        int changes = 1 + (int)(npu_rng_u64(5, at++) % 3);

        memcpy(c, b, size);
        for (int i = 0; i < changes; i++) {
            uint64_t u = npu_rng_u64(6, at++);
            // NOLINTNEXTLINE(clang-analyzer-core.DivideZero): the file is not empty
            size_t where = (u >> 8) % (u & 1 ? size : strlen(header) + 8);

            c[where] = u & 2 ? (unsigned char)tokens[(u >> 40) % (sizeof tokens - 1)] : (unsigned char)(u >> 32);
        }
        LLVMFuzzerTestOneInput(c, size);
        free(c);
    }
    free(b);
}

/* What the fuzzer starts from and what it once found. */
static void the_corpus_is_replayed(void **state)
{
    assert_true(fuzz_replay("tests/fuzz/corpus/safetensors", 20) >= 105);
}

static void deep_nesting_is_refused(void **state)
{
    char text[4096] = "{\"a\":", why[256];

    memset(text + 5, '[', 4000);
    assert_int_equal(open_text(text, 0, why, sizeof why), -EBADMSG);
}

static void files_that_are_no_files(void **state)
{
    struct st_file *f = NULL;
    char why[256] = "", empty[] = "/tmp/npu-test-XXXXXX";
    int fd = mkstemp(empty);

    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(st_open("/nonexistent/file", &f, why, sizeof why), -ENOENT);
    assert_int_equal(st_open("/tmp", &f, why, sizeof why), -EISDIR);
    assert_int_equal(st_open("/dev/null", &f, why, sizeof why), -EINVAL);
    assert_int_equal(st_open(empty, &f, why, sizeof why), -EBADMSG);
    assert_null(f);
    unlink(empty);
}

static void written_files_come_back(void **state)
{
    const char *const meta[] = {"a\"b", "line\nline \\ \001", "n", "1", NULL};
    const float x[6] = {1, -2, 3.5f, 0, 1e-30f, 1e30f};
    const uint8_t u[3] = {1, 2, 255};
    struct st_source src[] = {
        {"x", NPU_F32, {2, {2, 3}}, x}, {"e", NPU_BF16, {2, {0, 3}}, NULL}, {"u", NPU_U8, {1, {3}}, u}};
    char path[] = "/tmp/npu-test-XXXXXX", why[256];
    struct st_file *f;
    struct stat st;
    int fd = mkstemp(path);

    close(fd);
    assert_int_equal(st_write(path, src, 3, meta), 0);
    assert_int_equal(st_open(path, &f, why, sizeof why), 0);
    assert_int_equal(st_n_tensors(f), 3);
    assert_memory_equal(st_find(f, "x")->data, x, sizeof x);
    assert_memory_equal(st_find(f, "u")->data, u, sizeof u);
    assert_int_equal((uintptr_t)st_find(f, "x")->data % 64, 0);
    assert_string_equal(st_metadata(f, meta[0]), meta[1]);
    st_close(f);
    stat(path, &st);
    src[1].name = "x";
    assert_int_equal(st_write(path, src, 3, meta), -EEXIST);
    src[1].name = "__metadata__";
    assert_int_equal(st_write(path, src, 3, meta), -EINVAL);
    assert_int_equal(st_open(path, &f, why, sizeof why), 0); /* the old one is still there */
    st_close(f);
    assert_int_equal(st_write("/nonexistent/dir/file", src, 1, NULL), -ENOENT);
    assert_int_equal(st_write(path, src, 0, NULL), 0);
    assert_int_equal(st_open(path, &f, why, sizeof why), 0);
    assert_int_equal(st_n_tensors(f), 0);
    st_close(f);
    unlink(path);
}

/* ---- plans ---- */
static npu_plan *small_plan(npu_dev *dev, npu_graph **ret_graph)
{
    npu_plan *p;

    npu_graph_new(0, ret_graph);
    npu_param(*ret_graph, "w", 2, (int64_t[]){2, 3}, zero);
    npu_state(*ret_graph, "s", NPU_BF16, 1, (int64_t[]){2}, zero);
    assert_int_equal(npu_plan_new(dev, *ret_graph, NULL, &p), 0);
    return p;
}

static void loading_is_all_or_nothing(void **state)
{
    const float w[6] = {1, 2, 3, 4, 5, 6}, s[2] = {0.5f, -1.25f};
    const uint16_t w16[6] = {0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600};
    const struct {
        struct st_source t[3];
        int n;
        bool strict;
        int expect;
        const char *text[2];
    } cases[] = {
        {{{"w", NPU_F32, {2, {2, 3}}, w}, {"s", NPU_F32, {1, {2}}, s}}, 2, true, 0, {"", ""}},
        {{{"w", NPU_F16, {2, {2, 3}}, w16}, {"s", NPU_F32, {1, {2}}, s}}, 2, true, 0, {"", ""}},
        {{{"s", NPU_F32, {1, {2}}, s}, {"w", NPU_F32, {2, {3, 2}}, w}}, 2, false, -EINVAL, {"[3,2]", "[2,3]"}},
        {{{"s", NPU_F32, {1, {2}}, s}, {"w", NPU_F32, {1, {6}}, w}}, 2, false, -EINVAL, {"[6]", "[2,3]"}},
        {{{"s", NPU_F32, {1, {2}}, s}}, 1, false, -EINVAL, {"\"w\"", "missing"}},
        {{{"s", NPU_F32, {1, {2}}, s}, {"w", NPU_I32, {2, {2, 3}}, w}}, 2, false, -EINVAL, {"I32", "f32"}},
        {{{"w", NPU_F32, {2, {2, 3}}, w}, {"s", NPU_F32, {1, {2}}, s}, {"z", NPU_F32, {1, {2}}, s}},
         3,
         false,
         0,
         {"", ""}},
        {{{"w", NPU_F32, {2, {2, 3}}, w}, {"s", NPU_F32, {1, {2}}, s}, {"z", NPU_F32, {1, {2}}, s}},
         3,
         true,
         -EINVAL,
         {"\"z\"", "not in the model"}},
    };
    char path[] = "/tmp/npu-test-XXXXXX";
    npu_graph *g;
    npu_ctx *ctx = open_ctx();
    npu_dev *dev;
    int fd = mkstemp(path);

    close(fd);
    assert_int_equal(npu_dev_open(ctx, "ref", &dev), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        npu_plan *p = small_plan(dev, &g);
        float before[6] = {9, 9, 9, 9, 9, 9}, after[6];
        uint16_t s_before[2] = {0x4000, 0x4000}, s_after[2];

        npu_plan_write(p, "w", before, sizeof before);
        npu_plan_write(p, "s", s_before, sizeof s_before);
        assert_int_equal(st_write(path, cases[i].t, cases[i].n, NULL), 0);
        assert_int_equal(npu_plan_load(p, path, cases[i].strict), cases[i].expect);
        assert_non_null(strstr(npu_plan_error(p), cases[i].text[0]));
        assert_non_null(strstr(npu_plan_error(p), cases[i].text[1]));
        npu_plan_read(p, "w", after, sizeof after);
        npu_plan_read(p, "s", s_after, sizeof s_after);
        assert_memory_equal(after, cases[i].expect ? before : w, sizeof after);
        assert_int_equal(s_after[1], cases[i].expect ? 0x4000 : 0xbfa0);
        npu_plan_free(p);
        npu_graph_free(g);
    }
    unlink(path);
    npu_dev_close(dev);
    npu_ctx_free(ctx);
}

static void a_missing_file_is_named(void **state)
{
    npu_ctx *ctx = open_ctx();
    npu_graph *g;
    npu_dev *dev;
    npu_plan *p;

    assert_int_equal(npu_dev_open(ctx, "ref", &dev), 0);
    p = small_plan(dev, &g);
    assert_int_equal(npu_plan_load(p, "/nonexistent.safetensors", true), -ENOENT);
    assert_non_null(strstr(npu_plan_error(p), "/nonexistent.safetensors"));
    npu_plan_free(p);
    npu_graph_free(g);
    npu_dev_close(dev);
    npu_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files_are_read),
        cmocka_unit_test(bad_headers_are_refused),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(mutations_are_survived),
        cmocka_unit_test(the_corpus_is_replayed),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(files_that_are_no_files),
        cmocka_unit_test(written_files_come_back),
        cmocka_unit_test(loading_is_all_or_nothing),
        cmocka_unit_test(a_missing_file_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
