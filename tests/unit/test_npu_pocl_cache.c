/* test_npu_pocl_cache.c - PoCL's cache on disk: files that are not whole are removed before PoCL sees them, when there
 * is reason to look; a full disk is not used; marks of processes come and go. */
#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "libnpu/dev/cl_list.h"

static char dir[] = "/tmp/npu-pocl-XXXXXX";

/* The library is not linked: no device was opened here. */
bool cl_is_loaded(void)
{
    return false;
}

static const char *in_dir(const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static bool is_there(const char *name)
{
    struct stat st;
    return lstat(in_dir(name), &st) == 0;
}

static void write_file(const char *name, const void *bytes, size_t size)
{
    FILE *f = fopen(in_dir(name), "w");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* This program's own file stands for a compiled kernel: the first `keep` of `size` bytes, then zeros up to `zeros`. */
static size_t write_elf(const char *name, double keep, bool zeros)
{
    FILE *f = fopen("/proc/self/exe", "r");
    char *bytes;
    size_t size, kept;

    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    size = (size_t)ftell(f);
    rewind(f);
    bytes = malloc(size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, size, f), size);
    fclose(f);
    kept = (size_t)((double)size * keep);
    memset(bytes + kept, 0, size - kept);
    write_file(name, bytes, zeros ? size : kept);
    free(bytes);
    return size;
}

/* Two blocks of bitcode, the second one with `words` words where it says that it has 3. */
static void write_bitcode(const char *name, int words)
{
    uint32_t w[4 + 2 + 8] = {0xdec04342, 13 << 2 | 1, 1, 0, 8 << 2 | 1, 3};

    write_file(name, w, (size_t)(6 + words) * 4);
}

/* One context's life in a process of its own; kill: it ends without saying so. */
static void visit(bool kill_it)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        cl_prepare_environment(NULL);
        if (kill_it)
            raise(SIGKILL);
        cl_release_environment();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(kill_it ? WIFSIGNALED(status) : WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void only_whole_files_stay(void **state)
{
    struct stat st;

    visit(false); /* nothing there */
    write_elf("AB/C/k/1/whole.so", 1, false);
    write_elf("AB/C/k/1/cut.so", 0.9, false);
    write_elf("AB/C/k/1/empty.so", 0, false);
    write_elf("AB/C/k/1/zeros.so", 0, true);
    write_elf("AB/C/k/1/zeros-at-the-end.so", 0.9, true);
    write_bitcode("AB/C/program.bc", 3);
    write_bitcode("AB/C/cut.bc", 2);
    write_bitcode("AB/C/longer.bc", 4);
    write_bitcode("AB/C/empty.bc", -6);
    write_file("AB/C/other", "text", 4);
    visit(false);
    assert_true(is_there("AB/C/k/1/cut.so")); /* no reason to look */
    visit(true);
    visit(false);
    assert_true(is_there("AB/C/k/1/whole.so"));
    assert_true(is_there("AB/C/program.bc"));
    assert_true(is_there("AB/C/other"));
    assert_false(is_there("AB/C/k/1/cut.so"));
    assert_false(is_there("AB/C/k/1/empty.so"));
    assert_false(is_there("AB/C/k/1/zeros.so"));
    assert_false(is_there("AB/C/k/1/zeros-at-the-end.so"));
    assert_false(is_there("AB/C/cut.bc"));
    assert_false(is_there("AB/C/longer.bc"));
    assert_false(is_there("AB/C/empty.bc"));
    assert_int_equal(lstat(in_dir("gazed/boot"), &st), 0);
    assert_true(st.st_size > 0);
}

static void another_boot_is_a_reason(void **state)
{
    visit(false);
    write_bitcode("AB/C/program.bc", 1);
    visit(false);
    assert_true(is_there("AB/C/program.bc"));
    write_file("gazed/boot", "00000000-0000-0000-0000-000000000000\n", 37);
    visit(false);
    assert_false(is_there("AB/C/program.bc"));
}

static void temporary_files_go_when_they_are_old(void **state)
{
    const struct timespec old[2] = {{time(NULL) - 7200, 0}, {time(NULL) - 7200, 0}};

    write_file("tempfile_aaaaaa", "", 0);
    write_file("tempfile_bbbbbb.cl", "x", 1);
    assert_int_equal(utimensat(-1, in_dir("tempfile_aaaaaa"), old, 0), 0);
    visit(false);
    assert_false(is_there("tempfile_aaaaaa"));
    assert_true(is_there("tempfile_bbbbbb.cl"));
}

/* As long as a process has contexts, and not that of its children. */
static void a_process_has_one_mark(void **state)
{
    char mark[64];
    pid_t pid;

    snprintf(mark, sizeof mark, "gazed/%d", (int)getpid());
    cl_prepare_environment(NULL);
    cl_prepare_environment(NULL);
    assert_true(is_there(mark));
    cl_release_environment();
    pid = fork();
    if (pid == 0) {
        cl_release_environment();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(is_there(mark));
    write_bitcode("AB/C/program.bc", 1);
    visit(false); /* this process lives */
    assert_true(is_there("AB/C/program.bc"));
    cl_release_environment();
    assert_false(is_there(mark));
}

/* What POCL_AFFINITY is in a process of its own, if it was `set` before and the process has only these processors. */
static int affinity_after(const char *set, const cpu_set_t *cpus)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        const char *now;

        if (set ? setenv("POCL_AFFINITY", set, 1) : unsetenv("POCL_AFFINITY"))
            _exit(2);
        if (sched_setaffinity(0, sizeof *cpus, cpus) < 0)
            _exit(3);
        cl_prepare_environment(NULL);
        now = getenv("POCL_AFFINITY");
        cl_release_environment();
        _exit(now ? now[0] : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void threads_keep_to_processors_that_are_allowed(void **state)
{
    cpu_set_t here, one;
    const long n = sysconf(_SC_NPROCESSORS_CONF);
    bool all = true;

    assert_return_code(sched_getaffinity(0, sizeof here, &here), errno);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &here) && CPU_COUNT(&one) == 0)
            CPU_SET(i, &one);
        all = all && (i >= n || CPU_ISSET(i, &here));
    }
    assert_int_equal(affinity_after(NULL, &here), all ? '1' : 0);
    assert_int_equal(affinity_after(NULL, &one), n == 1 && all ? '1' : 0);
    assert_int_equal(affinity_after("0", &here), '0');
}

static int on_a_full_disk(void)
{
    const char *now;

    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("npu-test", dir, "tmpfs", 0, "size=64k") < 0)
        return EPERM;
    cl_prepare_environment(NULL);
    now = getenv("POCL_CACHE_DIR");
    cl_release_environment();
    return now && strncmp(now, dir, strlen(dir)) != 0 && access(now, W_OK) == 0 ? 0 : EIO;
}

static void a_full_disk_is_not_used(void **state)
{
    int status;
    pid_t pid = fork();

    if (pid == 0)
        _exit(on_a_full_disk());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == EPERM)
        puts("# SKIP no right to mount");
    else
        assert_int_equal(WEXITSTATUS(status), 0);
}

static int setup(void **state)
{
    static const char *const folders[] = {"AB", "AB/C", "AB/C/k", "AB/C/k/1"};

    strcpy(strrchr(dir, '-'), "-XXXXXX");
    if (!mkdtemp(dir) || setenv("POCL_CACHE_DIR", dir, 1) < 0)
        return -1;
    for (int i = 0; i < 4; i++)
        if (mkdir(in_dir(folders[i]), 0700) < 0)
            return -1;
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    return remove(path);
}

static int teardown(void **state)
{
    return nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(threads_keep_to_processors_that_are_allowed), TEST(only_whole_files_stay),  TEST(another_boot_is_a_reason),
        TEST(temporary_files_go_when_they_are_old),        TEST(a_process_has_one_mark), TEST(a_full_disk_is_not_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
