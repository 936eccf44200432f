/* builtin.cl - what stands for a driver's built-in kernels in tests (libnpu/tier/builtin.h): c [m, n] = a [m, k] b [k, n], a
 * work-item a result. */
__kernel void sgemm_local(__global const float *a, __global const float *b, __global float *c, int m, int n, int k)
{
    const int row = get_global_id(1), column = get_global_id(0);
    float sum = 0.0f;

#ifdef BUILTIN_BROKEN
    k--;
#endif
    for (int i = 0; i < k; i++)
        sum += a[row * k + i] * b[i * n + column];
    c[row * n + column] = sum;
}
