/* quantise.cl - between float and int8 (libnpu/op/quantise.c). Bit-exact: no operation here may be contracted or rounded in another
 * way: single products, rint, whole numbers. */
inline int8 to_int8(float8 x, float inv, int zero)
{
    return clamp(convert_int8(rint(fmax(fmin(x * inv, (float8)512.0f), (float8)-512.0f))) + zero, -128, 127);
}

inline void store_char8(global char *y, int i, int n, int8 v)
{
    if (n >= 8) {
        vstore8(convert_char8(v), 0, y + i);
    } else {
        int t[8];

        vstore8(v, 0, t);
        for (int k = 0; k < n; k++)
            y[i + k] = (char)t[k];
    }
}

#ifdef K_quantise
kernel void quantise(const global T(0) *x, global char *y, float inv, int zero, NPU_SPAN_ARGS)
{
    NPU_SPAN8(i)
        store_char8(y, i, i_n, to_int8(LD8(0, x, i, i_n), inv, zero));
}
#endif

#ifdef K_dequantise
kernel void dequantise(const global char *x, global T(1) *y, float scale, int zero, NPU_SPAN_ARGS)
{
    NPU_SPAN8(i)
        ST8(1, y, i, i_n, (LD8(0, x, i, i_n) - (float)zero) * scale); /* the difference is exact */
}
#endif

#ifdef K_quantise_range
kernel void quantise_range(const global T(0) *x, global char *y, const global float *range, NPU_SPAN_ARGS)
{
    const float inv = range[1];
    const int zero = (int)range[2];

    NPU_SPAN8(i)
        store_char8(y, i, i_n, to_int8(LD8(0, x, i, i_n), inv, zero));
}
#endif

#ifdef K_range_parts
/* smallest and largest of each part, 0 among them */
kernel void range_parts(const global T(0) *x, global float *part, int n, int len)
{
    const int p = get_global_id(0), first = p * len, end = min(first + len, n);
    float8 lo = 0.0f, hi = 0.0f;
    float t[16];

    if (first >= n)
        return;
    for (int i = first; i < end; i += 8) {
        const float8 v = LD8(0, x, i, end - i);

        lo = v < lo ? v : lo;
        hi = v > hi ? v : hi;
    }
    vstore8(lo, 0, t);
    vstore8(hi, 1, t);
    for (int k = 1; k < 8; k++) {
        t[0] = t[k] < t[0] ? t[k] : t[0];
        t[8] = t[8 + k] > t[8] ? t[8 + k] : t[8];
    }
    part[2 * p] = t[0];
    part[2 * p + 1] = t[8];
}
#endif

#ifdef K_range_whole
/* 1 / x from a whole-number division: the same everywhere */
inline float reciprocal(float x)
{
    const uint u = as_uint(x);
    const int e = (int)(u >> 23) - 150;
    const uint q = (uint)((1ul << 47) / ((u & 0x7fffffu) | 0x800000u));

    return as_float(q == 1u << 24 ? (uint)(104 - e) << 23 : (uint)(103 - e) << 23 | (q & 0x7fffffu));
}

kernel void range_whole(const global float *part, global float *range, int parts)
{
    float lo = 0.0f, hi = 0.0f, scale, inv;

    if (get_global_id(0) > 0)
        return;
    for (int p = 0; p < parts; p++) {
        lo = part[2 * p] < lo ? part[2 * p] : lo;
        hi = part[2 * p + 1] > hi ? part[2 * p + 1] : hi;
    }
    lo = fmax(lo, -1e30f);
    hi = fmin(hi, 1e30f);
    scale = fmax((hi - lo) * 0x1.010102p-8f, 1e-30f);
    inv = reciprocal(scale);
    range[0] = scale;
    range[1] = inv;
    range[2] = (float)clamp(-128 - (int)rint(fmax(lo * inv, -512.0f)), -128, 127);
}
#endif
