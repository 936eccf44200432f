/* tier.c - the order of all tiers; the vector tiers as devices of that width. */
#include "libnpu/tier/tier.h"

#include <stdlib.h>

static const char *const names[] = {
    "amx-int8",
    "amx-int8-emulated",
    "amx-bf16",
    "amx-bf16-emulated",
    "avx512-bf16",
    "avx512-bf16-emulated",
    "vnni512",
    "vnni512-emulated",
    "vnni256",
    "vnni256-emulated",
    "avx2-int8",
    "avx2-int8-emulated",
    "avx2",
    "exact-avx2",
    "builtin",
    "builtin-emulated",
    "subgroup-intel16",
    "subgroup-intel16-emulated",
    "subgroup-intel8",
    "subgroup-intel8-emulated",
    "subgroup-arm",
    "subgroup-arm-emulated",
    "int8-dot",
    "int8-dot-emulated",
    "vec16",
    "vec8",
    "vec4",
    "exact",
    "int8-vec8",
    "int8-depthwise",
    "img-matrix",
    "portable",
    "int8-portable",
    NULL,
};

const char *npu_tier_name(int i)
{
    return names[i];
}

static int width_of(const char *tier)
{
    return strncmp(tier, "vec", 3) == 0 ? atoi(tier + 3) : 0;
}

bool npu_tier_competes(const struct npu_traits *t, const char *tier)
{
    const int w = width_of(tier);

    if (w > 0) /* tiles of 8 fit the registers of NEON and run at a higher clock than those of 16 on AVX-512 */
        return t->kind == NPU_KIND_CPU && (w == t->vec_f32 || (w == 8 && t->vec_f32 >= 4));
    if (strcmp(tier, "portable") == 0 || strcmp(tier, "int8-portable") == 0)
        return t->kind != NPU_KIND_CPU;
    return true;
}

bool npu_tier_may_beat(const char *tier, const char *native)
{
    return strcmp(native, "avx2") == 0 && width_of(tier) > 8;
}

struct npu_traits npu_tier_traits(const struct npu_traits *t, const char *only)
{
    struct npu_traits to = *t;
    const int w = width_of(only);

    if (w > 0)
        to.vec_f32 = w;
    else if (strcmp(only, "portable") == 0 || strcmp(only, "int8-portable") == 0)
        to.vec_f32 = 1;
    to.int_dot = t->int_dot && strncmp(only, "int8-dot", 8) == 0;
    to.builtin = t->builtin && strncmp(only, "builtin", 7) == 0;
    to.subgroup = strncmp(only, "subgroup-", 9) == 0 ? t->subgroup : 0;
    return to;
}
