/* torture.c - the loop over faults, and what must hold after each. */
#include <dirent.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/torture/torture.h"

enum { FAULTS_BY_DEFAULT = 50 };

char torture_dir[64];
static unsigned seed;
static char vendors[] = "/tmp/npu-vendors-XXXXXX", icd[64];

/* ---- what is expected of a failure, and of a second try ---- */
void torture_sane(int r, const char *text, const char *what)
{
    static const int known[] = {ENOMEM, EIO,    EMFILE,  ENOSPC, EAGAIN, EACCES, EPERM,
                                ENODEV, ENOENT, ENOEXEC, EINVAL, EPIPE,  EBADMSG};
    bool is_known = false;

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        is_known |= r == -known[i];
    if (!faults_fired()[0])
        fail_msg("%s: %d (%s) without any fault", what, r, text);
    if (!is_known || !text || !text[0] || strstr(text, "uccess"))
        fail_msg("%s after a fault in %s: status %d, text \"%s\"", what, faults_fired(), r, text ? text : "none");
}

void torture_device(const char *device, npu_ctx **ret_ctx, npu_dev **ret_dev)
{
    int r;

    TWICE(npu_ctx_new(torture_dir, ret_ctx), "no text without a context");
    r = npu_dev_open(*ret_ctx, device, ret_dev);
    if (r == 0)
        return;
    torture_sane(r, npu_ctx_error(*ret_ctx), "npu_dev_open"); /* also when the fault hit the search */
    assert_null(strstr(npu_ctx_error(*ret_ctx), "crashed"));
    npu_ctx_free(*ret_ctx);
    assert_int_equal(npu_ctx_new(torture_dir, ret_ctx), 0);
    assert_int_equal(npu_dev_open(*ret_ctx, device, ret_dev), 0);
}

/* ---- nothing is kept ---- */
int torture_count_entries(const char *path, const char *part)
{
    DIR *h = opendir(path);
    struct dirent *e;
    int n = 0;

    while (h && (e = readdir(h)))
        n += !part || strstr(e->d_name, part) != NULL;
    if (h)
        closedir(h);
    return n;
}

static void nothing_is_kept(int n_fds)
{
    static const char *const temporary[] = {"safetensors.", "npc.", "onnx."};
    const char *call = "";
    void *caller = NULL;
    size_t n = faults_live(&call, &caller);

    if (n)
        fail_msg("after a fault in %s %zu blocks are not freed, one from %s at %p", faults_fired(), n, call, caller);
    if (fake_cl.live)
        fail_msg("after a fault in %s %d OpenCL objects are not released", faults_fired(), (int)fake_cl.live);
    if (torture_count_entries("/proc/self/fd", NULL) != n_fds)
        fail_msg("after a fault in %s a descriptor is open", faults_fired());
    for (size_t i = 0; i < sizeof temporary / sizeof temporary[0]; i++)
        if (torture_count_entries(torture_dir, temporary[i]))
            fail_msg("after a fault in %s a temporary file is left", faults_fired());
}

/* ---- the loop ---- */
static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    return at->level > 0 ? remove(path) : 0;
}

static void empty_folder(void)
{
    nftw(torture_dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void torture(void (*life)(const char *device), const char *device, enum faults_kind kind, bool cold)
{
    const char *all = getenv("NPU_TORTURE");
    const int n_fds = torture_count_entries("/proc/self/fd", NULL);
    const double begin = seconds();
    long total = 0, stride = 1, first = 1;

    for (long at = 0; at <= total; at = at ? at + stride : first) {
        if (cold)
            empty_folder();
        faults_forget_live();
        faults_arm(kind, at);
        life(device);
        if (at == 0) { /* how many calls there are; a fault takes some more, by repetition */
            total = faults_disarm();
            stride = all && strcmp(all, "all") == 0 ? 1 : total / FAULTS_BY_DEFAULT + 1;
            first = 1 + (long)seed % stride;
            assert_true(total > 0);
        }
        faults_disarm();
        nothing_is_kept(n_fds);
    }
    print_message("# %s: %ld calls, each %ld. made to fail from %ld on, %.1f s\n", device ? device : "discovery", total,
                  stride, first, seconds() - begin);
}

/* A driver that is none, to be found out if the search for devices fails. */
static int make_vendors(void)
{
    FILE *f;

    snprintf(icd, sizeof icd, "%s/none.icd", vendors);
    f = fopen(icd, "w");
    if (!f || fputs("libm.so.6\n", f) < 0 || fclose(f) != 0)
        return -1;
    setenv("OCL_ICD_VENDORS", vendors, 1);
    return 0;
}

/* Which of the calls fail where not all do: others in each run, the same again with NPU_TORTURE_SEED. */
static void make_seed(void)
{
    const char *asked = getenv("NPU_TORTURE_SEED");

    seed = asked ? (unsigned)strtoul(asked, NULL, 10) : (unsigned)(npu_now_ns() / 1000 % 10000);
    print_message("# NPU_TORTURE_SEED=%u\n", seed);
}

int torture_setup(void **state)
{
    make_seed();
    fake_cl.fails = faults_step;
    snprintf(torture_dir, sizeof torture_dir, "%s/npu-torture-XXXXXX",
             access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(torture_dir) || !mkdtemp(vendors) || make_vendors() < 0)
        return -1;
    return faults_init();
}

int torture_teardown(void **state)
{
    empty_folder();
    unlink(icd);
    return rmdir(vendors) + rmdir(torture_dir);
}
