/* unary.cl - y = f(x) and gx = gy f' element by element (libnpu/op/unary.c). KIND: which f; a switch at run time would
 * halve the speed. */
#define RELU    0
#define RELU6   1
#define GELU    2
#define SIGMOID 3
#define TANH    4
#define EXP     5
#define ABS     6
#define GELU_A  0.7978845608f
#define GELU_B  0.044715f

inline float8 sigmoid8(float8 x)
{
    return 1.0f / (1.0f + npu_exp8(-x));
}

/* tanh(x) = 1 - 2 / (e^2x + 1), but its series near 0, where that cancels */
inline float8 tanh8(float8 x)
{
    float8 s = x * x, big = 1.0f - 2.0f / (npu_exp8(2.0f * x) + 1.0f);
    float8 p = -5.70498872745e-3f;

    p = p * s + 2.06390887954e-2f; /* Cephes' tanhf, |x| < 0.625 */
    p = p * s - 5.37397155531e-2f;
    p = p * s + 1.33314422036e-1f;
    p = p * s - 3.33332819422e-1f;
    return s < 0.390625f ? p * s * x + x : big;
}

inline float8 unary8(int kind, float8 v)
{
    switch (kind) {
    case RELU:
        return fmax(v, 0.0f);
    case RELU6:
        return fmin(fmax(v, 0.0f), 6.0f);
    case GELU:
        return v * sigmoid8(2.0f * GELU_A * (v + GELU_B * v * v * v));
    case SIGMOID:
        return sigmoid8(v);
    case TANH:
        return tanh8(v);
    case EXP:
        return npu_exp8(v);
    case ABS:
        return fabs(v);
    }
    return v;
}

/* d f'(v) */
inline float8 slope8(int kind, float8 v, float8 d)
{
    float8 s;

    switch (kind) {
    case RELU:
        d = (v > 0.0f) ? d : (float8)0.0f;
        break;
    case RELU6:
        d = ((v > 0.0f) & (v < 6.0f)) ? d : (float8)0.0f;
        break;
    case GELU:
        s = sigmoid8(2.0f * GELU_A * (v + GELU_B * v * v * v));
        return d * (s + v * s * (1.0f - s) * (2.0f * GELU_A) * (1.0f + 3.0f * GELU_B * v * v));
    case SIGMOID:
        return d * (v * (1.0f - v));
    case TANH:
        return d * (1.0f - v * v);
    case EXP:
        return d * (v);
    case ABS:
        d = (v < 0.0f) ? -d : d;
        d = (v == 0.0f) ? (float8)0.0f : d;
        break;
    }
    return d;
}

#ifdef K_unary
kernel void unary(const global T(0) *x, global T(1) *y, NPU_SPAN_ARGS)
{
    NPU_SPAN8(i)
        ST8(1, y, i, i_n, unary8(KIND, LD8(0, x, i, i_n)));
}
#endif

#ifdef K_unary_grad
kernel void unary_grad(const global T(0) *x, const global T(1) *gy, global T(2) *gx, NPU_SPAN_ARGS)
{
    NPU_SPAN8(i)
        ST8(2, gx, i, i_n, slope8(KIND, LD8(0, x, i, i_n), LD8(1, gy, i, i_n)));
}
#endif
