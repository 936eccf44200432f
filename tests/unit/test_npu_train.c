/* test_npu_train.c - backward and the optimisers as whole graphs: against steps computed here, on every device;
 * training reaches its goal; checkpoints go on bit for bit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "libnpu/rng.h"
#include "tests/unit/npu_helpers.h"

enum { IN = 3, OUT = 2, BATCH = 5 };

static npu_ctx *ctx;
static const char *const devices[] = {"ref", "cl"};

static npu_dev *open_device(int i)
{
    npu_dev *d = NULL;

    if (npu_dev_open(ctx, devices[i], &d) < 0)
        skip_cl(npu_ctx_error(ctx));
    return d;
}

/* loss = mean((x w + b - t)^2) */
static npu_graph *linear_graph(void)
{
    npu_graph *g;
    npu_val x, w, b, t, loss;

    assert_int_equal(npu_graph_new(NPU_GRAPH_TRAIN, &g), 0);
    x = npu_input(g, "x", NPU_F32, 2, (int64_t[]){BATCH, IN});
    t = npu_input(g, "t", NPU_F32, 2, (int64_t[]){BATCH, OUT});
    w = npu_param(g, "w", 2, (int64_t[]){IN, OUT}, (struct npu_init){NPU_INIT_NORMAL, 0.5f});
    b = npu_param(g, "b", 1, (int64_t[]){OUT}, (struct npu_init){NPU_INIT_NORMAL, 0.5f});
    loss = npu_mse(g, npu_add(g, npu_matmul(g, x, w, NULL), b), t, NPU_NONE);
    npu_output(g, "loss", loss);
    assert_int_equal(npu_graph_backward(g, loss), 0);
    return g;
}

struct linear {
    float x[BATCH * IN], t[BATCH * OUT];
    double w[IN * OUT], b[OUT], gw[IN * OUT], gb[OUT], m[IN * OUT + OUT],
        v[IN * OUT + OUT]; /* moments: w's, then b's */
};

static void fill(struct linear *l, npu_plan *p)
{
    float w[IN * OUT], b[OUT];

    memset(l, 0, sizeof *l);
    for (int i = 0; i < BATCH * IN; i++)
        l->x[i] = npu_rng_normal(1, (uint64_t)i);
    for (int i = 0; i < BATCH * OUT; i++)
        l->t[i] = npu_rng_normal(2, (uint64_t)i);
    assert_int_equal(npu_plan_init(p, 3), 0);
    assert_int_equal(npu_plan_write(p, "x", l->x, sizeof l->x), 0);
    assert_int_equal(npu_plan_write(p, "t", l->t, sizeof l->t), 0);
    npu_plan_read(p, "w", w, sizeof w);
    npu_plan_read(p, "b", b, sizeof b);
    for (int i = 0; i < IN * OUT; i++)
        l->w[i] = w[i];
    for (int i = 0; i < OUT; i++)
        l->b[i] = b[i];
}

/* Returns the loss; fills the gradients and their norm. */
static double linear_gradients(struct linear *l, double *ret_norm)
{
    double loss = 0, norm = 0;

    memset(l->gw, 0, sizeof l->gw);
    memset(l->gb, 0, sizeof l->gb);
    for (int i = 0; i < BATCH; i++)
        for (int o = 0; o < OUT; o++) {
            double e = l->b[o] - l->t[i * OUT + o];

            for (int k = 0; k < IN; k++)
                e += l->x[i * IN + k] * l->w[k * OUT + o];
            loss += e * e / (BATCH * OUT);
            for (int k = 0; k < IN; k++)
                l->gw[k * OUT + o] += 2 * e * l->x[i * IN + k] / (BATCH * OUT);
            l->gb[o] += 2 * e / (BATCH * OUT);
        }
    for (int i = 0; i < IN * OUT; i++)
        norm += l->gw[i] * l->gw[i];
    for (int i = 0; i < OUT; i++)
        norm += l->gb[i] * l->gb[i];
    *ret_norm = sqrt(norm);
    return loss;
}

static void adamw_step(double *w, double g, double *m, double *v, double lr, double decay, int step)
{
    *m = 0.9 * *m + 0.1 * g;
    *v = 0.99 * *v + 0.01 * g * g;
    *w -= lr * (*m / (1 - pow(0.9, step)) / (sqrt(*v / (1 - pow(0.99, step))) + 1e-8) + decay * *w);
}

static void check_params(struct linear *l, npu_plan *p)
{
    float w[IN * OUT], b[OUT];

    assert_int_equal(npu_plan_read(p, "w", w, sizeof w), 0);
    assert_int_equal(npu_plan_read(p, "b", b, sizeof b), 0);
    for (int i = 0; i < IN * OUT; i++)
        assert_float_equal(w[i], l->w[i], 2e-5);
    for (int i = 0; i < OUT; i++)
        assert_float_equal(b[i], l->b[i], 2e-5);
}

static void adamw_follows_the_formula(void **state)
{
    for (int i = 0; i < 2; i++)
        for (int clip = 0; clip < 2; clip++) {
            struct npu_adamw_opts o = {0.9f, 0.99f, 1e-8f, 0.1f, clip ? 0.3f : 0};
            npu_dev *dev = open_device(i);
            npu_graph *g = dev ? linear_graph() : NULL;
            struct linear l;
            npu_plan *p;

            if (!dev)
                continue;
            assert_int_equal(npu_graph_adamw(g, &o), 0);
            assert_int_equal(npu_plan_new(dev, g, NULL, &p), 0);
            fill(&l, p);
            for (int step = 1; step <= 5; step++) {
                double norm, loss = linear_gradients(&l, &norm), scale = clip && norm > 0.3 ? 0.3 / norm : 1;
                float lr = 0.05f / (float)step, s = (float)step, got;

                npu_plan_write(p, "lr", &lr, sizeof lr);
                npu_plan_write(p, "step", &s, sizeof s);
                assert_int_equal(npu_plan_run(p), 0);
                npu_plan_read(p, "loss", &got, sizeof got);
                assert_float_equal(got, loss, 1e-4);
                npu_plan_read(p, "grad_norm", &got, sizeof got);
                assert_float_equal(got, norm, 1e-4);
                for (int k = 0; k < IN * OUT; k++)
                    adamw_step(&l.w[k], scale * l.gw[k], &l.m[k], &l.v[k], lr, 0.1f, step);
                for (int k = 0; k < OUT; k++) /* rank 1: no decay */
                    adamw_step(&l.b[k], scale * l.gb[k], &l.m[IN * OUT + k], &l.v[IN * OUT + k], lr, 0, step);
                check_params(&l, p);
            }
            npu_plan_free(p);
            npu_graph_free(g);
            npu_dev_close(dev);
        }
}

static void sgd_follows_the_formula(void **state)
{
    for (int i = 0; i < 2; i++) {
        npu_dev *dev = open_device(i);
        npu_graph *g = dev ? linear_graph() : NULL;
        struct linear l;
        float lr = 0.1f;
        npu_plan *p;

        if (!dev)
            continue;
        assert_int_equal(npu_graph_sgd(g, 0.9f, 0.01f), 0);
        assert_int_equal(npu_plan_new(dev, g, NULL, &p), 0);
        fill(&l, p);
        npu_plan_write(p, "lr", &lr, sizeof lr);
        for (int step = 0; step < 5; step++) {
            double norm;

            linear_gradients(&l, &norm);
            assert_int_equal(npu_plan_run(p), 0);
            for (int k = 0; k < IN * OUT; k++) {
                l.v[k] = 0.9f * l.v[k] + l.gw[k] + 0.01f * l.w[k];
                l.w[k] -= lr * l.v[k];
            }
            for (int k = 0; k < OUT; k++) {
                l.v[IN * OUT + k] = 0.9f * l.v[IN * OUT + k] + l.gb[k] + 0.01f * l.b[k];
                l.b[k] -= lr * l.v[IN * OUT + k];
            }
            check_params(&l, p);
        }
        npu_plan_free(p);
        npu_graph_free(g);
        npu_dev_close(dev);
    }
}

/* A small network with every kind of layer that trains, in bf16 inside: learns which half of a picture is brighter. */
static npu_graph *picture_graph(void)
{
    struct npu_conv2d_opts co = {
        .stride = 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1, .act = NPU_ACT_RELU};
    struct npu_matmul_opts mo = {.out_f32 = true};
    struct npu_adamw_opts ao = {0.9f, 0.99f, 1e-8f, 0.01f, 1.0f};
    const struct npu_init zero = {NPU_INIT_ZERO, 0}, one = {NPU_INIT_CONST, 1};
    npu_val x, h, loss;
    npu_graph *g;

    assert_int_equal(npu_graph_new(NPU_GRAPH_TRAIN, &g), 0);
    x = npu_cast(g, npu_input(g, "x", NPU_F32, 4, (int64_t[]){16, 8, 8, 1}), NPU_BF16);
    co.bias = npu_param(g, "conv.b", 1, (int64_t[]){8}, zero);
    h = npu_conv2d(g, x, npu_param(g, "conv.w", 4, (int64_t[]){3, 3, 1, 8}, (struct npu_init){NPU_INIT_NORMAL, 0.3f}),
                   &co);
    h = npu_reshape(g, h, 2, (int64_t[]){16, 128});
    h = npu_layer_norm(g, h, npu_param(g, "ln.g", 1, (int64_t[]){128}, one),
                       npu_param(g, "ln.b", 1, (int64_t[]){128}, zero), 1e-5f);
    mo.bias = npu_param(g, "fc.b", 1, (int64_t[]){2}, zero);
    h = npu_matmul(g, h, npu_param(g, "fc.w", 2, (int64_t[]){128, 2}, (struct npu_init){NPU_INIT_NORMAL, 0.1f}), &mo);
    loss = npu_cross_entropy(g, h, npu_input(g, "class", NPU_I32, 1, (int64_t[]){16}));
    npu_output(g, "loss", loss);
    npu_graph_backward(g, loss);
    npu_graph_adamw(g, &ao);
    assert_string_equal(npu_graph_error(g), "");
    return g;
}

static float picture_step(npu_plan *p, int step)
{
    float x[16 * 64], lr = 0.01f, s = (float)step, loss;
    int32_t class[16];

    for (int i = 0; i < 16; i++) {
        class[i] = (int32_t)(npu_rng_u64((uint64_t)step, (uint64_t)i) & 1);
        for (int k = 0; k < 64; k++)
            x[i * 64 + k] = npu_rng_normal((uint64_t)step, (uint64_t)(100 + i * 64 + k)) * 0.3f +
                            ((k % 8 >= 4) == class[i] ? 0.5f : 0);
    }
    npu_plan_write(p, "x", x, sizeof x);
    npu_plan_write(p, "class", class, sizeof class);
    npu_plan_write(p, "lr", &lr, sizeof lr);
    npu_plan_write(p, "step", &s, sizeof s);
    assert_int_equal(npu_plan_run(p), 0);
    assert_int_equal(npu_plan_read(p, "loss", &loss, sizeof loss), 0);
    return loss;
}

static void a_network_learns_and_resumes(void **state)
{
    char path[] = "/tmp/npu-test-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    for (int i = 0; i < 2; i++) {
        npu_dev *dev = open_device(i);
        npu_graph *g = dev ? picture_graph() : NULL;
        npu_plan *p, *q;
        float first = 0, last = 0, a, b;

        if (!dev)
            continue;
        assert_int_equal(npu_plan_new(dev, g, NULL, &p), 0);
        assert_int_equal(npu_plan_new(dev, g, NULL, &q), 0);
        npu_plan_init(p, 1);
        for (int step = 1; step <= 40; step++) {
            last = picture_step(p, step);
            first = step == 1 ? last : first;
        }
        assert_true(last < 0.3f * first);
        assert_int_equal(npu_plan_save(p, path, NPU_SAVE_PARAMS | NPU_SAVE_MOMENTS, NULL), 0);
        assert_int_equal(npu_plan_load(q, path, true), 0);
        for (int step = 41; step <= 45; step++) {
            a = picture_step(p, step);
            b = picture_step(q, step);
            assert_memory_equal(&a, &b, sizeof a);
        }
        npu_plan_free(p);
        npu_plan_free(q);
        npu_graph_free(g);
        npu_dev_close(dev);
    }
    unlink(path);
}

static int setup(void **state)
{
    ctx = open_ctx();
    return 0;
}

static int teardown(void **state)
{
    ctx = npu_ctx_free(ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adamw_follows_the_formula),
        cmocka_unit_test(sgd_follows_the_formula),
        cmocka_unit_test(a_network_learns_and_resumes),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
