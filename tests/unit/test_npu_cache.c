/* test_npu_cache.c - the cache of program binaries: used, repaired, and never in the way; a process may open devices
 * again and again. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "libnpu/dev/cl.h"
#include "tests/unit/npu_helpers.h"

static char dir[] = "/tmp/npu-test-XXXXXX";

static void entry(char *buf, size_t size, uint64_t key)
{
    snprintf(buf, size, "%s/%016llx.npc", dir, (unsigned long long)key);
}

static void entries_come_back(void **state)
{
    const unsigned char bytes[] = "a program";
    unsigned char *got;
    size_t size;

    assert_int_equal(cl_cache_read(dir, 1, &got, &size), -ENOENT);
    assert_int_equal(cl_cache_write(dir, 1, bytes, sizeof bytes), 0);
    assert_int_equal(cl_cache_read(dir, 1, &got, &size), 0);
    assert_int_equal(size, sizeof bytes);
    assert_memory_equal(got, bytes, size);
    free(got);
    assert_int_equal(cl_cache_read(dir, 2, &got, &size), -ENOENT);
    cl_cache_remove(dir, 1);
    assert_int_equal(cl_cache_read(dir, 1, &got, &size), -ENOENT);
}

/* Every byte of an entry, changed or cut off, makes it vanish. */
static void damage_is_seen_and_deleted(void **state)
{
    const unsigned char bytes[40] = {1, 2, 3};
    unsigned char *got = NULL;
    char path[4096];
    struct stat st;
    size_t size;

    entry(path, sizeof path, 7);
    assert_int_equal(cl_cache_write(dir, 7, bytes, sizeof bytes), 0);
    assert_int_equal(stat(path, &st), 0);
    for (off_t i = 0; i <= st.st_size; i++)
        for (int cut = 0; cut < 2; cut++) {
            unsigned char b;
            int fd;

            if (cut && i == st.st_size)
                continue;
            assert_int_equal(cl_cache_write(dir, 7, bytes, sizeof bytes), 0);
            fd = open(path, O_RDWR);
            if (cut) {
                assert_int_equal(ftruncate(fd, i), 0);
            } else { /* at st_size: one byte more */
                b = 0;
                if (i < st.st_size)
                    assert_int_equal(pread(fd, &b, 1, i), 1);
                b ^= 0x10;
                assert_int_equal(pwrite(fd, &b, 1, i), 1);
            }
            close(fd);
            assert_int_equal(cl_cache_read(dir, 7, &got, &size), -ENOENT);
            assert_int_equal(access(path, F_OK), -1);
        }
    assert_null(got);
}

static void keys_depend_on_every_part(void **state)
{
    const char *a[] = {"x", "yz"}, *b[] = {"xy", "z"}, *c[] = {"x", "yz", ""};

    assert_int_not_equal(cl_cache_key(a, 2), cl_cache_key(b, 2));
    assert_int_not_equal(cl_cache_key(a, 2), cl_cache_key(c, 3));
    assert_int_equal(cl_cache_key(a, 2), cl_cache_key(a, 2));
}

/* 0 or the failure of opening OpenCL; runs scale on it with this cache folder, which serves with PoCL too if `force`.
 */
static int run_scale(const char *cache, bool force)
{
    const int64_t n = 3;
    float x[3] = {1, 2, 3}, y[3] = {0};
    npu_ctx *ctx = NULL;
    npu_graph *g;
    npu_plan *p;
    npu_dev *d;

    assert_int_equal(npu_ctx_new(cache, &ctx), 0);
    d = open_cl(ctx);
    if (!d) {
        npu_ctx_free(ctx);
        return -ENODEV;
    }
    if (force && !((struct cl_dev *)d)->cache_dir)
        ((struct cl_dev *)d)->cache_dir = strdup(cache);
    npu_graph_new(0, &g);
    npu_output(g, "y", npu_scale(g, npu_input(g, "x", NPU_F32, 1, &n), 2, 1));
    assert_int_equal(npu_plan_new(d, g, NULL, &p), 0);
    assert_int_equal(npu_plan_write(p, "x", x, sizeof x), 0);
    assert_int_equal(npu_plan_run(p), 0);
    assert_int_equal(npu_plan_read(p, "y", y, sizeof y), 0);
    assert_float_equal(y[2], 7, 0);
    npu_plan_free(p);
    npu_graph_free(g);
    npu_dev_close(d);
    npu_ctx_free(ctx);
    return 0;
}

static int for_each_entry(int (*f)(const char *path)) /* how many entries, or the sum of f's results */
{
    DIR *h = opendir(dir);
    struct dirent *e;
    char path[4096];
    int n = 0;

    while (h && (e = readdir(h)))
        if (strstr(e->d_name, ".npc")) {
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            n += f ? f(path) : 1;
        }
    if (h)
        closedir(h);
    return n;
}

static int damage(const char *path)
{
    int fd = open(path, O_WRONLY), r;

    r = ftruncate(fd, 100);
    close(fd);
    return r == 0;
}

static void programs_are_kept_and_repaired(void **state)
{
    if (run_scale(dir, true) < 0)
        return;
    assert_int_equal(for_each_entry(NULL), 1);
    assert_int_equal(for_each_entry(damage), 1);
    assert_int_equal(run_scale(dir, true), 0);
    assert_int_equal(for_each_entry(NULL), 1);
    assert_int_equal(run_scale(dir, true), 0); /* from the cache */
}

/* Asking PoCL for binaries can end the process (libnpu/dev/cl_device.c), and so can two kernels at once. */
static void pocl_is_not_asked(void **state)
{
    int before = for_each_entry(NULL);
    npu_ctx *ctx = open_ctx();
    npu_dev *d = open_cl(ctx);

    if (d) {
        bool pocl = strstr(npu_dev_get_info(d)->driver, "Portable Computing") != NULL;

        assert_true(pocl == (((struct cl_dev *)d)->queue != NULL));
        npu_dev_close(d);
        for_each_entry(unlink);
        assert_int_equal(run_scale(dir, false), 0);
        assert_int_equal(for_each_entry(NULL), pocl ? 0 : before);
    }
    npu_ctx_free(ctx);
}

static void a_bad_folder_only_costs_time(void **state)
{
    static const char *const bad[] = {"/proc/nowhere/cache", "/dev/null/x", ""};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int r = run_scale(bad[i], i == 0);
        assert_true(r == 0 || r == -ENODEV);
    }
}

static int setup(void **state)
{
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    return remove(path);
}

static int teardown(void **state)
{
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS); /* PoCL's cache is there too */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_back),         cmocka_unit_test(damage_is_seen_and_deleted),
        cmocka_unit_test(keys_depend_on_every_part), cmocka_unit_test(programs_are_kept_and_repaired),
        cmocka_unit_test(pocl_is_not_asked),         cmocka_unit_test(a_bad_folder_only_costs_time),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
