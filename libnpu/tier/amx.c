/* amx.c - which kernels serve here, and the sizes that lowering and kernels share. */
#include "libnpu/tier/amx.h"

#include <pthread.h>
#include <stdlib.h>

static int64_t round_up(int64_t v, int64_t to)
{
    return (v + to - 1) / to * to;
}

size_t npu_amx_gather_scratch(const struct npu_amx_gather *g)
{
    return (size_t)round_up((int64_t)g->mb * g->kpad * 2, 4096);
}

size_t npu_amx_gather_packed(const struct npu_amx_gather *g)
{
    const int64_t phases = g->grad_x ? g->stride * g->stride : 1;

    return (size_t)(phases * g->groups * g->npad * g->kpad * 2);
}

struct npu_amx_wgrad_sizes npu_amx_wgrad_sizes(const struct npu_amx_wgrad *g)
{
    const int64_t more_x = (g->kw - 1) / g->stride, more_y = (g->kh - 1) / g->stride;
    struct npu_amx_wgrad_sizes s = {.wp = g->ow + more_x, .c16 = round_up(g->cing, 16), .npad = round_up(g->coutg, 32)};

    s.kl = round_up(g->rows * s.wp, 32);
    s.ld = round_up(s.kl + more_y * s.wp + more_x, 32);
    s.m_tiles = round_up((int64_t)g->kh * g->kw * (s.c16 / 16), 2);
    s.scratch = (size_t)round_up(2 * (g->stride * g->stride * s.c16 * s.ld + s.npad * s.kl), 4096);
    s.part = (size_t)(s.m_tiles * 16 * s.npad);
    return s;
}

/* ---- choice ---- */
static bool passed;

static void test_hardware(void)
{
    const struct npu_amx_kernels *k = npu_amx_hardware();

    passed = k && npu_amx_self_test(k) == 0;
}

bool npu_amx_usable(unsigned cpu)
{
    static const unsigned need = NPU_CPU_AMX_BF16 | NPU_CPU_AVX512 | NPU_CPU_AVX2_FMA;
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if ((cpu & need) != need)
        return false;
    pthread_once(&once, test_hardware);
    return passed;
}

const struct npu_amx_kernels *npu_amx_for(const struct npu_traits *t)
{
    const char *e = getenv("NPU_AMX_EMULATE");

    if (!t->native)
        return NULL;
    if (e && e[0] == '1')
        return &npu_amx_emulated;
    return npu_amx_usable(t->cpu) ? npu_amx_hardware() : NULL;
}
