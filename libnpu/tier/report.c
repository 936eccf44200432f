/* report.c - which tiers a device has and why it lacks the others: npu_dev_tier, for npu-info. */
#include "libnpu/dev.h"
#include "libnpu/dev/cpu.h"
#include "libnpu/tier/avx2.h"
#include "libnpu/tier/bf16_native.h"
#include "libnpu/tier/builtin.h"
#include "libnpu/tier/exact_avx2.h"
#include "libnpu/tier/int8_native.h"
#include "libnpu/tier/subgroup.h"
#include "libnpu/tier/tier.h"
#include "libnpu/tune.h"

static bool starts_with(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

static bool is_native(const char *name)
{
    return starts_with(name, "amx-") || starts_with(name, "avx512-") || starts_with(name, "vnni") ||
           starts_with(name, "avx2") || strcmp(name, "exact-avx2") == 0;
}

static const struct npu_int8_kernels *int8_kernels(const char *name)
{
    const struct npu_int8_kernels *k = NULL;

    for (int i = 0; (k = npu_int8_kernels(i)) && strcmp(k->tier, name) != 0; i++)
        ;
    return k;
}

static const struct npu_bf16_kernels *bf16_kernels(const char *name)
{
    const struct npu_bf16_kernels *k = NULL;

    for (int i = 0; (k = npu_bf16_kernels(i)) && strcmp(k->tier, name) != 0; i++)
        ;
    return k;
}

static const char *lacking(unsigned need, unsigned cpu)
{
    if ((npu_cpu_advertised() & need) != need)
        return "not advertised by the processor";
    if (npu_cpu_left_out() & need)
        return "left out by NPU_CPU";
    return (cpu & need) != need ? "advertised, but faults or computes wrongly (trial in a child process)" : NULL;
}

/* NULL: passed. buf: room for a text. */
static const char *why_not_native(const struct npu_traits *t, const char *name, char *buf, size_t size)
{
    const struct npu_int8_kernels *k = int8_kernels(name);
    const struct npu_bf16_kernels *b = bf16_kernels(name);
    const char *why;

    if (!t->native)
        return "the driver runs no native kernels";
    if (b) {
        why = lacking(b->need, t->cpu);
        return why ? why : npu_bf16_usable(b, t) ? NULL : "self-test: wrong results";
    }
    if (strcmp(name, "avx2") == 0) {
        if (!npu_avx2_kernels())
            return "not in this build";
        why = lacking(NPU_CPU_AVX2_FMA, t->cpu);
        return why ? why : npu_avx2_for(t) ? NULL : "self-test: wrong results, or left out by the environment";
    }
    if (strcmp(name, "exact-avx2") == 0) {
        if (!npu_exact_avx2_kernels())
            return "not in this build";
        why = lacking(NPU_CPU_AVX2_FMA, t->cpu);
        return why ? why : npu_exact_avx2_for(t) ? NULL : "self-test: wrong results, or the tier avx2 is not there";
    }
    if (!k)
        return "not in this build";
    why = lacking(k->need, t->cpu);
    return why ? why : npu_int8_usable(k, t, buf, size) ? NULL : buf;
}

#define IMG_MATRIX "cl_img_matrix_multiply"

/* Is there anything to say of this tier on such a device? */
static bool concerns(const struct npu_dev *d, const char *name)
{
    const struct npu_traits *t = &d->traits;
    const bool cpu = t->kind == NPU_KIND_CPU;

    if (starts_with(name, "subgroup-")) {
        const struct npu_subgroup_way *w;

        for (int i = 0; (w = npu_subgroup_way(i)); i++)
            if (strcmp(w->tier, name) == 0)
                return true;
        return false;
    }
    if (starts_with(name, "builtin"))
        return strcmp(name, npu_builtin_tier()) == 0 &&
               (strstr(name, "-emulated") || d->info.built_in_kernels[0] || t->kind == NPU_KIND_NPU);
    if (strcmp(name, "img-matrix") == 0)
        return t->kind == NPU_KIND_GPU || strstr(d->info.extensions, IMG_MATRIX);
    if (strstr(name, "-emulated")) {
        const struct npu_int8_kernels *k = int8_kernels(name);
        const struct npu_bf16_kernels *b = bf16_kernels(name);

        return k ? npu_int8_usable(k, t, NULL, 0) : b && npu_bf16_usable(b, t);
    }
    if (is_native(name))
        return cpu;
    if (starts_with(name, "vec"))
        return cpu && npu_tier_competes(t, name);
    return cpu || strcmp(name, "int8-vec8") != 0;
}

static void add_times(const struct npu_dev *d, struct npu_tier_info *i)
{
    struct npu_tune_score s;

    if (!d->tune || !npu_tune_score(d->tune, i->name, &s))
        return;
    if (s.best == s.classes)
        snprintf(i->why, sizeof i->why, "fastest in all %d classes of shapes measured", s.classes);
    else
        snprintf(i->why, sizeof i->why,
                 "fastest in %d of %d classes of shapes measured, slower by %.2f to %.2f times in others", s.best,
                 s.classes, s.least, s.most);
}

static void describe(struct npu_dev *d, const char *name, struct npu_tier_info *ret)
{
    char buf[128] = "";
    const char *why = NULL;

    memset(ret, 0, sizeof *ret);
    snprintf(ret->name, sizeof ret->name, "%s", name);
    if (is_native(name) && !strstr(name, "-emulated"))
        why = why_not_native(&d->traits, name, buf, sizeof buf);
    else if (strcmp(name, "int8-dot") == 0 && !d->traits.int_dot)
        why = strstr(d->info.extensions, "cl_khr_integer_dot_product") ? "self-test: results differ from the reference"
                                                                       : "cl_khr_integer_dot_product is not advertised";
    else if (starts_with(name, "subgroup-"))
        why = npu_subgroup_why_not(d, name, buf, sizeof buf);
    else if (starts_with(name, "builtin"))
        why = npu_builtin_why_not(d, buf, sizeof buf);
    else if (strcmp(name, "img-matrix") == 0)
        why = strstr(d->info.extensions, IMG_MATRIX) ? IMG_MATRIX " has no kernel here: its functions are not published"
                                                     : IMG_MATRIX " is not advertised";
    ret->passed = !why;
    if (why)
        snprintf(ret->why, sizeof ret->why, "%s", why);
    else
        add_times(d, ret);
}

int npu_dev_tier(npu_dev *d, int index, struct npu_tier_info *ret_info)
{
    const char *name;
    int n = 0;

    if (strcmp(d->ops->name, "cl") != 0) {
        if (index != 0)
            return -ERANGE;
        *ret_info = (struct npu_tier_info){.passed = true};
        snprintf(ret_info->name, sizeof ret_info->name, "%s", d->ops->name);
        return 0;
    }
    for (int i = 0; (name = npu_tier_name(i)); i++)
        if (concerns(d, name) && n++ == index) {
            describe(d, name, ret_info);
            return 0;
        }
    return -ERANGE;
}
