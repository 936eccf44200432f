/* avx2_rows.c - what works row by row, and the table of the tier's kernels. */
#include "libnpu/tier/avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/avx2_kernels.h"
#include "libnpu/tier/avx2_simd.h"

/* Sum over the row of x, or of (x - mean)^2. */
static float row_sum(const float *x, int64_t n, bool squares, float mean)
{
    const __m256 m = _mm256_set1_ps(mean);
    __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};

    for (int64_t i = 0; i < n; i += 8) {
        const int64_t left = n - i;
        __m256 v = load_some(x + i, left);

        if (squares) {
            v = _mm256_sub_ps(v, m);
            if (left < 8)
                v = _mm256_and_ps(v, _mm256_castsi256_ps(first_lanes((int)left)));
            v = _mm256_mul_ps(v, v);
        }
        sum[i / 8 % 2] = _mm256_add_ps(sum[i / 8 % 2], v);
    }
    return sum8(_mm256_add_ps(sum[0], sum[1]));
}

void npu_avx2_layer_norm(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t rows = c->arg[4].i, n = c->arg[5].i;
    const float eps = c->arg[6].f, *gamma = c->p[1], *beta = c->p[2];

    for (int64_t r = rows * part / n_parts; r < rows * (part + 1) / n_parts; r++) {
        const float *x = (const float *)c->p[0] + r * n;
        const float mean = row_sum(x, n, false, 0.0f) / (float)n;
        const float rstd = 1.0f / sqrtf(row_sum(x, n, true, mean) / (float)n + eps);
        float *y = (float *)c->p[3] + r * n;

        for (int64_t i = 0; i < n; i += 8) {
            const int64_t left = n - i;
            __m256 v = _mm256_sub_ps(load_some(x + i, left), _mm256_set1_ps(mean));

            v = _mm256_mul_ps(_mm256_mul_ps(v, _mm256_set1_ps(rstd)), load_some(gamma + i, left));
            store_some(y + i, left, _mm256_add_ps(v, load_some(beta + i, left)));
        }
    }
}

static const struct npu_avx2_kernels kernels = {.pack = npu_avx2_pack,
                                                .conv = npu_avx2_conv_run,
                                                .winograd_pack = npu_avx2_winograd_pack,
                                                .winograd = npu_avx2_winograd,
                                                .depthwise = npu_avx2_depthwise,
                                                .attention = npu_avx2_attention_run,
                                                .layer_norm = npu_avx2_layer_norm,
                                                .outer = npu_avx2_outer,
                                                .outer_sum = npu_avx2_outer_sum,
                                                .grad_x_pack = npu_avx2_grad_x_pack,
                                                .grad_x = npu_avx2_grad_x,
                                                .winograd_sums = npu_avx2_winograd_sums,
                                                .winograd_gw = npu_avx2_winograd_gw,
                                                .attention_grad = npu_avx2_attention_grad,
                                                .depthwise_grad_x = npu_avx2_depthwise_grad_x,
                                                .depthwise_grad_w = npu_avx2_depthwise_grad_w};

const struct npu_avx2_kernels *npu_avx2_kernels(void)
{
    return &kernels;
}
#else
const struct npu_avx2_kernels *npu_avx2_kernels(void)
{
    return NULL;
}
#endif
