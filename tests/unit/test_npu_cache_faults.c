/* test_npu_cache_faults.c - the cache of program binaries where it can't work: a driver that changed or rejects them, a
 * folder that is read-only or full, processes that fill and empty it at once, entries that are no files. Results stay
 * right, nothing is printed, and what can be repaired is. On a fake OpenCL that counts compilations. */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "libnpu/dev/cl.h"
#include "tests/torture/fake_cl.h"
#include "tests/unit/npu_helpers.h"

enum { N = 32 };

static char dir[] = "/tmp/npu-cache-XXXXXX";

static int n_args(const char *entry)
{
    return strcmp(entry, "scale") == 0 ? 8 : -1;
}

/* y = 2 x + 1 on a device of its own with the cache in `folder`: 0 if it is right. */
static int run_in(const char *folder)
{
    const int64_t n = N;
    float x[N], y[N] = {0};
    npu_ctx *c = NULL;
    npu_graph *g = NULL;
    npu_plan *p = NULL;
    npu_dev *d = NULL;
    int r = npu_ctx_new(folder, &c);

    for (int i = 0; i < N; i++)
        x[i] = (float)i;
    if (r == 0)
        r = npu_dev_open(c, "cl", &d);
    if (r == 0)
        r = npu_graph_new(0, &g);
    if (r == 0) {
        npu_output(g, "y", npu_scale(g, npu_input(g, "x", NPU_F32, 1, &n), 2, 1));
        r = npu_plan_new(d, g, NULL, &p);
    }
    if (r == 0)
        r = npu_plan_write(p, "x", x, sizeof x);
    if (r == 0)
        r = npu_plan_run(p);
    if (r == 0)
        r = npu_plan_read(p, "y", y, sizeof y);
    for (int i = 0; r == 0 && i < N; i++)
        r = y[i] == 2 * x[i] + 1 ? 0 : -EBADMSG;
    npu_plan_free(p);
    npu_graph_free(g);
    npu_dev_close(d);
    npu_ctx_free(c);
    return r;
}

static void expect(int compiles, int binaries)
{
    fake_cl.compiles = fake_cl.binaries = 0;
    assert_int_equal(run_in(dir), 0);
    assert_int_equal(fake_cl.compiles, compiles);
    assert_int_equal(fake_cl.binaries, binaries);
}

/* Entries with that ending in a folder; the last one's path. */
static int entries(const char *folder, const char *end, char *ret_path, size_t size)
{
    DIR *h = opendir(folder);
    struct dirent *e;
    int n = 0;

    while (h && (e = readdir(h))) {
        size_t k = strlen(e->d_name), m = strlen(end);

        if (e->d_name[0] == '.' || k < m || strcmp(e->d_name + k - m, end) != 0)
            continue;
        n++;
        if (ret_path)
            snprintf(ret_path, size, "%s/%s", folder, e->d_name);
    }
    if (h)
        closedir(h);
    return n;
}

/* f in a child process whose words are caught: its status; fails if it says anything. */
static int quietly(int (*f)(void))
{
    int fd[2], status = -1;
    char said[256];
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe(fd), 0);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(fd[1], 1);
        dup2(fd[1], 2);
        close(fd[0]);
        close(fd[1]);
        _exit(-f());
    }
    close(fd[1]);
    n = read(fd[0], said, sizeof said - 1);
    close(fd[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    said[n > 0 ? n : 0] = '\0';
    assert_string_equal(said, "");
    assert_true(WIFEXITED(status));
    return -WEXITSTATUS(status);
}

static int run_here(void)
{
    return run_in(dir);
}

/* ---- drivers ---- */
static void a_program_is_compiled_once(void **state)
{
    expect(1, 0);
    expect(0, 1);
    assert_int_equal(entries(dir, ".npc", NULL, 0), 1);
}

static void another_driver_compiles_anew(void **state)
{
    expect(1, 0);
    fake_cl.driver_version = "2";
    expect(1, 0);
    expect(0, 1);
    fake_cl.driver_version = "1"; /* both are kept */
    expect(0, 1);
    assert_int_equal(entries(dir, ".npc", NULL, 0), 2);
}

static void rejected_binaries_are_replaced(void **state)
{
    expect(1, 0);
    fake_cl.rejects_binaries = true;
    expect(1, 0);
    fake_cl.rejects_binaries = false;
    expect(0, 1);
}

/* ---- entries ---- */
static void a_damaged_entry_is_replaced(void **state)
{
    char path[300];

    for (off_t size = 0; size < 200; size += 33) {
        expect(size ? 0 : 1, size ? 1 : 0);
        assert_int_equal(entries(dir, ".npc", path, sizeof path), 1);
        assert_int_equal(truncate(path, size), 0);
        expect(1, 0);
    }
}

/* A pipe that nobody writes, a folder, a link to nowhere and to itself, in the place of the entry. */
static void an_entry_that_is_no_file(void **state)
{
    char path[300];

    for (int kind = 0; kind < 4; kind++) {
        expect(kind ? 0 : 1, kind ? 1 : 0);
        assert_int_equal(entries(dir, ".npc", path, sizeof path), 1);
        assert_int_equal(unlink(path), 0);
        if (kind == 0)
            assert_int_equal(mkfifo(path, 0600), 0);
        else if (kind == 1)
            assert_int_equal(mkdir(path, 0700), 0);
        else
            assert_int_equal(symlink(kind == 2 ? "/nonexistent/x" : path, path), 0);
        alarm(20); /* a wait for ever ends the test */
        expect(1, 0);
        alarm(0);
        if (kind == 1) {
            expect(1, 0); /* a folder stays in the way, and costs time only */
            assert_int_equal(rmdir(path), 0);
            expect(1, 0);
        }
    }
}

/* ---- folders ---- */
static int run_as_nobody(void)
{
    if (getuid() == 0 && setresuid(65534, 65534, 65534) < 0)
        return -errno;
    return run_in(dir);
}

static void a_read_only_folder(void **state)
{
    assert_int_equal(chmod(dir, 0555), 0);
    assert_int_equal(quietly(run_as_nobody), 0); /* nothing there, nothing written */
    assert_int_equal(entries(dir, "", NULL, 0), 0);
    assert_int_equal(chmod(dir, 0755), 0);
    expect(1, 0);
    assert_int_equal(chmod(dir, 0555), 0);
    assert_int_equal(quietly(run_as_nobody), 0);
    assert_int_equal(chmod(dir, 0755), 0);
    expect(0, 1);
}

/* Files end after 100 bytes, as if the disk were full. */
static int run_with_short_files(void)
{
    const struct rlimit limit = {100, 100};

    signal(SIGXFSZ, SIG_IGN);
    return setrlimit(RLIMIT_FSIZE, &limit) < 0 ? -errno : run_in(dir);
}

static void no_room_leaves_nothing(void **state)
{
    assert_int_equal(quietly(run_with_short_files), 0);
    assert_int_equal(entries(dir, "", NULL, 0), 0);
    expect(1, 0);
}

/* A real file system of one page; -EPERM if we may not mount. */
static int run_on_a_full_disk(void)
{
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("npu-test", dir, "tmpfs", 0, "size=4k") < 0)
        return -EPERM;
    for (int i = 0; i < 2; i++)
        if (run_in(dir) < 0 || entries(dir, "", NULL, 0) > 0)
            return -EIO;
    return fake_cl.compiles == 2 ? 0 : -EBADMSG;
}

static void a_full_disk(void **state)
{
    int r;

    fake_cl.compiles = 0;
    r = quietly(run_on_a_full_disk);
    if (r == -EPERM)
        puts("# SKIP no right to mount");
    else
        assert_int_equal(r, 0);
}

/* ---- processes ---- */
static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    return at->level > 0 ? (remove(path), 0) : 0;
}

/* Runs again and again; now and then the folder is emptied, or its entry cut. */
static int run_often(void)
{
    char path[300];

    for (int i = 0; i < 40; i++) {
        int r = run_in(dir);

        if (r < 0)
            return r;
        if (i % 8 == 3)
            nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
        if (i % 8 == 6 && entries(dir, ".npc", path, sizeof path) > 0 && truncate(path, 50 + i) < 0 && errno != ENOENT)
            return -errno;
    }
    return 0;
}

static void processes_share_a_folder(void **state)
{
    pid_t pid[4];
    int status;

    fflush(NULL);
    for (int i = 0; i < 4; i++) {
        pid[i] = fork();
        assert_true(pid[i] >= 0);
        if (pid[i] == 0)
            _exit(-run_often());
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    assert_int_equal(quietly(run_here), 0);
    expect(0, 1);
    assert_int_equal(entries(dir, "", NULL, 0), entries(dir, ".npc", NULL, 0)); /* no temporary files */
}

static int setup(void **state)
{
    fake_cl.n_args = n_args;
    strcpy(strrchr(dir, '-'), "-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    fake_cl.driver_version = "1";
    fake_cl.rejects_binaries = false;
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return rmdir(dir);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_program_is_compiled_once),     TEST(another_driver_compiles_anew),
        TEST(rejected_binaries_are_replaced), TEST(a_damaged_entry_is_replaced),
        TEST(an_entry_that_is_no_file),       TEST(a_read_only_folder),
        TEST(no_room_leaves_nothing),         TEST(a_full_disk),
        TEST(processes_share_a_folder),
    };

    setenv("POCL_CACHE_DIR", "/tmp", 1); /* no folder of PoCL's in ours */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
