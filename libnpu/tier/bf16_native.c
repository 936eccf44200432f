/* bf16_native.c - which bf16 kernels serve here, and the sizes that lowering and kernels share. */
#include "libnpu/tier/bf16_native.h"

#include <pthread.h>
#include <stdlib.h>

static int64_t round_up(int64_t v, int64_t to)
{
    return (v + to - 1) / to * to;
}

size_t npu_bf16_gather_scratch(const struct npu_bf16_gather *g)
{
    return (size_t)round_up((int64_t)g->mb * g->kpad * 2, 4096);
}

size_t npu_bf16_gather_packed(const struct npu_bf16_gather *g)
{
    const int64_t phases = g->grad_x ? g->stride * g->stride : 1;

    return (size_t)(phases * g->groups * g->npad * g->kpad * 2);
}

struct npu_bf16_wgrad_sizes npu_bf16_wgrad_sizes(const struct npu_bf16_wgrad *g)
{
    const int64_t more_x = (g->kw - 1) / g->stride, more_y = (g->kh - 1) / g->stride;
    struct npu_bf16_wgrad_sizes s = {
        .wp = g->ow + more_x, .c16 = round_up(g->cing, 16), .npad = round_up(g->coutg, 32)};

    s.kl = round_up(g->rows * s.wp, 32);
    s.pixels = round_up(s.kl + more_y * s.wp + more_x, 32);
    s.ld = (s.pixels / 32 | 1) * 32;
    s.tile_ld = s.kl * 16 + 32;
    s.m_tiles = round_up((int64_t)g->kh * g->kw * (s.c16 / 16), 2);
    s.scratch =
        (size_t)round_up(2 * (g->stride * g->stride * s.c16 * s.ld + s.npad / 16 * s.tile_ld) + 4 * s.pixels, 4096);
    s.part = (size_t)(s.m_tiles * 16 * s.npad);
    return s;
}

/* ---- choice ---- */
enum { ALL = 4 };

const struct npu_bf16_kernels *npu_bf16_kernels(int i)
{
    const struct npu_bf16_kernels *const all[ALL] = {npu_bf16_amx_hardware(), &npu_bf16_amx_emulated,
                                                     npu_bf16_dot_hardware(), &npu_bf16_dot_emulated};
    int n = 0;

    for (int k = 0; k < ALL; k++)
        if (all[k] && n++ == i)
            return all[k];
    return NULL;
}

/* The self-test's verdict, once for each of the hardware's kernels. */
static bool test_once(const struct npu_bf16_kernels *k)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct {
        const struct npu_bf16_kernels *kernels;
        bool passed;
    } verdict[ALL];
    bool passed;
    int i = 0;

    pthread_mutex_lock(&lock);
    while (verdict[i].kernels && verdict[i].kernels != k)
        i++;
    if (!verdict[i].kernels) {
        verdict[i].passed = npu_bf16_self_test(k) == 0;
        verdict[i].kernels = k;
    }
    passed = verdict[i].passed;
    pthread_mutex_unlock(&lock);
    return passed;
}

bool npu_bf16_usable(const struct npu_bf16_kernels *k, const struct npu_traits *t)
{
    if (!t->native)
        return false;
    if (k->need == 0) {
        const char *e = getenv(k == &npu_bf16_amx_emulated ? "NPU_AMX_EMULATE" : "NPU_BF16_EMULATE");

        return e && e[0] == '1';
    }
    return (t->cpu & k->need) == k->need && test_once(k);
}

bool npu_bf16_any(const struct npu_traits *t)
{
    const struct npu_bf16_kernels *k;

    for (int i = 0; (k = npu_bf16_kernels(i)); i++)
        if (npu_bf16_usable(k, t))
            return true;
    return false;
}
