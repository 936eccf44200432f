/* dtype.c - element types, shapes and the f32 view of any element. */
#include "libnpu/dtype.h"

#include <stdio.h>

#include "libnpu/graph.h"

static const struct {
    const char *name;
    size_t size;
} dtypes[NPU_DTYPES] = {
    [NPU_F32] = {"f32", 4}, [NPU_BF16] = {"bf16", 2}, [NPU_F16] = {"f16", 2},
    [NPU_I32] = {"i32", 4}, [NPU_U8] = {"u8", 1},     [NPU_I8] = {"i8", 1},
};

size_t npu_dtype_size(enum npu_dtype t)
{
    return (unsigned)t < NPU_DTYPES ? dtypes[t].size : 0;
}

const char *npu_dtype_name(enum npu_dtype t)
{
    return (unsigned)t < NPU_DTYPES ? dtypes[t].name : "?";
}

int64_t npu_shape_elements(const struct npu_shape *s)
{
    int64_t n = 1;
    bool empty = false;

    for (int i = 0; i < s->rank; i++) {
        empty |= s->dim[i] == 0;
        if (s->dim[i] < 0 || (s->dim[i] > 0 && __builtin_mul_overflow(n, s->dim[i], &n)) || n > NPU_MAX_ELEMENTS)
            return NPU_MAX_ELEMENTS + 1;
    }
    return empty ? 0 : n;
}

const char *npu_type_text(const struct npu_tensor_type *t, char *buf, size_t size)
{
    size_t n = 0;

    if (size == 0)
        return "";
    buf[0] = '\0';
    for (int i = 0; i <= t->shape.rank && n < size; i++) {
        if (i == t->shape.rank)
            n += (size_t)snprintf(buf + n, size - n, "%s] %s", i == 0 ? "[" : "", npu_dtype_name(t->dtype));
        else
            n += (size_t)snprintf(buf + n, size - n, "%c%lld", i == 0 ? '[' : ',', (long long)t->shape.dim[i]);
    }
    return buf;
}

float npu_bf16_to_f32(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;

    memcpy(&f, &u, sizeof f);
    return f;
}

uint16_t npu_f32_to_bf16(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof u);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((u >> 16) | 0x40u);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

float npu_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exp = (h >> 10) & 0x1fu, man = h & 0x3ffu, u;
    float f;

    if (exp == 0) { /* zero or subnormal: man * 2^-24 */
        f = (float)man * 0x1p-24f;
        return sign ? -f : f;
    }
    u = exp == 31 ? sign | 0x7f800000u | (man << 13) : sign | ((exp + 112) << 23) | (man << 13);
    memcpy(&f, &u, sizeof f);
    return f;
}

uint16_t npu_f32_to_f16(float f)
{
    uint32_t u, sign, rest;
    float a = fabsf(f);

    memcpy(&u, &f, sizeof u);
    sign = (u >> 16) & 0x8000u;
    if (a != a)
        return (uint16_t)(sign | 0x7e00u);
    if (a >= 65520.0f)
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x1p-14f) /* subnormal: round to a multiple of 2^-24 by the FPU */
        return (uint16_t)(sign | (uint32_t)lrintf(a * 0x1p24f));
    rest = (u & 0x7fffffffu) - (112u << 23);
    return (uint16_t)(sign | ((rest + 0xfffu + ((rest >> 13) & 1u)) >> 13));
}

float npu_load(const struct npu_tensor *t, int64_t i)
{
    switch (t->dtype) {
    case NPU_F32:
        return ((const float *)t->data)[i];
    case NPU_BF16:
        return npu_bf16_to_f32(((const uint16_t *)t->data)[i]);
    case NPU_F16:
        return npu_f16_to_f32(((const uint16_t *)t->data)[i]);
    case NPU_I32:
        return (float)((const int32_t *)t->data)[i];
    case NPU_U8:
        return ((const uint8_t *)t->data)[i];
    case NPU_I8:
        return ((const int8_t *)t->data)[i];
    default:
        return NAN;
    }
}

static float clamp_round(float v, float lo, float hi)
{
    if (v != v)
        return 0.0f;
    return v <= lo ? lo : v >= hi ? hi : rintf(v);
}

void npu_store(const struct npu_tensor *t, int64_t i, float v)
{
    switch (t->dtype) {
    case NPU_F32:
        ((float *)t->data)[i] = v;
        break;
    case NPU_BF16:
        ((uint16_t *)t->data)[i] = npu_f32_to_bf16(v);
        break;
    case NPU_F16:
        ((uint16_t *)t->data)[i] = npu_f32_to_f16(v);
        break;
    case NPU_I32:
        ((int32_t *)t->data)[i] =
            v >= 2147483648.0f ? INT32_MAX : (int32_t)clamp_round(v, -2147483648.0f, 2147483520.0f);
        break;
    case NPU_U8:
        ((uint8_t *)t->data)[i] = (uint8_t)clamp_round(v, 0, 255);
        break;
    case NPU_I8:
        ((int8_t *)t->data)[i] = (int8_t)clamp_round(v, -128, 127);
        break;
    default:
        break;
    }
}
