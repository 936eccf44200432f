/* test_npu_torture.c - each fallible call that libnpu makes (memory, files, processes, OpenCL) is made to fail in turn
 * while devices are looked for, and while a plan is built, filled, run, saved, loaded and freed.
 *
 * Whatever fails: no crash; a status that is an errno and a text that says why; the same call works when it is
 * repeated, with right results; nothing that was taken is kept (memory, descriptors, OpenCL objects, temporary files).
 * By default a part of the faults; all of them with NPU_TORTURE=all (make torture).
 */
#include <dirent.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "libnpu/safetensors.h"
#include "tests/torture/fake_cl.h"
#include "tests/torture/faults.h"
#include "tests/unit/npu_helpers.h"

enum { N = 64, FAULTS_BY_DEFAULT = 80 };

static char dir[64], vendors[] = "/tmp/npu-vendors-XXXXXX", model[96], icd[64];
static float x[N], w[N];

struct subject {
    const char *device;
    npu_ctx *c;
    npu_dev *d;
    npu_graph *g;
    npu_plan *p;
    npu_val in, out;
};

/* ---- a plan of two kernels and a native operation with packed weights: y = 2 (x + 2 w) + 1 ---- */
static void pack_part(const struct npu_native_call *c, int part, int n_parts)
{
    for (int i = 0; part == 0 && i < c->arg[2].i; i++)
        ((float *)c->p[1])[i] = 2.0f * ((const float *)c->p[0])[i];
}

static void use_part(const struct npu_native_call *c, int part, int n_parts)
{
    for (int i = 0; part == 0 && i < c->arg[3].i; i++)
        ((float *)c->p[2])[i] = ((const float *)c->p[0])[i] + ((const float *)c->p[1])[i];
}

static int packed_lower(const struct npu_node *n, struct npu_lower *l)
{
    struct npu_tensor_type t = npu_lower_type(l, n->in[0]);
    int64_t size = npu_shape_elements(&t.shape);
    int buf = npu_lower_packed(l, (size_t)size * 4);
    struct npu_launch *k = npu_lower_launch(l, NULL, NULL);

    npu_launch_val(k, n->in[1]);
    npu_launch_buf(k, NPU_ARG_PACKED, buf);
    npu_launch_i32(k, size);
    k->native = pack_part;
    k->on_params = npu_val_is_frozen(npu_lower_graph(l), n->in[1]);
    k = npu_lower_launch(l, NULL, NULL);
    npu_launch_val(k, n->in[0]);
    npu_launch_buf(k, NPU_ARG_PACKED, buf);
    npu_launch_val(k, n->out[0]);
    npu_launch_i32(k, size);
    k->native = use_part;
    return 0;
}

static int packed_ref(const struct npu_ref_call *c)
{
    for (int64_t i = 0; i < npu_shape_elements(&c->out[0].shape); i++)
        ((float *)c->out[0].data)[i] = ((const float *)c->in[0].data)[i] + 2.0f * ((const float *)c->in[1].data)[i];
    return 0;
}

static const struct npu_op op_packed = {
    .name = "packed", .shape = same_shape_rule, .ref = packed_ref, .lower = packed_lower};

static int scale_args(const char *entry)
{
    return strcmp(entry, "scale") == 0 ? 8 : -1;
}

static int make_graph(struct subject *s)
{
    const int64_t n = N;
    npu_val v[2];
    int r = npu_graph_new(0, &s->g);

    if (r < 0)
        return r;
    v[0] = s->in = npu_input(s->g, "x", NPU_F32, 1, &n);
    v[1] = npu_param(s->g, "w", 1, &n, (struct npu_init){NPU_INIT_CONST, 3});
    s->out = npu_scale(s->g, npu_scale(s->g, npu_node_add(s->g, &op_packed, v, 2, NULL, 0), 4, 0), 0.5f, 1);
    npu_output(s->g, "y", s->out);
    return npu_graph_status(s->g);
}

/* ---- what is expected of a failure, and of a second try ---- */
static void sane(int r, const char *text, const char *what)
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

/* Calls it, and if it fails once more. */
#define TWICE(call, text)                                                                                              \
    do {                                                                                                               \
        int r_ = (call);                                                                                               \
        if (r_ < 0) {                                                                                                  \
            sane(r_, text, #call);                                                                                     \
            r_ = (call);                                                                                               \
        }                                                                                                              \
        if (r_ < 0)                                                                                                    \
            fail_msg("%s still fails after a fault in %s: %d %s", #call, faults_fired(), r_, text);                    \
    } while (0)

static void open_device(struct subject *s)
{
    int r;

    TWICE(npu_ctx_new(dir, &s->c), "no text without a context");
    r = npu_dev_open(s->c, s->device, &s->d);
    if (r == 0)
        return;
    sane(r, npu_ctx_error(s->c), "npu_dev_open"); /* also when the fault hit the search */
    assert_null(strstr(npu_ctx_error(s->c), "crashed"));
    npu_ctx_free(s->c);
    assert_int_equal(npu_ctx_new(dir, &s->c), 0);
    assert_int_equal(npu_dev_open(s->c, s->device, &s->d), 0);
}

static void run_and_check(struct subject *s)
{
    float y[N];

    TWICE(npu_plan_write_val(s->p, s->in, x, sizeof x), npu_plan_error(s->p));
    TWICE(npu_plan_run(s->p), npu_plan_error(s->p));
    TWICE(npu_plan_read_val(s->p, s->out, y, sizeof y), npu_plan_error(s->p));
    for (int i = 0; i < N; i++)
        if (y[i] != 2 * (x[i] + 2 * w[i]) + 1)
            fail_msg("a wrong result after a fault in %s", faults_fired());
}

static int explain(struct subject *s)
{
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    int r = f ? npu_plan_explain(s->p, f, true) : -ENOMEM;

    if (f && fclose(f) != 0 && r == 0)
        r = -ENOMEM;
    free(text);
    return r;
}

/* A file as good as the one before, or the new one; nothing between. */
static void check_file(void)
{
    struct st_file *f = NULL;
    char why[256] = "";

    if (st_open(model, &f, why, sizeof why) < 0) /* the fault may fall on this */
        assert_int_equal(st_open(model, &f, why, sizeof why), 0);
    assert_int_equal(st_n_tensors(f), 1);
    st_close(f);
}

static int save(struct subject *s)
{
    static const char *const metadata[] = {"made", "by a test", NULL};
    int r = npu_plan_save(s->p, model, NPU_SAVE_PARAMS, metadata);

    if (r < 0 && access(model, F_OK) == 0)
        check_file();
    return r;
}

static void whole_life(struct subject *s)
{
    struct npu_plan_opts opts = {.profile = true};
    npu_fence *f;

    open_device(s);
    if (make_graph(s) < 0) {
        sane(-ENOMEM, s->g ? npu_graph_error(s->g) : "no graph, no text", "a graph");
        s->g = npu_graph_free(s->g);
        assert_int_equal(make_graph(s), 0);
    }
    TWICE(npu_plan_new(s->d, s->g, &opts, &s->p), npu_ctx_error(s->c));
    TWICE(npu_plan_init(s->p, 1), npu_plan_error(s->p));
    TWICE(npu_plan_write(s->p, "w", w, sizeof w), npu_plan_error(s->p));
    run_and_check(s);
    TWICE(save(s), npu_plan_error(s->p));
    check_file();
    TWICE(npu_plan_init(s->p, 2), npu_plan_error(s->p));
    TWICE(npu_plan_load(s->p, model, true), npu_plan_error(s->p));
    run_and_check(s);
    TWICE(npu_plan_submit(s->p, &f), npu_plan_error(s->p));
    TWICE(npu_fence_wait(f, 1000000000), npu_plan_error(s->p));
    TWICE(explain(s), "no text");
}

static void end(struct subject *s)
{
    s->p = npu_plan_free(s->p);
    s->g = npu_graph_free(s->g);
    s->d = npu_dev_close(s->d);
    s->c = npu_ctx_free(s->c);
}

/* A network with its gradients and its optimiser: 0, or the first builder that failed. */
static int make_training(struct subject *s)
{
    const struct npu_init some = {NPU_INIT_NORMAL, 0.1f};
    const struct npu_adamw_opts adamw = {0.9f, 0.99f, 1e-8f, 0.01f, 1.0f};
    const int64_t picture[] = {2, 6, 6, 3}, taps[] = {3, 3, 3, 4}, tokens[] = {2, 9, 16}, qkv[] = {16, 48}, d = 16;
    npu_graph *g;
    npu_val v;
    int r = npu_graph_new(NPU_GRAPH_TRAIN, &s->g);

    if (r < 0)
        return r;
    g = s->g;
    v = npu_conv2d(g, npu_input(g, "x", NPU_F32, 4, picture), npu_param(g, "conv", 4, taps, some),
                   &(struct npu_conv2d_opts){.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1});
    v = npu_reshape(g, npu_relu(g, v), 3, tokens);
    v = npu_layer_norm(g, v, npu_param(g, "gamma", 1, &d, (struct npu_init){NPU_INIT_CONST, 1}),
                       npu_param(g, "beta", 1, &d, (struct npu_init){NPU_INIT_ZERO, 0}), 1e-5f);
    v = npu_attention(g, npu_matmul(g, v, npu_param(g, "qkv", 2, qkv, some), NULL), 2);
    v = npu_mse(g, v, npu_input(g, "target", NPU_F32, 3, tokens), NPU_NONE);
    npu_output(g, "loss", v);
    r = npu_graph_backward(g, v);
    if (r == 0)
        r = npu_graph_adamw(g, &adamw);
    return r < 0 ? r : npu_graph_status(g);
}

/* One step; the loss and the gradient's norm are those of a run without faults. */
static void training(struct subject *s)
{
    static const float lr = 0.01f, step = 1;
    static float want[2];
    static float picture[2 * 6 * 6 * 3], target[2 * 9 * 16];
    float got[2];
    int r;

    for (size_t i = 0; i < sizeof picture / sizeof picture[0]; i++)
        picture[i] = (float)(i % 7) - 3;
    open_device(s);
    r = make_training(s);
    if (r < 0) {
        sane(r, s->g ? npu_graph_error(s->g) : "no graph, no text", "a graph for training");
        s->g = npu_graph_free(s->g);
        assert_int_equal(make_training(s), 0);
    }
    TWICE(npu_plan_new(s->d, s->g, NULL, &s->p), npu_ctx_error(s->c));
    TWICE(npu_plan_init(s->p, 3), npu_plan_error(s->p));
    TWICE(npu_plan_write(s->p, "x", picture, sizeof picture), npu_plan_error(s->p));
    TWICE(npu_plan_write(s->p, "target", target, sizeof target), npu_plan_error(s->p));
    TWICE(npu_plan_write(s->p, "lr", &lr, sizeof lr), npu_plan_error(s->p));
    TWICE(npu_plan_write(s->p, "step", &step, sizeof step), npu_plan_error(s->p));
    TWICE(npu_plan_run(s->p), npu_plan_error(s->p));
    TWICE(npu_plan_read(s->p, "loss", &got[0], sizeof got[0]), npu_plan_error(s->p));
    TWICE(npu_plan_read(s->p, "grad_norm", &got[1], sizeof got[1]), npu_plan_error(s->p));
    if (!faults_fired()[0])
        memcpy(want, got, sizeof want);
    assert_true(want[0] > 0 && want[1] > 0);
    assert_memory_equal(got, want, sizeof want);
}

static void only_discovery(struct subject *s)
{
    TWICE(npu_ctx_new(dir, &s->c), "no text without a context");
    assert_true(npu_ctx_n_devices(s->c) >= 1);
    assert_null(strstr(npu_ctx_error(s->c), "crashed"));
}

/* ---- nothing is kept ---- */
static int count_entries(const char *path, const char *part)
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
    const char *call = "";
    void *caller = NULL;
    size_t n = faults_live(&call, &caller);

    if (n)
        fail_msg("after a fault in %s %zu blocks are not freed, one from %s at %p", faults_fired(), n, call, caller);
    if (fake_cl.live)
        fail_msg("after a fault in %s %d OpenCL objects are not released", faults_fired(), (int)fake_cl.live);
    if (count_entries("/proc/self/fd", NULL) != n_fds)
        fail_msg("after a fault in %s a descriptor is open", faults_fired());
    if (count_entries(dir, "safetensors.") || count_entries(dir, "npc."))
        fail_msg("after a fault in %s a temporary file is left", faults_fired());
}

/* ---- the tests ---- */
static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    return at->level > 0 ? remove(path) : 0;
}

/* f(device) with each fault in turn. Starts from an empty folder every time if `cold`. */
static void torture(void (*f)(struct subject *), const char *device, enum faults_kind kind, bool cold)
{
    const char *all = getenv("NPU_TORTURE");
    int n_fds = count_entries("/proc/self/fd", NULL);
    long total = 0, stride = 1;
    double begin = seconds();

    for (long at = 0; at <= total; at += at ? stride : 1) {
        struct subject s = {.device = device};

        if (cold)
            nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        faults_forget_live();
        faults_arm(kind, at);
        f(&s);
        end(&s);
        if (at == 0) { /* how many calls there are; a fault takes some more, by repetition */
            total = faults_disarm();
            stride = all && strcmp(all, "all") == 0 ? 1 : total / FAULTS_BY_DEFAULT + 1;
            assert_true(total > 0);
        }
        faults_disarm();
        nothing_is_kept(n_fds);
    }
    print_message("# %s: %ld calls, each %ld. made to fail, %.1f s\n", device ? device : "discovery", total, stride,
                  seconds() - begin);
}

/* First of all: as long as no driver lives in this process, it is asked for devices in a child. */
static void discovery_survives(void **state)
{
    torture(only_discovery, NULL, FAULTS_FAIL, false);
    torture(only_discovery, NULL, FAULTS_SHORT, false);
}

static void ref_survives(void **state)
{
    torture(whole_life, "ref", FAULTS_FAIL, false);
    torture(whole_life, "ref", FAULTS_SHORT, false);
}

static void training_survives(void **state)
{
    torture(training, "ref", FAULTS_FAIL, false);
}

static void null_survives(void **state)
{
    torture(whole_life, "null", FAULTS_FAIL, false);
}

static void opencl_survives_with_a_cold_cache(void **state)
{
    torture(whole_life, "cl", FAULTS_FAIL, true);
}

static void opencl_survives_with_a_warm_cache(void **state)
{
    torture(whole_life, "cl", FAULTS_FAIL, false);
    torture(whole_life, "cl", FAULTS_SHORT, false);
}

/* The run was taken, but ends with an error of the device: told once, and the plan can be run again. */
static void a_run_that_ends_in_an_error_is_told(void **state)
{
    struct subject s = {.device = "cl"};

    faults_arm(FAULTS_FAIL, 0);
    whole_life(&s);
    faults_disarm();
    for (int i = 0; i < 4; i++) {
        npu_fence *f;

        fake_cl.run_status = i / 2 ? CL_INVALID_COMMAND_QUEUE : CL_OUT_OF_RESOURCES;
        assert_int_equal(npu_plan_submit(s.p, &f), 0);
        assert_int_equal(npu_fence_wait(f, i % 2 ? 1000000000 : -1), i / 2 ? -ENODEV : -ENOMEM);
        assert_non_null(strstr(npu_plan_error(s.p), i / 2 ? "the device is lost" : "out of device resources"));
        fake_cl.run_status = CL_COMPLETE;
        run_and_check(&s);
    }
    end(&s);
    assert_int_equal(fake_cl.live, 0);
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

static int setup(void **state)
{
    for (int i = 0; i < N; i++) {
        x[i] = (float)i;
        w[i] = (float)(N - i);
    }
    fake_cl.fails = faults_step;
    fake_cl.n_args = scale_args;
    /* fsync takes its time on a disk */
    snprintf(dir, sizeof dir, "%s/npu-torture-XXXXXX", access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(dir) || !mkdtemp(vendors))
        return -1;
    snprintf(model, sizeof model, "%s/model.safetensors", dir);
    if (make_vendors() < 0)
        return -1;
    return faults_init();
}

static int teardown(void **state)
{
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    unlink(icd);
    return rmdir(vendors) + rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(discovery_survives),
        cmocka_unit_test(ref_survives),
        cmocka_unit_test(training_survives),
        cmocka_unit_test(null_survives),
        cmocka_unit_test(opencl_survives_with_a_cold_cache),
        cmocka_unit_test(opencl_survives_with_a_warm_cache),
        cmocka_unit_test(a_run_that_ends_in_an_error_is_told),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
