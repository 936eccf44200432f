/* attention.cl - softmax(scale q k^T) v from packed qkv [batch, n, 3 d], and its gradient. */
#include "tile.clh"

/* ---- portable kernels: a work-item a query (or key) and up to PART channels; scores are computed again where they are
 * needed, with the running maximum and sum of Milakov and Gimelshein 2018 ---- */
#define PART 32
#define SCORE_LOOP(k, q, kp, sum)                                                                                      \
    sum = 0.0f;                                                                                                        \
    for (int c_ = 0; c_ < dh; c_++)                                                                                    \
        sum = fma(LD(k, qkv, (q) + c_), LD(k, qkv, (kp) + c_), sum);                                                   \
    sum *= scale

#ifdef K_attention_any
kernel void attention_any(const global T(0) *restrict qkv, global T(1) *restrict y, int n, int heads, int dh, float scale)
{
    const int part = get_global_id(0), head = get_global_id(1), row = get_global_id(2);
    const int d = heads * dh, c0 = part * PART, cn = min(PART, dh - c0);
    const size_t q = (size_t)row * 3 * d + head * dh, first = (size_t)(row - row % n) * 3 * d + d + head * dh;
    float acc[PART], top = -INFINITY, total = 0.0f, s;

    for (int c = 0; c < PART; c++)
        acc[c] = 0.0f;
    for (int j = 0; j < n; j++) {
        const size_t kp = first + (size_t)j * 3 * d;
        float now, old;

        SCORE_LOOP(0, q, kp, s);
        now = fmax(top, s);
        old = exp(top - now);
        s = exp(s - now);
        total = total * old + s;
        top = now;
        for (int c = 0; c < cn; c++)
            acc[c] = fma(s, LD(0, qkv, kp + d + c0 + c), acc[c] * old);
    }
    for (int c = 0; c < cn; c++)
        ST(1, y, (size_t)row * d + head * dh + c0 + c, acc[c] / total);
}
#endif

/* stats [rows, heads, 3]: maximum, 1 / sum, and sum_j p_j (gy . v_j) of each query */
#ifdef K_attention_stats_any
kernel void attention_stats_any(const global T(0) *restrict qkv, const global T(1) *restrict gy, global float *restrict stats,
                                int n, int heads, int dh, float scale)
{
    const int head = get_global_id(0), row = get_global_id(1), d = heads * dh;
    const size_t q = (size_t)row * 3 * d + head * dh, first = (size_t)(row - row % n) * 3 * d + d + head * dh;
    const size_t go = (size_t)row * d + head * dh;
    float top = -INFINITY, total = 0.0f, mean = 0.0f, s;

    for (int j = 0; j < n; j++) {
        const size_t kp = first + (size_t)j * 3 * d;
        float now, old, dot = 0.0f;

        SCORE_LOOP(0, q, kp, s);
        for (int c = 0; c < dh; c++)
            dot = fma(LD(1, gy, go + c), LD(0, qkv, kp + d + c), dot);
        now = fmax(top, s);
        old = exp(top - now);
        s = exp(s - now);
        total = total * old + s;
        mean = mean * old + s * dot;
        top = now;
    }
    stats += ((size_t)row * heads + head) * 3;
    stats[0] = top;
    stats[1] = 1.0f / total;
    stats[2] = mean / total;
}
#endif

#if defined(K_attention_grad_q_any) || defined(K_attention_grad_kv_any)
/* p of query row i and key row j (both in all rows) of a head, and the gradient of its score */
inline float2 weight_and_grad(const global T(0) *qkv, const global T(1) *gy, const global float *stats, size_t i, size_t j,
                              int head, int heads, int dh, float scale)
{
    const int d = heads * dh;
    const size_t q = i * 3 * d + head * dh, kp = j * 3 * d + d + head * dh, go = i * d + head * dh;
    float s, dot = 0.0f, p;

    SCORE_LOOP(0, q, kp, s);
    for (int c = 0; c < dh; c++)
        dot = fma(LD(1, gy, go + c), LD(0, qkv, kp + d + c), dot);
    stats += (i * heads + head) * 3;
    p = exp(s - stats[0]) * stats[1];
    return (float2)(p, scale * p * (dot - stats[2]));
}
#endif

#ifdef K_attention_grad_q_any
kernel void attention_grad_q_any(const global T(0) *restrict qkv, const global T(1) *restrict gy,
                                 const global float *restrict stats, global T(2) *restrict gx, int n, int heads, int dh,
                                 float scale)
{
    const int part = get_global_id(0), head = get_global_id(1), row = get_global_id(2), d = heads * dh;
    const int c0 = part * PART, cn = min(PART, dh - c0), first = row - row % n;
    float acc[PART];

    for (int c = 0; c < PART; c++)
        acc[c] = 0.0f;
    for (int j = first; j < first + n; j++) {
        const float g = weight_and_grad(qkv, gy, stats, row, j, head, heads, dh, scale).s1;

        for (int c = 0; c < cn; c++)
            acc[c] = fma(g, LD(0, qkv, (size_t)j * 3 * d + d + head * dh + c0 + c), acc[c]);
    }
    for (int c = 0; c < cn; c++)
        ST(2, gx, (size_t)row * 3 * d + head * dh + c0 + c, acc[c]);
}
#endif

#ifdef K_attention_grad_kv_any
kernel void attention_grad_kv_any(const global T(0) *restrict qkv, const global T(1) *restrict gy,
                                  const global float *restrict stats, global T(2) *restrict gx, int n, int heads, int dh,
                                  float scale)
{
    const int part = get_global_id(0), head = get_global_id(1), row = get_global_id(2), d = heads * dh;
    const int c0 = part * PART, cn = min(PART, dh - c0), first = row - row % n;
    const size_t to = (size_t)row * 3 * d + d + head * dh + c0;
    float gk[PART], gv[PART];

    for (int c = 0; c < PART; c++)
        gk[c] = gv[c] = 0.0f;
    for (int i = first; i < first + n; i++) {
        const float2 pg = weight_and_grad(qkv, gy, stats, i, row, head, heads, dh, scale);

        for (int c = 0; c < cn; c++) {
            gk[c] = fma(pg.s1, LD(0, qkv, (size_t)i * 3 * d + head * dh + c0 + c), gk[c]);
            gv[c] = fma(pg.s0, LD(1, gy, (size_t)i * d + head * dh + c0 + c), gv[c]);
        }
    }
    for (int c = 0; c < cn; c++) {
        ST(2, gx, to + c, gk[c]);
        ST(2, gx, to + d + c, gv[c]);
    }
}
#endif
