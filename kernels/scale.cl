/* scale.cl - y = mul * x + add, element by element, rounded once. */
kernel void scale(global const T(0) *x, global T(1) *y, float mul, float add, NPU_SPAN_ARGS)
{
    NPU_SPAN_VEC(W, i)
    STV(1, W, y, i, fma(mul, LDV(0, W, x, i), add));
    NPU_SPAN_TAIL(W, i)
    ST(1, y, i, fma(mul, LD(0, x, i), add));
}
