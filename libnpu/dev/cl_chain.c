/* cl_chain.c - neighbouring native launches as one stage of the pool: each part runs its share of all of them, one
 * after the other, so that what one wrote is still in the cache when the next one reads it.
 *
 * A row of launches may go together where no part of one touches what another part of a second one writes. Two launches
 * that meet in memory which one of them writes must both divide it (struct npu_cut), at the same places: the number of
 * parts divides the units of both. Results are the same as without: each launch's do not depend on its parts.
 */
#include "libnpu/dev/cl.h"

enum { PIECE = 48 << 10, LIMIT = 256 << 10 }; /* bytes that a part should, and may touch */
enum { MOST = 64 };                           /* launches of a chain */

struct chain {
    int64_t units; /* greatest common divisor of those that meet; 0: none do */
    int64_t bytes; /* of the memory that is divided */
};

static int64_t common_divisor(int64_t a, int64_t b)
{
    while (b) {
        const int64_t rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

static bool touches(const struct npu_place *a, const struct npu_place *b)
{
    return a->size > 0 && b->size > 0 && a->bank >= 0 && a->bank == b->bank && a->offset < b->offset + b->size &&
           b->offset < a->offset + a->size;
}

static bool same(const struct npu_place *a, const struct npu_place *b)
{
    return a->bank == b->bank && a->offset == b->offset && a->size == b->size;
}

static bool has(uint32_t bits, int i)
{
    return bits >> i & 1;
}

/* May b follow a? If they meet, c->units tells where they may be cut. */
static bool follows(const struct npu_plan *p, const struct npu_launch *a, const struct npu_launch *b, struct chain *c)
{
    for (int i = 0; i < a->n_args; i++)
        for (int j = 0; j < b->n_args; j++) {
            struct npu_place s, t;

            if (!has(a->cut.written, i) && !has(b->cut.written, j))
                continue;
            s = cl_native_place(p, &a->arg[i]);
            t = cl_native_place(p, &b->arg[j]);
            if (!touches(&s, &t))
                continue;
            if (!has(a->cut.split, i) || !has(b->cut.split, j) || !same(&s, &t) || !a->cut.units || !b->cut.units)
                return false;
            c->units = common_divisor(common_divisor(c->units, a->cut.units), b->cut.units);
        }
    return true;
}

/* The bytes of split arguments of launch n that are not among those of earlier ones. */
static int64_t more_bytes(const struct npu_plan *p, const struct cl_launch *const *launch, int n)
{
    const struct npu_launch *b = launch[n]->l;
    int64_t sum = 0;

    for (int j = 0; j < b->n_args; j++) {
        const struct npu_place t = cl_native_place(p, &b->arg[j]);
        bool seen = !has(b->cut.split, j) || t.bank < 0;

        for (int k = 0; k < n && !seen; k++)
            for (int i = 0; i < launch[k]->l->n_args && !seen; i++) {
                const struct npu_place s = cl_native_place(p, &launch[k]->l->arg[i]);

                seen = has(launch[k]->l->cut.split, i) && same(&s, &t);
            }
        sum += seen ? 0 : (int64_t)t.size;
    }
    return sum;
}

/* The number of parts: if launches meet, the least for which a part's memory stays in the first cache, else the most if
 * it stays in the second one. 0: better one launch after another, also where threads would be left without a part. */
static int parts_of(const struct chain *c, int threads)
{
    const int64_t share = c->bytes / (4 * (int64_t)threads), parts = c->bytes / (share > PIECE ? share : PIECE) + 1;
    int most = 1;

    if (!c->units)
        return threads == 1 ? 1 : parts < NPU_POOL_MAX_PARTS ? (int)parts : NPU_POOL_MAX_PARTS;
    for (int n = 1; n <= NPU_POOL_MAX_PARTS && n <= c->units; n++) {
        most = c->units % n == 0 ? n : most;
        if (most == n && c->bytes / n <= PIECE)
            break;
    }
    return c->bytes / most > LIMIT || (most < threads && c->bytes > PIECE) ? 0 : most;
}

int cl_chain(const struct npu_plan *p, const struct cl_launch *const *launch, int n, int *ret_parts)
{
    const int threads = npu_pool_threads(((const struct cl_dev *)p->dev)->pool);
    struct chain c = {0};
    int parts = 0, end;

    for (end = 0; end < n && end < MOST; end++) {
        const struct npu_launch *b = launch[end]->l;
        struct chain with = c;
        bool good = launch[end]->native && b->cut.written;

        for (int i = 0; i < end && good; i++)
            good = follows(p, launch[i]->l, b, &with);
        if (!good)
            break;
        with.bytes += more_bytes(p, launch, end);
        if (parts_of(&with, threads) == 0)
            break;
        parts = parts_of(&with, threads);
        c = with;
    }
    if (end < 2)
        return 1;
    *ret_parts = parts;
    return end;
}
