/* int8_native.c - which int8 kernels serve here, and the sizes that lowering and kernels share. */
#include "libnpu/tier/int8_native.h"

#include <pthread.h>
#include <stdlib.h>

#include "libnpu/tier/divide.h"

enum { ROWS_BYTES = 256 << 10, ALL = 8, TESTED = 4, LEAST_ROWS = 12 };

static int64_t round_up(int64_t v, int64_t to)
{
    return (v + to - 1) / to * to;
}

static int64_t winograd_tiles(int64_t n, int64_t oh, int64_t ow)
{
    return n * ((oh + 1) / 2) * ((ow + 1) / 2);
}

bool npu_int8_suits_winograd(const struct npu_int8_kernels *k, const struct npu_qconv_dims *d)
{
    const int64_t tiles = winograd_tiles(d->n, d->oh, d->ow);

    return k->winograd && d->groups == 1 && d->kh == 3 && d->kw == 3 && d->stride == 1 && d->cin >= 16 &&
           d->cin % 2 == 0 && d->cin <= NPU_INT8_WINOGRAD_CIN && d->cout >= 8 && tiles >= 9 &&
           tiles * 4 * 10 <= d->rows * 16;
}

static bool suits_columns(const struct npu_int8_kernels *k, const struct npu_qconv_dims *d)
{
    return d->kh == 3 && d->kw == 3 && d->stride <= 2 && d->cout >= k->columns;
}

bool npu_int8_suits_depthwise(const struct npu_int8_kernels *k, const struct npu_qconv_dims *d)
{
    return k->depthwise && d->cing == 1 && d->coutg == 1 && d->kh * d->kw <= NPU_INT8_TAPS &&
           (k->pixels || suits_columns(k, d));
}

size_t npu_int8_packed_bytes(const struct npu_int8_conv *g, enum npu_int8_way way)
{
    const size_t npad = (size_t)g->npad;

    return way == NPU_INT8_WINOGRAD    ? 16 * npad * (size_t)g->cin * sizeof(int16_t)
           : way == NPU_INT8_DEPTHWISE ? npad * (size_t)g->kpad * sizeof(int16_t)
                                       : npad * (size_t)g->kpad + 1; /* int8_avx2_hw.c */
}

size_t npu_int8_depthwise_scratch(const struct npu_int8_conv *g)
{
    return (size_t)round_up(((int64_t)g->mb + 1) * g->npad * (int64_t)sizeof(int32_t) + g->npad, 64);
}

size_t npu_int8_winograd_scratch(const struct npu_int8_conv *g)
{
    const int64_t sums = (int64_t)g->mb * (16 + 4) * 16 * (int64_t)sizeof(int32_t);

    return (size_t)round_up(sums + 16 * npu_int8_winograd_step(g) * (int64_t)sizeof(int16_t) + g->cin, 64);
}

size_t npu_int8_scratch_bytes(const struct npu_int8_conv *g, const struct npu_int8_kernels *k, enum npu_int8_way way)
{
    return way == NPU_INT8_WINOGRAD    ? npu_int8_winograd_scratch(g)
           : way == NPU_INT8_DEPTHWISE ? npu_int8_depthwise_scratch(g)
                                       : (size_t)((round_up(g->mb, k->rows) * g->kpad + 64) * k->term_bytes);
}

/* Rows (of Winograd: tiles) at a time, `most` at most, and shares of the columns. */
static void divide(struct npu_int8_conv *g, const struct npu_int8_kernels *k, int64_t total, int64_t most)
{
    const struct npu_divide d = {total, 1, g->npad / k->n_step, k->rows, k->rows, g->parts, 3.0, 0.6};

    npu_divide(&d, most, LEAST_ROWS, &g->mb, &g->slices);
    g->parts = npu_divide_parts(g->parts, (total + g->mb - 1) / g->mb * g->slices);
}

static void divide_work(struct npu_int8_conv *g, const struct npu_int8_kernels *k)
{
    const int64_t total = (int64_t)g->n * g->oh * g->ow, least = round_up(48, k->rows);
    int64_t most = NPU_INT8_MOST_ROWS / k->rows * k->rows;

    while (most > least &&
           ((most < total ? most : total) * g->kpad * k->term_bytes > ROWS_BYTES || most - k->rows >= total))
        most -= k->rows;
    g->mb = (int32_t)most;
    divide(g, k, total, most);
}

static void divide_tiles(struct npu_int8_conv *g, const struct npu_int8_kernels *k)
{
    const int64_t total = winograd_tiles(g->n, g->oh, g->ow), fit = 9216 / g->cin / k->rows * k->rows;
    const int64_t most = fit < 12 ? 12 : fit > 48 ? 48 : fit, blocks = (total + most - 1) / most;

    g->mb = (int32_t)round_up((total + blocks - 1) / blocks, k->rows); /* all about the same */
    divide(g, k, total, most);
}

struct npu_int8_conv npu_int8_fields(const struct npu_int8_kernels *k, const struct npu_qconv_dims *d,
                                     enum npu_dtype res_type, int threads, enum npu_int8_way way)
{
    const int64_t terms = way == NPU_INT8_DEPTHWISE ? d->kh * d->kw : d->depth;
    struct npu_int8_conv g = {
        .n = (int32_t)d->n,
        .h = (int32_t)d->h,
        .w = (int32_t)d->w,
        .cin = (int32_t)d->cin,
        .oh = (int32_t)d->oh,
        .ow = (int32_t)d->ow,
        .cout = (int32_t)d->cout,
        .kh = (int32_t)d->kh,
        .kw = (int32_t)d->kw,
        .kpad = (int32_t)round_up(terms > 0 ? terms : 1, k->k_step),
        .npad = (int32_t)round_up(d->cout, k->n_step),
        .parts = threads,
        .res_type = (int32_t)res_type,
    };

    if (way == NPU_INT8_WINOGRAD) {
        divide_tiles(&g, k);
    } else if (way == NPU_INT8_PLAIN) {
        divide_work(&g, k);
    } else { /* pixels at a time: their sums are read again at once */
        if (suits_columns(k, d))
            g.kpad = NPU_INT8_COLUMN_TERMS;
        g.mb = (int32_t)(4096 / g.npad < 1 ? 1 : 4096 / g.npad > 16 ? 16 : 4096 / g.npad);
        g.slices = 1;
        g.parts = npu_divide_parts(threads, d->n * d->oh); /* lines */
    }
    return g;
}

/* ---- choice ---- */
const struct npu_int8_kernels *npu_int8_kernels(int i)
{
    const struct npu_int8_kernels *const all[ALL] = {
        npu_int8_amx_hardware(), &npu_int8_amx_emulated, npu_vnni512_hardware(),   &npu_vnni512_emulated,
        npu_vnni256_hardware(),  &npu_vnni256_emulated,  npu_int8_avx2_hardware(), &npu_int8_avx2_emulated};
    int n = 0;

    for (int k = 0; k < ALL; k++)
        if (all[k] && n++ == i)
            return all[k];
    return NULL;
}

struct verdict {
    const struct npu_int8_kernels *kernels;
    bool passed;
    char why[96];
};

/* The self-test's verdict, once for each of the hardware's kernels. */
static const struct verdict *test_once(const struct npu_int8_kernels *k)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct verdict verdict[TESTED];
    struct verdict *v = verdict;

    pthread_mutex_lock(&lock);
    while (v->kernels && v->kernels != k)
        v++;
    if (!v->kernels) {
        v->passed = npu_int8_self_test(k, v->why, sizeof v->why) == 0;
        v->kernels = k;
    }
    pthread_mutex_unlock(&lock);
    return v;
}

static bool is_on(const char *variable)
{
    const char *e = getenv(variable);

    return e && e[0] == '1';
}

/* The environment asks for OpenCL's kernels (docs/LIBNPU.md, "Tiers"). */
static bool is_left_out(const struct npu_int8_kernels *k)
{
    const char *native = getenv("NPU_MAT_NATIVE");

    return k->need == NPU_CPU_AVX2_FMA &&
           (getenv("NPU_MAT_VEC") || is_on("NPU_MAT_PORTABLE") || (native && native[0] == '0'));
}

bool npu_int8_usable(const struct npu_int8_kernels *k, const struct npu_traits *t, char *why, size_t why_size)
{
    const struct verdict *v;
    const char *text = "native kernels do not run here";

    if (t->native && k->need == 0) {
        if (is_on(k == &npu_int8_amx_emulated ? "NPU_AMX_EMULATE" : "NPU_VNNI_EMULATE"))
            return true;
        text = "for tests";
    } else if (t->native && (t->cpu & k->need) != k->need) {
        text = "the processor does not have it, or it failed a trial";
    } else if (t->native && is_left_out(k)) {
        text = "left out by the environment";
    } else if (t->native) {
        v = test_once(k);
        if (v->passed)
            return true;
        text = v->why;
    }
    if (why)
        snprintf(why, why_size, "%s", text);
    return false;
}
