/* quant_calib.c - what a network's values look like on pictures: ranges for static int8, and how far a quantised
 * network's layers are from the f32 ones. */
#include <stdlib.h>

#include "libnpu/op/mat.h"
#include "libnpu/plan.h"
#include "libnpu/quant.h"

enum { BINS = 8192, MSE_STEPS = 40 };
static const double percentile = 0.9999;

/* The histogram goes from -reach to reach; where a value lies outside, bins are joined in pairs and reach doubles. */
struct watched {
    npu_val v;
    float lo, hi, reach;
    uint64_t *bin;
    uint64_t n;
};

struct npu_calib {
    npu_plan *p;
    struct watched *w;
    int n;
};

static void watch(struct npu_calib *c, npu_val v)
{
    if (v == NPU_NONE || npu_val_dtype(c->p->graph, v) != NPU_F32)
        return;
    for (int i = 0; i < c->n; i++)
        if (c->w[i].v == v)
            return;
    c->w[c->n++] = (struct watched){.v = v, .lo = INFINITY, .hi = -INFINITY};
}

int npu_calib_new(npu_plan *p, struct npu_calib **ret_calib)
{
    const npu_graph *g = p->graph;
    struct npu_calib *c = calloc(1, sizeof *c);
    bool ok = c != NULL;

    if (!p->opts.keep_values) {
        free(c);
        return -EINVAL;
    }
    ok = ok && (c->w = calloc((size_t)g->n_nodes * 3 + 1, sizeof *c->w));
    for (int32_t i = 0; ok && i < g->n_nodes; i++) {
        const struct npu_node *n = g->node[i];

        c->p = p;
        if (n->op != &npu_op_matmul && n->op != &npu_op_conv2d)
            continue;
        watch(c, n->in[0]);
        watch(c, n->in[3]);
        watch(c, n->out[0]);
    }
    for (int i = 0; ok && i < c->n; i++)
        ok = (c->w[i].bin = calloc(BINS, sizeof *c->w[i].bin)) != NULL;
    if (!ok) {
        npu_calib_free(c);
        return -ENOMEM;
    }
    *ret_calib = c;
    return 0;
}

struct npu_calib *npu_calib_free(struct npu_calib *c)
{
    for (int i = 0; c && c->w && i < c->n; i++)
        free(c->w[i].bin);
    free(c ? c->w : NULL);
    free(c);
    return NULL;
}

/* A value of a plan as f32, malloc'ed. */
static int read_floats(npu_plan *p, npu_val v, float scale, int zero, float **ret_x, int64_t *ret_n)
{
    const struct npu_value *val = npu_value_of(p->graph, v);
    const int64_t n = npu_shape_elements(&val->type.shape);
    struct npu_tensor t = {val->type.dtype, val->type.shape, malloc(npu_type_bytes(&val->type) + 1)};
    float *x = malloc((size_t)(n + 1) * sizeof *x);
    int r = t.data && x ? npu_plan_read_val(p, v, t.data, npu_type_bytes(&val->type)) : -ENOMEM;

    for (int64_t i = 0; r >= 0 && i < n; i++)
        x[i] = t.dtype == NPU_I8 ? (npu_load(&t, i) - (float)zero) * scale : npu_load(&t, i);
    free(t.data);
    if (r < 0) {
        free(x);
        return r;
    }
    *ret_x = x;
    *ret_n = n;
    return 0;
}

static void widen(struct watched *w, float most)
{
    if (!(w->reach > 0))
        w->reach = exp2f(ceilf(log2f(fmaxf(most, 1e-30f))));
    while (most > w->reach) {
        for (int i = 0; i < BINS / 4;
             i++) { /* from the middle outwards, so that nothing is read after it was written */
            const int up = BINS / 2 + i, down = BINS / 2 - 1 - i;
            const uint64_t a = w->bin[BINS / 2 + 2 * i] + w->bin[BINS / 2 + 2 * i + 1],
                           b = w->bin[BINS / 2 - 1 - 2 * i] + w->bin[BINS / 2 - 2 - 2 * i];

            w->bin[up] = a;
            w->bin[down] = b;
        }
        memset(w->bin, 0, BINS / 4 * sizeof *w->bin);
        memset(w->bin + BINS - BINS / 4, 0, BINS / 4 * sizeof *w->bin);
        w->reach *= 2;
    }
}

static void look(struct watched *w, const float *x, int64_t n)
{
    float lo = w->lo, hi = w->hi;

    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            continue;
        lo = fminf(lo, x[i]);
        hi = fmaxf(hi, x[i]);
    }
    w->lo = lo;
    w->hi = hi;
    if (!(lo <= hi))
        return;
    widen(w, fmaxf(-lo, hi));
    for (int64_t i = 0; i < n; i++) {
        const int bin = isfinite(x[i]) ? (int)((x[i] / w->reach + 1) * (BINS / 2)) : -1;

        if (bin >= 0)
            w->bin[bin < BINS ? bin : BINS - 1]++;
        w->n += bin >= 0;
    }
}

static float middle(const struct watched *w, int bin)
{
    return (((float)bin + 0.5f) / (BINS / 2) - 1) * w->reach;
}

int npu_calib_add(struct npu_calib *c)
{
    int r = 0;

    for (int i = 0; i < c->n && r == 0; i++) {
        float *x;
        int64_t n;

        r = read_floats(c->p, c->w[i].v, 1.0f, 0, &x, &n);
        if (r < 0)
            break;
        look(&c->w[i], x, n);
        free(x);
    }
    return r;
}

static double squared_error(const struct watched *w, float lo, float hi)
{
    const float scale = fmaxf((fmaxf(hi, 0.0f) - fminf(lo, 0.0f)) / 255.0f, 1e-30f);
    double sum = 0;

    lo = fminf(lo, 0.0f);
    hi = fmaxf(hi, 0.0f);
    for (int i = 0; i < BINS; i++) {
        const float x = middle(w, i), kept = fminf(fmaxf(x, lo), hi);
        const double e = (double)rintf(kept / scale) * (double)scale - (double)x;

        sum += w->bin[i] ? e * e * (double)w->bin[i] : 0;
    }
    return sum;
}

/* The bin behind which, in the direction of step, one value in 10,000 lies. */
static float cut_at(const struct watched *w, int first, int step)
{
    const double few = (1 - percentile) * (double)w->n;
    double sum = 0;
    int i = first;

    for (; i >= 0 && i < BINS; i += step) {
        sum += (double)w->bin[i];
        if (sum > few)
            break;
    }
    return fminf(fmaxf(middle(w, i), w->lo), w->hi);
}

static struct npu_quant_range choose(const struct watched *w, enum npu_calib_method method)
{
    struct npu_quant_range r = {w->lo, w->hi};
    double best = INFINITY;

    if (w->n == 0 || method == NPU_CALIB_MINMAX)
        return r;
    if (method == NPU_CALIB_PERCENTILE)
        return (struct npu_quant_range){cut_at(w, 0, 1), cut_at(w, BINS - 1, -1)};
    for (int k = 0; k < MSE_STEPS; k++) {
        const float share = 1.0f - (float)k / (MSE_STEPS + 10);
        const double e = squared_error(w, w->lo * share, w->hi * share);

        if (e < best) {
            best = e;
            r = (struct npu_quant_range){w->lo * share, w->hi * share};
        }
    }
    return r;
}

void npu_calib_ranges(struct npu_calib *c, enum npu_calib_method method, struct npu_quant_range *ret_range)
{
    for (npu_val v = 0; v <= c->p->graph->n_values; v++)
        ret_range[v] = (struct npu_quant_range){1, -1};
    for (int i = 0; i < c->n; i++)
        ret_range[c->w[i].v] = choose(&c->w[i], method);
}

/* ---- f32 against quantised ---- */
static npu_val result_of(const npu_graph *g, const char *weight)
{
    for (int32_t i = 0; i < g->n_nodes; i++) {
        const struct npu_value *w = g->node[i]->n_in > 1 ? npu_value_of(g, g->node[i]->in[1]) : NULL;

        if (w && w->name && strcmp(w->name, weight) == 0)
            return g->node[i]->out[0];
    }
    return -ENOENT;
}

static int add_error(npu_plan *f32, npu_plan *quantised, npu_val v, float scale, int zero, struct npu_quant_error *e)
{
    float *a = NULL, *b = NULL;
    int64_t na = 0, nb = 0;
    int r = v < 0 ? v : read_floats(f32, v, 1.0f, 0, &a, &na);

    if (r == 0)
        r = read_floats(quantised, v, scale, zero, &b, &nb);
    for (int64_t i = 0; r == 0 && i < na && i < nb; i++) {
        const double d = (double)b[i] - (double)a[i];

        e->signal += (double)a[i] * (double)a[i];
        e->noise += d * d;
    }
    free(a);
    free(b);
    return r;
}

int npu_quant_compare(npu_plan *f32, npu_plan *quantised, const struct npu_quant_recipe *recipe,
                      struct npu_quant_error *layer_error)
{
    int r = 0;

    for (int i = 0; i < recipe->n_layers && r == 0; i++) {
        const struct npu_quant_layer *l = &recipe->layer[i];

        r = add_error(f32, quantised, result_of(f32->graph, l->weight), l->y_scale, l->y_zero, &layer_error[i]);
    }
    return r;
}

int npu_quant_compare_outputs(npu_plan *f32, npu_plan *quantised, struct npu_quant_error *output_error)
{
    const npu_graph *g = f32->graph;
    int r = 0;

    for (int i = 0; i < g->n_outputs && r == 0; i++)
        r = add_error(f32, quantised, g->output[i].val, 1.0f, 0, &output_error[i]);
    return r;
}

int npu_graph_n_values(const npu_graph *g)
{
    return g->n_values;
}

const char *npu_graph_output_name(const npu_graph *g, int index)
{
    return index >= 0 && index < g->n_outputs ? g->output[index].name : NULL;
}
