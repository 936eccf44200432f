/* test_npu_torture.c - each fallible call that libnpu makes (memory, files, processes, OpenCL) is made to fail in turn
 * while devices are looked for, and while a plan is built, filled, run, saved, loaded and freed. What is asked of
 * failures stands in tests/torture/torture.h; here results must also be right when calls are repeated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "libnpu/safetensors.h"
#include "tests/torture/torture.h"

enum { N = 64 };

static char model[96];
static float x[N], w[N];

struct subject {
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
    return strcmp(entry, "scale") == 0 ? 8 : strcmp(entry, "pocl.sgemm.local.f32") == 0 ? 6 : -1;
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

/* ---- lives ---- */
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

static void live(struct subject *s, const char *device)
{
    struct npu_plan_opts opts = {.profile = true};
    npu_fence *f;

    torture_device(device, &s->c, &s->d);
    if (make_graph(s) < 0) {
        torture_sane(-ENOMEM, s->g ? npu_graph_error(s->g) : "no graph, no text", "a graph");
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
static void train(struct subject *s, const char *device)
{
    static const float lr = 0.01f, step = 1;
    static float want[2];
    static float picture[2 * 6 * 6 * 3], target[2 * 9 * 16];
    float got[2];
    int r;

    for (size_t i = 0; i < sizeof picture / sizeof picture[0]; i++)
        picture[i] = (float)(i % 7) - 3;
    torture_device(device, &s->c, &s->d);
    r = make_training(s);
    if (r < 0) {
        torture_sane(r, s->g ? npu_graph_error(s->g) : "no graph, no text", "a graph for training");
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

static void whole_life(const char *device)
{
    struct subject s = {0};

    live(&s, device);
    end(&s);
}

static int make_kernels(struct subject *s)
{
    int r = npu_graph_new(0, &s->g);

    if (r < 0)
        return r;
    s->in = npu_input(s->g, "x", NPU_F32, 1, (int64_t[]){N});
    s->out = npu_scale(s->g, npu_scale(s->g, s->in, 4, 2), 0.5f, 0);
    npu_output(s->g, "y", s->out);
    return npu_graph_status(s->g);
}

static void life_of_kernels(const char *device)
{
    struct subject s = {0};
    npu_fence *f;
    float y[N];

    torture_device(device, &s.c, &s.d);
    if (make_kernels(&s) < 0) {
        s.g = npu_graph_free(s.g);
        assert_int_equal(make_kernels(&s), 0);
    }
    TWICE(npu_plan_new(s.d, s.g, NULL, &s.p), npu_ctx_error(s.c));
    for (int i = 0; i < 2; i++) {
        TWICE(npu_plan_write_val(s.p, s.in, i ? w : x, sizeof x), npu_plan_error(s.p));
        TWICE(npu_plan_submit(s.p, &f), npu_plan_error(s.p));
        TWICE(npu_fence_wait(f, 1000000000), npu_plan_error(s.p));
        TWICE(npu_plan_read_val(s.p, s.out, y, sizeof y), npu_plan_error(s.p));
        for (int k = 0; k < N; k++)
            assert_true(y[k] == 2 * (i ? w : x)[k] + 1);
    }
    end(&s);
}

static void training(const char *device)
{
    struct subject s = {0};

    train(&s, device);
    end(&s);
}

static void only_discovery(const char *device)
{
    npu_ctx *c;

    TWICE(npu_ctx_new(torture_dir, &c), "no text without a context");
    assert_true(npu_ctx_n_devices(c) >= 1);
    assert_null(strstr(npu_ctx_error(c), "crashed"));
    npu_ctx_free(c);
}

/* ---- the tests ---- */
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

/* Where inputs and outputs go through memory of the host. */
static void opencl_without_native_kernels_survives(void **state)
{
    fake_cl.device[0].has_no_native_kernels = true;
    torture(life_of_kernels, "cl", FAULTS_FAIL, false);
    fake_cl.device[0].has_no_native_kernels = false;
}

/* The self-test of a kernel that the driver has built in, too. */
static void built_in_kernels_survive(void **state)
{
    fake_cl.device[0].built_in_kernels = "pocl.sgemm.local.f32";
    torture(whole_life, "cl", FAULTS_FAIL, true);
    fake_cl.device[0].built_in_kernels = NULL;
}

/* The run was taken, but ends with an error of the device: told once, and the plan can be run again. */
static void a_run_that_ends_in_an_error_is_told(void **state)
{
    struct subject s = {0};

    faults_arm(FAULTS_FAIL, 0);
    live(&s, "cl");
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

static int setup(void **state)
{
    for (int i = 0; i < N; i++) {
        x[i] = (float)i;
        w[i] = (float)(N - i);
    }
    fake_cl.n_args = scale_args;
    if (torture_setup(state) < 0)
        return -1;
    snprintf(model, sizeof model, "%s/model.safetensors", torture_dir);
    return 0;
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
        cmocka_unit_test(opencl_without_native_kernels_survives),
        cmocka_unit_test(built_in_kernels_survive),
        cmocka_unit_test(a_run_that_ends_in_an_error_is_told),
    };

    return cmocka_run_group_tests(tests, setup, torture_teardown);
}
