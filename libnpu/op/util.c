/* util.c - what operations share: shape checks with reasons, rows as f32 for the references, broadcasting, launch
 * sizes. */
#include "libnpu/op/util.h"

#include <stdarg.h>

int op_why(char *why, size_t size, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(why, size, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

const char *op_shape_text(const struct npu_shape *s)
{
    static _Thread_local char text[4][NPU_MAX_DIMS * 21 + 3];
    static _Thread_local unsigned next;
    char *t = text[next++ % 4];
    size_t at = 0;

    t[at++] = '[';
    for (int i = 0; i < s->rank && i < NPU_MAX_DIMS; i++)
        at += (size_t)sprintf(t + at, i ? ",%lld" : "%lld", (long long)s->dim[i]);
    t[at++] = ']';
    t[at] = 0;
    return t;
}

bool op_same_shape(const struct npu_shape *a, const struct npu_shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

bool op_is_float(enum npu_dtype t)
{
    return t == NPU_F32 || t == NPU_BF16 || t == NPU_F16;
}

int op_need_float(const struct npu_tensor_type *in, int i, char *why, size_t size)
{
    if (op_is_float(in[i].dtype))
        return 0;
    return op_why(why, size, "input %d is %s, needs f32, bf16 or f16: npu_cast it", i, npu_dtype_name(in[i].dtype));
}

int op_unary_shape(struct npu_node *n, const struct npu_tensor_type *in, struct npu_tensor_type *out, char *why,
                   size_t size)
{
    if (n->n_in != 1)
        return op_why(why, size, "needs 1 input, got %d", n->n_in);
    n->n_out = 1;
    out[0] = in[0];
    return op_need_float(in, 0, why, size);
}

int op_need_f32(const struct npu_tensor_type *in, int i, const char *name, int rank, const int64_t *dim, char *why,
                size_t size)
{
    struct npu_shape want = {.rank = rank};

    for (int d = 0; d < rank; d++)
        want.dim[d] = dim[d];
    if (in[i].dtype == NPU_F32 && op_same_shape(&in[i].shape, &want))
        return 0;
    return op_why(why, size, "%s is %s %s, needs f32 %s", name, npu_dtype_name(in[i].dtype),
                  op_shape_text(&in[i].shape), op_shape_text(&want));
}

int64_t op_span(const struct npu_shape *s, int from, int to)
{
    int64_t n = 1;

    for (int i = from; i < to; i++)
        n *= s->dim[i];
    return n;
}

int64_t op_rows(const struct npu_shape *s)
{
    return op_span(s, 0, s->rank - 1);
}

const float *op_get(const struct npu_tensor *t, int64_t i, int64_t n, float *buf)
{
    if (t->dtype == NPU_F32)
        return (const float *)t->data + i;
    for (int64_t k = 0; k < n; k++)
        buf[k] = npu_load(t, i + k);
    return buf;
}

void op_put(const struct npu_tensor *t, int64_t i, int64_t n, const float *v)
{
    if (t->dtype == NPU_F32) {
        memmove((float *)t->data + i, v, (size_t)n * sizeof(float));
        return;
    }
    for (int64_t k = 0; k < n; k++)
        npu_store(t, i + k, v[k]);
}

int op_bcast_make(const struct npu_shape *x, const struct npu_shape *y, struct op_bcast *ret_b)
{
    struct op_bcast b = {.inner = 1, .rows = 1};
    int64_t stride = 1, dims[NPU_MAX_DIMS + 1] = {1}, steps[NPU_MAX_DIMS + 1] = {0};
    int n = 0; /* merged dims, innermost first */

    if (y->rank > x->rank)
        return -EINVAL;
    for (int i = 0; i < x->rank; i++) {
        int64_t dx = x->dim[x->rank - 1 - i], dy = i < y->rank ? y->dim[y->rank - 1 - i] : 1,
                step = dy == 1 ? 0 : stride;

        if (dy != dx && dy != 1)
            return -EINVAL;
        stride *= dy;
        if (dx == 1)
            continue;
        if (n && ((step == 0 && steps[n - 1] == 0) || (step && step == steps[n - 1] * dims[n - 1]))) {
            dims[n - 1] *= dx;
            continue;
        }
        dims[n] = dx;
        steps[n++] = step;
    }
    if (n) { /* the innermost step is 0 or 1: y's own strides begin at 1 */
        b.inner = dims[0];
        b.step = steps[0];
    }
    for (int i = 1; i < n; i++) {
        b.dim[b.n_outer] = dims[i];
        b.stride[b.n_outer++] = steps[i];
        b.rows *= dims[i];
    }
    *ret_b = b;
    return 0;
}

int64_t op_bcast_base(const struct op_bcast *b, int64_t row)
{
    int64_t at = 0;

    for (int i = 0; i < b->n_outer; i++) {
        at += row % b->dim[i] * b->stride[i];
        row /= b->dim[i];
    }
    return at;
}

void op_bcast_args(struct npu_launch *k, const struct op_bcast *b)
{
    int n = b->n_outer;

    /* y is the same for every row: no need to find the row's place */
    while (n && b->stride[n - 1] == 0)
        n--;
    npu_launch_i32(k, b->inner);
    npu_launch_i32(k, b->rows);
    npu_launch_i32(k, b->step);
    npu_launch_i32(k, n);
    for (int i = 0; i < 5; i++)
        npu_launch_i32(k, i < b->n_outer ? b->dim[i] : 1);
    for (int i = 0; i < 5; i++)
        npu_launch_i32(k, i < b->n_outer ? b->stride[i] : 0);
}

struct npu_launch *op_launch(struct npu_lower *l, const char *source, const char *entry)
{
    struct npu_launch *k = npu_lower_launch(l, source, entry);

    if (k)
        npu_launch_def(k, "-DK_%s", entry);
    return k;
}

void op_launch_items(const struct npu_lower *l, struct npu_launch *k, int64_t items)
{
    if (op_is_cpu(l)) {
        npu_launch_size(k, (size_t)items, 0, 0);
        return;
    }
    npu_launch_size(k, (size_t)(op_ceil_div(items, 64) * 64), 0, 0);
    npu_launch_local(k, 64, 0, 0);
}

/* GPUs: 64 work-items a group, as many of them along the columns as there are chunks. */
static void gpu_tiles(struct npu_launch *k, int64_t rows, int64_t inner, int64_t tile_rows, int64_t tile_cols)
{
    int64_t x = op_ceil_div(inner, tile_cols), y = op_ceil_div(rows, tile_rows), lx = 1, ly;

    while (lx < 64 && lx < x)
        lx *= 2;
    ly = 64 / lx;
    npu_launch_i32(k, tile_rows);
    npu_launch_i32(k, tile_cols);
    npu_launch_size(k, (size_t)(op_ceil_div(x, lx) * lx), (size_t)(op_ceil_div(y, ly) * ly), 0);
    npu_launch_local(k, (size_t)lx, (size_t)ly, 0);
}

/* CPUs: stretches of about 8192 elements, shorter ones only to make `want` of them. */
static void cpu_tiles(struct npu_launch *k, int64_t rows, int64_t inner, int64_t want)
{
    enum { STRETCH = 8192, LEAST = 1024 };
    int64_t tile_rows = 1, tile_cols = inner;

    if (inner > 2 * STRETCH) {
        tile_cols = STRETCH;
    } else {
        tile_rows = inner < STRETCH ? STRETCH / inner : 1;
        if (tile_rows * want > rows)
            tile_rows = op_ceil_div(rows, want);
        if (tile_rows * inner < LEAST)
            tile_rows = op_ceil_div(LEAST, inner);
    }
    if (tile_rows > rows)
        tile_rows = rows;
    npu_launch_i32(k, tile_rows);
    npu_launch_i32(k, tile_cols);
    npu_launch_size(k, (size_t)op_ceil_div(inner, tile_cols), (size_t)op_ceil_div(rows, tile_rows), 0);
}

void op_launch_tiles(const struct npu_lower *l, struct npu_launch *k, int64_t rows, int64_t inner)
{
    if (op_is_cpu(l))
        cpu_tiles(k, rows, inner, 4 * (int64_t)npu_lower_traits(l)->compute_units);
    else
        gpu_tiles(k, rows, inner, 1, 8);
}

int64_t op_launch_sums(const struct npu_lower *l, struct npu_launch *k, int64_t rows, int64_t inner)
{
    int64_t chunks = op_ceil_div(inner, 8), most = 4096;

    if (op_is_cpu(l)) /* the order of the sums must not depend on the number of threads */
        cpu_tiles(k, rows, inner, 64);
    else if (chunks > most)
        gpu_tiles(k, rows, inner, rows, op_ceil_div(chunks, most) * 8);
    else
        gpu_tiles(k, rows, inner, op_ceil_div(rows * chunks, most), 8);
    return k ? (int64_t)(k->global[0] * k->global[1]) : 0;
}

void op_launch_cols(const struct npu_lower *l, struct npu_launch *k, int64_t sums, int64_t cols, int64_t len)
{
    int64_t tile_rows, tile_cols = cols < 1024 ? cols : 1024;

    if (!op_is_cpu(l)) {
        gpu_tiles(k, sums, cols, 1, 8);
        return;
    }
    tile_rows = op_ceil_div(sums, op_ceil_div(sums * (len + 1) * tile_cols, 8192));
    npu_launch_i32(k, tile_rows);
    npu_launch_i32(k, tile_cols);
    npu_launch_size(k, (size_t)op_ceil_div(cols, tile_cols), (size_t)op_ceil_div(sums, tile_rows), 0);
}

bool op_is_cpu(const struct npu_lower *l)
{
    enum npu_dev_kind kind = npu_lower_traits(l)->kind;

    return kind == NPU_KIND_CPU || kind == NPU_KIND_REF;
}

npu_val op_test_in(npu_graph *g, const char *name, enum npu_dtype t, int rank, const int64_t *dim)
{
    return npu_input(g, name, t, rank, dim);
}

npu_val op_test_param(npu_graph *g, const char *name, int rank, const int64_t *dim)
{
    return npu_param(g, name, rank, dim, (struct npu_init){NPU_INIT_UNIFORM, 1});
}

npu_val op_test_state(npu_graph *g, const char *name, int rank, const int64_t *dim, float lo, float hi)
{
    npu_val v = npu_state(g, name, NPU_F32, rank, dim, (struct npu_init){NPU_INIT_CONST, (lo + hi) / 2});

    npu_test_range(g, v, lo, hi);
    return v;
}
