/* erf.cl - erf(x) and x / 2 (1 + erf(x / sqrt(2))) element by element (libnpu/op/erf.c). */

/* Abramowitz and Stegun 7.1.26, but the series near 0, where the sign is all that 1 - ... would leave */
inline float8 erf8(float8 x)
{
    float8 a = fabs(x), t = 1.0f / (1.0f + 0.3275911f * a), s = x * x, p = 1.061405429f;

    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    return s < 1e-2f ? x * (1.12837916710f - s * (0.376126389f - s * 0.112837917f))
                     : copysign(1.0f - p * t * npu_exp8(-s), x);
}

#ifdef K_erf_all
kernel void erf_all(global const T(0) *x, global T(1) *y, NPU_SPAN_ARGS)
{
    NPU_SPAN8(i)
        ST8(1, y, i, i_n, erf8(LD8(0, x, i, i_n)));
}
#endif

#ifdef K_gelu_erf
inline float8 gelu8(float8 x)
{
    return 0.5f * x * (1.0f + erf8(0.70710678118f * x));
}

kernel void gelu_erf(global const T(0) *x, global T(1) *y, NPU_SPAN_ARGS)
{
    NPU_SPAN8(i)
        ST8(1, y, i, i_n, gelu8(LD8(0, x, i, i_n)));
}
#endif
