/* attention.cl - softmax(scale q k^T) v from packed qkv [batch, n, 3 d], and its gradient. */
#include "tile.clh"

#if defined(K_attention_cpu) || defined(K_attention_grad_cpu)
/* ---- register tiles: one work-item has a head (or some of its queries); all its operands wait in local memory as f32 ----
 *
 * Names: np = keys rounded up to NR and MR, dp = head size rounded up to NR. Panels are [columns / NR][rows][NR].
 */
/* dst [MR][ldd], NR columns, (+)= a b: a[i * row + k * step], panel b [terms][NR] */
inline void product(local const float *a, int row, int step, local const float *b, int terms, local float *dst, int ldd, bool add)
{
#define ROW(i)   local const float *a##i = a + i * row;
#define STORE(i) VST(c##i##0, 0, dst + i * ldd); VST(c##i##1, 1, dst + i * ldd);
#define ADD(i)   c##i##0 += VLD(0, dst + i * ldd); c##i##1 += VLD(1, dst + i * ldd);
    TILE_EACH(ROW)
    TILE_ZERO()
    TILE_RUN(0, step, terms, b, NR)
    if (add) {
        TILE_EACH(ADD)
    }
    TILE_EACH(STORE)
#undef ROW
#undef STORE
#undef ADD
}

/* Rows of one head (n rows, `stride` apart, dh wide) to local memory: panels of columns [dp / NR][ld][NR] */
#define LOADERS(k)                                                                                                     \
    inline void load_panels_##k(const global T(k) *x, int n, int stride, int dh, int ld, local float *dst)             \
    {                                                                                                                  \
        for (int c = 0; c < dh; c += W) {                                                                              \
            local float *to = dst + c / NR * (ld * NR) + c % NR;                                                       \
            for (int j = 0; j < n; j++) {                                                                              \
                const size_t at = (size_t)j * stride + c;                                                              \
                if (c + W <= dh) {                                                                                     \
                    VST(LDV(k, W, x, at), 0, to + j * NR);                                                             \
                } else {                                                                                               \
                    for (int i = 0; i < W; i++)                                                                        \
                        to[j * NR + i] = c + i < dh ? LD(k, x, at + i) : 0.0f;                                         \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    /* panels of rows, that is of the transpose: [np / NR][dh][NR]; rows past n are 0 */                               \
    inline void load_transposed_##k(const global T(k) *x, int n, int stride, int dh, int np, local float *dst)         \
    {                                                                                                                  \
        for (int j = 0; j < np; j++) {                                                                                 \
            local float *to = dst + j / NR * (dh * NR) + j % NR;                                                       \
            for (int c = 0; c < dh; c++)                                                                               \
                to[c * NR] = j < n ? LD(k, x, (size_t)j * stride + c) : 0.0f;                                          \
        }                                                                                                              \
    }                                                                                                                  \
    /* MR rows from r on as they are, [MR][dh]; rows past n repeat the last one */                                     \
    inline void load_rows_##k(const global T(k) *x, int r, int n, int stride, int dh, local float *dst)                \
    {                                                                                                                  \
        for (int i = 0; i < MR; i++) {                                                                                 \
            const global T(k) *p = x + (size_t)min(r + i, n - 1) * stride;                                             \
            int c = 0;                                                                                                 \
            for (; c + W <= dh; c += W)                                                                                \
                VST(LDV(k, W, p, c), 0, dst + i * dh + c);                                                             \
            for (; c < dh; c++)                                                                                        \
                dst[i * dh + c] = LD(k, p, c);                                                                         \
        }                                                                                                              \
    }
LOADERS(0)

inline float lanes_max(vf v)
{
    float t[W], m;
    VST(v, 0, t);
    m = t[0];
    for (int i = 1; i < W; i++)
        m = max(m, t[i]);
    return m;
}

inline float lanes_sum(vf v)
{
    float t[W], s = 0.0f;
    VST(v, 0, t);
    for (int i = 0; i < W; i++)
        s += t[i];
    return s;
}

/* s[0 .. np - 1] = e^(scale (s - max)) for the first n; what comes after them is 0. Returns the sum. *most: at least so much
 * is the maximum, and what it is. */
inline float exponentials(local float *s, int n, int np, float scale, float *most)
{
    vf top, sum = 0.0f;

    for (int j = n; j < np; j++)
        s[j] = -FLT_MAX;
    top = VLD(0, s);
    for (int j = W; j < np; j += W) {
        const vf v = VLD(0, s + j);
        top = v > top ? v : top;
    }
    *most = fmax(*most, lanes_max(top));
    top = *most;
    for (int j = 0; j < np; j += W) {
        const vf e = tile_exp((VLD(0, s + j) - top) * scale);
        VST(e, 0, s + j);
        sum += e;
    }
    for (int j = n; j < np; j++)
        s[j] = 0.0f;
    return lanes_sum(sum);
}
#endif

#ifdef K_attention_cpu
/* dst [dh] = x / sum */
inline void put_mean(const local float *x, float sum, int dh, global T(1) *dst)
{
    for (int c = 0; c < dh; c += W) {
        const vf v = VLD(0, x + c) / sum;

        if (c + W <= dh) {
            STV(1, W, dst, c, v);
        } else {
            float t[W];
            VST(v, 0, t);
            for (int k = 0; c + k < dh; k++)
                ST(1, dst, c + k, t[k]);
        }
    }
}

/* queries: a work-item takes so many of a head's n (a multiple of MR). keys: so many wait in local memory at once; with
 * more than one block of them a query keeps its weighted sum of values, its largest score and its sum of weights from block
 * to block, as in Milakov and Gimelshein 2018. np: keys rounded up. ks, vs: np * dp floats, qs: MR * dh, ss: MR * np, os and
 * stats: dp and 2 floats for each of the queries, with one block of MR queries only */
__attribute__((reqd_work_group_size(1, 1, 1))) kernel void
attention_cpu(const global T(0) *restrict qkv, global T(1) *restrict y, int n, int heads, int dh, float scale, int queries, int keys,
              int np, int dp, local float *ks, local float *vs, local float *qs, local float *ss, local float *os, local float *stats)
{
    const int head = get_group_id(1) % heads, z = get_group_id(1) / heads, d = heads * dh;
    const int first = get_group_id(0) * queries, last = min(first + queries, n);
    const global T(0) *q = qkv + (size_t)z * n * 3 * d + head * dh;

    y += (size_t)z * n * d + head * dh;
    for (int j0 = 0; j0 < n; j0 += keys) {
        const int count = min(keys, n - j0), cp = (count + NR - 1) / NR * NR;

        load_transposed_0(q + (size_t)j0 * 3 * d + d, count, 3 * d, dh, cp, ks);
        load_panels_0(q + (size_t)j0 * 3 * d + 2 * d, count, 3 * d, dh, count, vs);
        for (int r = first; r < last; r += MR) {
            const int row = keys < n ? r - first : 0;
            local float *o = os + row * dp, *st = stats + row * 2;

            load_rows_0(q, r, n, 3 * d, dh, qs);
            for (int j = 0; j < count; j += NR)
                product(qs, dh, 1, ks + j * dh, dh, ss + j, np, false);
            for (int i = 0; i < MR; i++) {
                const float before = j0 ? st[2 * i] : -FLT_MAX;
                float most = before, sum = exponentials(ss + i * np, count, cp, scale, &most);

                if (j0 > 0) {
                    const float keep = exp((before - most) * scale);

                    sum = fma(st[2 * i + 1], keep, sum);
                    for (int c = 0; c < dp; c += W)
                        VST(VLD(0, o + i * dp + c) * keep, 0, o + i * dp + c);
                }
                st[2 * i] = most;
                st[2 * i + 1] = sum;
            }
            for (int c = 0; c < dh; c += NR)
                product(ss, np, 1, vs + c * count, count, o + c, dp, j0 > 0);
            for (int i = 0; i < MR && r + i < last && j0 + count == n; i++)
                put_mean(o + i * dp, st[2 * i + 1], dh, y + (size_t)(r + i) * d);
        }
    }
}
#endif

#ifdef K_attention_grad_cpu
LOADERS(1)

inline void put_rows(const local float *x, int ld, int n, int dh, global T(2) *dst, int stride)
{
    for (int i = 0; i < n; i++)
        for (int c = 0; c < dh; c += W) {
            if (c + W <= dh) {
                STV(2, W, dst, (size_t)i * stride + c, VLD(0, x + i * ld + c));
            } else {
                for (int k = c; k < dh; k++)
                    ST(2, dst, (size_t)i * stride + k, x[i * ld + k]);
            }
        }
}

/* A work-item has a head. `block` queries (a multiple of MR) at a time: p and g are their weights and score gradients
 * [block][np]; gk and gv [np][dp] add up over the blocks. kt, vt: np * dh (transposed panels); kp: n * dp; qp, op: block * dp;
 * rows: MR * dh; out: MR * dp */
__attribute__((reqd_work_group_size(1, 1, 1))) kernel void
attention_grad_cpu(const global T(0) *restrict qkv, const global T(1) *restrict gy, global T(2) *restrict gx, int n, int heads,
                   int dh, float scale, int block, int np, int dp, local float *kt, local float *vt, local float *kp, local float *qp,
                   local float *op, local float *p, local float *g, local float *gk, local float *gv, local float *rows,
                   local float *out)
{
    const int head = get_group_id(0) % heads, z = get_group_id(0) / heads, d = heads * dh;
    const size_t base = (size_t)z * n * 3 * d + head * dh;
    const global T(0) *q = qkv + base;

    gy += (size_t)z * n * d + head * dh;
    gx += base;
    load_transposed_0(q + d, n, 3 * d, dh, np, kt);
    load_transposed_0(q + 2 * d, n, 3 * d, dh, np, vt);
    load_panels_0(q + d, n, 3 * d, dh, n, kp);
    for (int r0 = 0; r0 < n; r0 += block) {
        const int count = min(block, n - r0);

        for (int r = 0; r < count; r += MR) {
            load_rows_0(q, r0 + r, n, 3 * d, dh, rows);
            for (int j = 0; j < n; j += NR)
                product(rows, dh, 1, kt + j * dh, dh, p + r * np + j, np, false);
            load_rows_1(gy, r0 + r, n, d, dh, rows);
            for (int j = 0; j < n; j += NR)
                product(rows, dh, 1, vt + j * dh, dh, g + r * np + j, np, false);
            for (int i = r; i < r + MR; i++) {
                float most = -FLT_MAX, m;
                const float over = 1.0f / exponentials(p + i * np, n, np, scale, &most);
                vf mean = 0.0f;

                for (int j = n; j < np; j++)
                    g[i * np + j] = 0.0f;
                for (int j = 0; j < np; j += W) {
                    const vf w = VLD(0, p + i * np + j) * over;
                    VST(w, 0, p + i * np + j);
                    mean = fma(w, VLD(0, g + i * np + j), mean);
                }
                m = lanes_sum(mean);
                for (int j = 0; j < np; j += W)
                    VST(VLD(0, p + i * np + j) * (VLD(0, g + i * np + j) - m) * scale, 0, g + i * np + j);
            }
            for (int c = 0; c < dh; c += NR)
                product(g + r * np, np, 1, kp + c * n, n, out + c, dp, false);
            put_rows(out, dp, min(MR, count - r), dh, gx + (size_t)(r0 + r) * 3 * d, 3 * d);
        }
        load_panels_0(q + (size_t)r0 * 3 * d, count, 3 * d, dh, block, qp);
        load_panels_1(gy + (size_t)r0 * d, count, d, dh, block, op);
        for (int j = 0; j < n; j += MR)
            for (int c = 0; c < dh; c += NR) {
                product(g + j, 1, np, qp + c * block, count, gk + j * dp + c, dp, r0 > 0);
                product(p + j, 1, np, op + c * block, count, gv + j * dp + c, dp, r0 > 0);
            }
    }
    put_rows(gk, dp, n, dh, gx + d, 3 * d);
    put_rows(gv, dp, n, dh, gx + 2 * d, 3 * d);
}
#endif

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
