/* access.c - checked access to the memories and conversion of elements. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "libnpu/dtype.h"
#include "libnpu/sim/machine.h"

static uint8_t *out_of_range(struct sim_machine *m, enum sim_mem mem, int64_t at, int64_t size, bool write, int *ret_r)
{
    snprintf(m->error, sizeof m->error, "%s %lld bytes at %lld of %s, which has %llu", write ? "writes" : "reads",
             (long long)size, (long long)at, sim_mem_names[mem], (unsigned long long)m->mem[mem].size);
    *ret_r = -EFAULT;
    return NULL;
}

uint8_t *sim_access(struct sim_machine *m, enum sim_mem mem, int64_t at, int64_t size, bool write, int *ret_r)
{
    struct sim_memory *t = &m->mem[mem];
    const uint8_t *poison;

    if (at < 0 || (uint64_t)at > t->size || (uint64_t)size > t->size - (uint64_t)at)
        return out_of_range(m, mem, at, size, write, ret_r);
    if (write) {
        memset(t->valid + at, 1, (size_t)size);
        return t->byte + at;
    }
    poison = memchr(t->valid + at, 0, (size_t)size);
    if (poison) {
        snprintf(m->error, sizeof m->error, "reads poison at %lld of %s: nothing was written there",
                 (long long)(poison - t->valid), sim_mem_names[mem]);
        *ret_r = -ENODATA;
        return NULL;
    }
    return t->byte + at;
}

static void from_bytes(enum npu_dtype t, const uint8_t *p, uint32_t n, float *v)
{
    uint16_t h;
    int32_t w;

    switch (t) {
    case NPU_F32:
        memcpy(v, p, n * sizeof *v);
        return;
    case NPU_BF16:
    case NPU_F16:
        for (uint32_t k = 0; k < n; k++) {
            memcpy(&h, p + 2 * (size_t)k, 2);
            v[k] = t == NPU_BF16 ? npu_bf16_to_f32(h) : npu_f16_to_f32(h);
        }
        return;
    case NPU_I32:
        for (uint32_t k = 0; k < n; k++) {
            memcpy(&w, p + 4 * (size_t)k, 4);
            v[k] = (float)w;
        }
        return;
    default:
        for (uint32_t k = 0; k < n; k++)
            v[k] = t == NPU_I8 ? (float)(int8_t)p[k] : (float)p[k];
    }
}

static double saturated(float v, double lo, double hi)
{
    double r = nearbyint((double)v);
    return isnan(v) ? 0 : r < lo ? lo : r > hi ? hi : r;
}

static void to_bytes(enum npu_dtype t, const float *v, uint32_t n, uint8_t *p)
{
    uint16_t h;
    int32_t w;

    switch (t) {
    case NPU_F32:
        memcpy(p, v, n * sizeof *v);
        return;
    case NPU_BF16:
    case NPU_F16:
        for (uint32_t k = 0; k < n; k++) {
            h = t == NPU_BF16 ? npu_f32_to_bf16(v[k]) : npu_f32_to_f16(v[k]);
            memcpy(p + 2 * (size_t)k, &h, 2);
        }
        return;
    case NPU_I32:
        for (uint32_t k = 0; k < n; k++) {
            w = (int32_t)saturated(v[k], INT32_MIN, INT32_MAX);
            memcpy(p + 4 * (size_t)k, &w, 4);
        }
        return;
    default:
        for (uint32_t k = 0; k < n; k++)
            p[k] = t == NPU_I8 ? (uint8_t)(int8_t)saturated(v[k], -128, 127) : (uint8_t)saturated(v[k], 0, 255);
    }
}

int sim_fetch(struct sim_machine *m, uint8_t place, int64_t at, int64_t stride, uint32_t n, float *ret_value)
{
    const enum npu_dtype t = SIM_PLACE_DTYPE(place);
    const int64_t size = (int64_t)npu_dtype_size(t);
    const uint8_t *p;
    int r = 0;

    if (stride == 0 || stride == 1) {
        p = sim_access(m, SIM_PLACE_MEM(place), at, stride ? size * n : size, false, &r);
        if (!p)
            return r;
        from_bytes(t, p, stride ? n : 1, ret_value);
        for (uint32_t k = 1; !stride && k < n; k++)
            ret_value[k] = ret_value[0];
        return 0;
    }
    for (uint32_t k = 0; k < n; k++) {
        p = sim_access(m, SIM_PLACE_MEM(place), at + k * stride * size, size, false, &r);
        if (!p)
            return r;
        from_bytes(t, p, 1, ret_value + k);
    }
    return 0;
}

int sim_put(struct sim_machine *m, uint8_t place, int64_t at, uint32_t n, const float *value)
{
    const enum npu_dtype t = SIM_PLACE_DTYPE(place);
    int r = 0;
    uint8_t *p = sim_access(m, SIM_PLACE_MEM(place), at, (int64_t)npu_dtype_size(t) * n, true, &r);

    if (p)
        to_bytes(t, value, n, p);
    return r;
}
