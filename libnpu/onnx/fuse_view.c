/* fuse_view.c - self-attention told by where its factors come from: q, k and v are followed back through what only
 * moves elements (reshape, permute, slice) and through factors to the one tensor that holds all three side by side.
 * So it does not matter how a file splits them; fuse_attention.c knows the usual way by its nodes and comes first.
 */
#include "libnpu/onnx/import.h"

#include "libnpu/op/attr.h"
#include "libnpu/op/matmul.h"

enum { AXES = 4 }; /* batch, head, token, place in the head */

/* Some elements of `of`, times `scale`: those at base + sum of i[a] step[a], i[a] < size[a]. */
struct view {
    npu_val of;
    float scale;
    int64_t base, size[AXES], step[AXES];
};

static const struct npu_node *maker(const struct oi *im, npu_val v)
{
    const struct npu_value *x = npu_value_of(im->g, v);

    return x && x->kind == NPU_VALUE_NODE ? im->g->node[x->node] : NULL;
}

/* The whole of v [(b,) heads, n, size]; swapped: its last two axes the other way round. */
static bool whole(const struct oi *im, npu_val v, bool swapped, struct view *w)
{
    const struct npu_shape *s = npu_val_shape(im->g, v);
    int64_t step = 1;

    if (!s || (s->rank != 3 && s->rank != AXES) || npu_shape_elements(s) == 0)
        return false;
    *w = (struct view){.of = v, .scale = 1.0f, .size = {1, 1, 1, 1}};
    for (int i = s->rank - 1; i >= 0; i--) {
        const int a = i + AXES - s->rank, to = swapped && a >= 2 ? 5 - a : a;

        w->size[to] = s->dim[i];
        w->step[to] = step;
        step *= s->dim[i];
    }
    return true;
}

/* The same elements where axis k of `of`, whose shape is s, has the step to[k], and the first lies at `first`. False
 * if an axis of the view does not lie in one axis of s. */
static bool move(struct view *w, const struct npu_shape *s, const int64_t *to, int64_t first)
{
    int64_t own[NPU_MAX_DIMS] = {0}, room[NPU_MAX_DIMS] = {0};
    struct view moved = *w;

    oi_strides(s, own);
    moved.base = first;
    for (int k = 0; k < s->rank; k++) {
        const int64_t at = w->base / own[k] % s->dim[k];

        room[k] = s->dim[k] - 1 - at;
        moved.base += at * to[k];
    }
    for (int a = 0; a < AXES; a++) {
        int k = 0;

        if (w->size[a] == 1)
            continue;
        while (k < s->rank && (s->dim[k] == 1 || own[k] > w->step[a]))
            k++;
        if (k == s->rank || w->step[a] % own[k] || w->step[a] / own[k] * (w->size[a] - 1) > room[k])
            return false;
        room[k] -= w->step[a] / own[k] * (w->size[a] - 1);
        moved.step[a] = w->step[a] / own[k] * to[k];
    }
    *w = moved;
    return true;
}

/* One node back; false where something else made the elements. */
static bool step_back(const struct oi *im, struct view *w)
{
    const struct npu_node *n = maker(im, w->of);
    const struct npu_shape *s = npu_val_shape(im->g, w->of), *from = n ? npu_val_shape(im->g, n->in[0]) : NULL;
    int64_t stride[NPU_MAX_DIMS] = {0}, to[NPU_MAX_DIMS], first = 0;

    if (!n || !s || !from || n->n_in != 1)
        return false;
    oi_strides(from, stride);
    memcpy(to, stride, sizeof to);
    if (n->op == &npu_op_permute) {
        const struct permute_attr *p = NPU_ATTR(struct permute_attr, n);

        for (int k = 0; k < s->rank; k++)
            to[k] = stride[p->order[k]];
    } else if (n->op == &npu_op_slice) {
        const struct slice_attr *p = NPU_ATTR(struct slice_attr, n);

        first = p->start * stride[p->axis];
    } else if (n->op == &npu_op_scale) {
        const struct scale_attr *p = NPU_ATTR(struct scale_attr, n);

        if (p->add != 0.0f)
            return false;
        w->scale *= p->mul;
    } else if (n->op != &npu_op_reshape) {
        return false;
    }
    if (n->op != &npu_op_reshape && n->op != &npu_op_scale && !move(w, s, to, first))
        return false;
    w->of = n->in[0];
    return true;
}

static bool follow(const struct oi *im, npu_val v, bool swapped, struct view *w)
{
    if (!whole(im, v, swapped, w))
        return false;
    while (step_back(im, w))
        ;
    return true;
}

/* Is it part `which` of [b, n, 3, heads, size], or with n before b if `by_token`? */
static bool is_part(const struct view *w, const struct view *q, int which, bool by_token)
{
    const int64_t *s = q->size, d = s[1] * s[3];
    const int64_t want[AXES] = {by_token ? 3 * d : s[2] * 3 * d, s[3], by_token ? s[0] * 3 * d : 3 * d, 1};

    if (w->of != q->of || w->base != which * d || memcmp(w->size, s, sizeof w->size) != 0)
        return false;
    for (int a = 0; a < AXES; a++)
        if (s[a] > 1 && w->step[a] != want[a])
            return false;
    return true;
}

/* q, k and v all along; [b, n, d] of the result, or NPU_NONE. */
static npu_val packed_attention(const struct oi *im, const struct view part[3])
{
    const int64_t b = part[0].size[0], h = part[0].size[1], n = part[0].size[2], d = h * part[0].size[3];
    const struct npu_shape *s = npu_val_shape(im->g, part[0].of);
    npu_val x;

    if (h > 65535 || npu_val_dtype(im->g, part[0].of) != NPU_F32 || npu_shape_elements(s) != b * n * 3 * d)
        return NPU_NONE;
    for (int by_token = 0; by_token < 2; by_token++) {
        bool all = true;

        for (int i = 0; i < 3; i++)
            all &= is_part(&part[i], &part[0], i, by_token);
        if (!all)
            continue;
        x = npu_reshape(im->g, part[0].of, 3,
                        by_token ? (const int64_t[]){n, b, 3 * d} : (const int64_t[]){b, n, 3 * d});
        if (by_token)
            x = npu_permute(im->g, x, (const int[]){1, 0, 2});
        return npu_attention(im->g, x, (int)h);
    }
    return NPU_NONE;
}

npu_val oi_find_attention(struct oi *im, npu_val weights, npu_val v, bool v_swapped, int *ret_perm)
{
    const struct npu_node *softmax = maker(im, weights), *scores;
    const struct npu_matmul_attr *a;
    struct view part[3];
    npu_val y;

    if (!softmax || softmax->op != &npu_op_softmax)
        return NPU_NONE;
    scores = maker(im, softmax->in[0]);
    if (!scores || scores->op != &npu_op_matmul || scores->n_in < 2)
        return NPU_NONE;
    a = NPU_ATTR(struct npu_matmul_attr, scores);
    for (int i = NPU_MATMUL_BIAS; i < scores->n_in; i++)
        if (scores->in[i] != NPU_NONE)
            return NPU_NONE;
    if (a->act != NPU_ACT_NONE || !follow(im, scores->in[0], a->trans_a, &part[0]) ||
        !follow(im, scores->in[1], !a->trans_b, &part[1]) || !follow(im, v, v_swapped, &part[2]))
        return NPU_NONE;
    if (fabsf(a->scale * part[0].scale * part[1].scale * sqrtf((float)part[0].size[3]) - 1.0f) > 1e-4f ||
        part[2].scale != 1.0f)
        return NPU_NONE;
    y = packed_attention(im, part);
    if (y <= 0)
        return y;
    if (npu_val_shape(im->g, v)->rank == 3) {
        memcpy(ret_perm, (const int[]){1, 0, 2}, 3 * sizeof *ret_perm);
        return npu_reshape(im->g, y, 3, (const int64_t[]){part[0].size[2], part[0].size[1], part[0].size[3]});
    }
    memcpy(ret_perm, (const int[]){0, 2, 1, 3}, 4 * sizeof *ret_perm);
    return npu_reshape(im->g, y, 4,
                       (const int64_t[]){part[0].size[0], part[0].size[2], part[0].size[1], part[0].size[3]});
}
