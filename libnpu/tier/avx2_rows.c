/* avx2_rows.c - what works row by row, and the table of the tier's kernels. */
#include "libnpu/tier/avx2.h"

#ifdef __AVX2__
#include "libnpu/tier/avx2_kernels.h"
#include "libnpu/tier/avx2_rows.h"

enum { TOGETHER = 4 }; /* rows: one's sums are added up while another's wait */

/* A row from its mean and deviation. */
static inline void normalise(const float *x, const float *gamma, const float *beta, float *y, int64_t n, __m256 m,
                             __m256 r)
{
    int64_t i = 0;

    for (; i + 8 <= n; i += 8) {
        const __m256 v =
            _mm256_mul_ps(_mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(x + i), m), r), _mm256_loadu_ps(gamma + i));

        _mm256_storeu_ps(y + i, _mm256_add_ps(v, _mm256_loadu_ps(beta + i)));
    }
    if (i < n) {
        const __m256 v =
            _mm256_mul_ps(_mm256_mul_ps(_mm256_sub_ps(load_some(x + i, n - i), m), r), load_some(gamma + i, n - i));

        store_some(y + i, n - i, _mm256_add_ps(v, load_some(beta + i, n - i)));
    }
}

void npu_avx2_layer_norm(const struct npu_native_call *c, int part, int n_parts)
{
    const int64_t rows = c->arg[4].i, n = c->arg[5].i;
    const float eps = c->arg[6].f, *gamma = c->p[1], *beta = c->p[2];

    for (int64_t r = rows * part / n_parts; r < rows * (part + 1) / n_parts; r += TOGETHER) {
        const int64_t count = at_most(TOGETHER, rows * (part + 1) / n_parts - r);
        const float *x = (const float *)c->p[0] + r * n;
        __m256 mean[TOGETHER], rstd[TOGETHER];

        for (int64_t i = 0; i < count; i++)
            npu_avx2_row_stats(x + i * n, n, eps, &mean[i], &rstd[i]);
        for (int64_t i = 0; i < count; i++)
            normalise(x + i * n, gamma, beta, (float *)c->p[3] + (r + i) * n, n, mean[i], rstd[i]);
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
                                                .depthwise_grad_w = npu_avx2_depthwise_grad_w,
                                                .from_bf16 = npu_avx2_from_bf16,
                                                .to_bf16 = npu_avx2_to_bf16};

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
