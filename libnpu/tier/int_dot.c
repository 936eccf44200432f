/* int_dot.c - whether a device's integer dot products (cl_khr_integer_dot_product) can be trusted: int8 products and a
 * convolution of odd shapes against the C reference. */
#include "libnpu/tier/int_dot.h"

#include <stdlib.h>

#include "libnpu/dev.h"
#include "libnpu/quant.h"
#include "libnpu/rng.h"
#include "libnpu/tune.h"

static const struct shape {
    int64_t n, h, w, cin, cout, k;
    int stride, zero;
} shapes[] = {{1, 1, 7, 4, 1, 1, 1, 0}, {1, 1, 33, 36, 19, 1, 1, -128}, {2, 9, 7, 12, 5, 3, 2, 101}};

enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static npu_val any_int8(npu_graph *g, const char *name, int rank, const int64_t *dim)
{
    return npu_input(g, name, NPU_I8, rank, dim);
}

/* Sums as they are: f32 results with a scale of 1, below 2^24. */
static npu_val build(npu_graph *g, const struct shape *s)
{
    const struct npu_qlayer_opts o = {.stride = s->stride,
                                      .pad_top = s->k > 1,
                                      .pad_left = s->k > 1,
                                      .pad_bottom = s->k > 1,
                                      .pad_right = s->k > 1,
                                      .x_zero = s->zero};
    npu_val x = any_int8(g, "x", 4, (int64_t[]){s->n, s->h, s->w, s->cin}),
            w = any_int8(g, "w", 4, (int64_t[]){s->k, s->k, s->cin, s->cout});
    npu_val y =
        npu_qconv2d(g, x, w, npu_state(g, "one", NPU_F32, 1, &s->cout, (struct npu_init){NPU_INIT_CONST, 1}), &o);

    npu_output(g, "y", y);
    return y;
}

static int fill(npu_plan *p, const char *name)
{
    const npu_val v = npu_graph_find(p->graph, name);
    const int64_t n = npu_shape_elements(npu_val_shape(p->graph, v));
    int8_t *x = malloc((size_t)n + 1);
    int r = x ? 0 : -ENOMEM;

    for (int64_t i = 0; r == 0 && i < n; i++)
        x[i] = (int8_t)(npu_rng_uniform(npu_rng_key(11, name), (uint64_t)i) * 255.9f - 128.0f);
    if (r == 0)
        r = npu_plan_write_val(p, v, x, (size_t)n);
    free(x);
    return r;
}

/* The result on a device, malloc'ed; NULL if it can't be had. */
static float *run(struct npu_dev *d, npu_graph *g, npu_val y, size_t size)
{
    npu_plan *p = NULL;
    float *result = malloc(size);
    int r = result ? npu_plan_new(d, g, NULL, &p) : -ENOMEM;

    if (r == 0)
        r = npu_plan_init(p, 1);
    if (r == 0)
        r = fill(p, "x");
    if (r == 0)
        r = fill(p, "w");
    if (r == 0)
        r = npu_plan_run(p);
    if (r == 0)
        r = npu_plan_read_val(p, y, result, size);
    npu_plan_free(p);
    if (r < 0) {
        free(result);
        return NULL;
    }
    return result;
}

static bool shape_agrees(struct npu_dev *d, struct npu_dev *ref, const struct shape *s)
{
    npu_graph *g;
    bool same = false;

    if (npu_graph_new(0, &g) == 0) {
        const npu_val y = build(g, s);

        if (y > 0) {
            const size_t size = (size_t)npu_shape_elements(npu_val_shape(g, y)) * sizeof(float);
            float *a = run(d, g, y, size), *b = run(ref, g, y, size);

            same = a && b && memcmp(a, b, size) == 0;
            free(a);
            free(b);
        }
        npu_graph_free(g);
    }
    return same;
}

void npu_int_dot_test(struct npu_dev *d)
{
    const char *e = getenv("NPU_INT8_DOT");
    struct npu_dev_info info;
    struct npu_dev *ref = NULL;
    bool works = strstr(d->info.extensions, "cl_khr_integer_dot_product") || (e && e[0]);

    if (!works)
        return;
    if (!(e && e[0]) && npu_tune_get_test(d->tune, "int8-dot", &d->traits.int_dot))
        return;
    npu_dev_ref_info(&info);
    works = npu_dev_ref_open(d->ctx, &info, &ref) == 0;
    d->traits.int_dot = true;
    for (int i = 0; i < SHAPES && works; i++)
        works = shape_agrees(d, ref, &shapes[i]);
    d->traits.int_dot = works;
    if (works && !(e && e[0])) /* a failure may also be want of memory: tried again */
        npu_tune_set_test(d->tune, "int8-dot", true);
    if (ref)
        ref->ops->close(ref);
}
