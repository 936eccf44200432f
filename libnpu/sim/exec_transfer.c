/* exec_transfer.c - load, store and fill: blocks of up to four axes between external and on-chip memory, or within the
 * chip. `far` is the memory of the tensor that `xm` is an address of. */
#include <string.h>

#include "libnpu/sim/machine.h"

enum { CHUNK = 512 };

/* One row: dense on chip, xs apart in external memory, types the same. */
static int copy_row(struct sim_machine *m, const struct sim_insn *i, int64_t xm, int64_t at, uint32_t n, int64_t xs)
{
    const bool load = i->op == SIM_OP_LOAD;
    const enum sim_mem chip = SIM_PLACE_MEM(i->type[!load]), far = SIM_PLACE_MEM(i->type[load]);
    const int64_t size = (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(i->type[0]));
    const uint32_t rows = xs == 1 ? 1 : n;
    const int64_t run = xs == 1 ? size * n : size;

    for (uint32_t k = 0; k < rows; k++) {
        int r = 0;
        uint8_t *from = load ? sim_access(m, far, xm + k * xs * size, run, false, &r)
                             : sim_access(m, chip, at + k * size, run, false, &r);
        uint8_t *to = !from  ? NULL
                      : load ? sim_access(m, chip, at + k * size, run, true, &r)
                             : sim_access(m, far, xm + k * xs * size, run, true, &r);

        if (!to)
            return r;
        memmove(to, from, (size_t)run);
    }
    return 0;
}

/* The same with another type on the way. */
static int convert_row(struct sim_machine *m, const struct sim_insn *i, int64_t xm, int64_t at, uint32_t n, int64_t xs)
{
    const bool load = i->op == SIM_OP_LOAD;
    const int64_t d_size = (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(i->type[0]));
    const int64_t a_size = (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(i->type[1]));
    float v[CHUNK];
    int r = 0;

    for (uint32_t k = 0; k < n && r == 0; k += CHUNK) {
        const uint32_t c = n - k < CHUNK ? n - k : CHUNK;

        r = load ? sim_fetch(m, i->type[1], xm + k * xs * a_size, xs, c, v)
                 : sim_fetch(m, i->type[1], at + k * a_size, 1, c, v);
        if (r < 0)
            break;
        if (load)
            r = sim_put(m, i->type[0], at + k * d_size, c, v);
        else if (xs == 1)
            r = sim_put(m, i->type[0], xm + k * d_size, c, v);
        for (uint32_t e = 0; !load && xs != 1 && r == 0 && e < c; e++)
            r = sim_put(m, i->type[0], xm + (k + e) * xs * d_size, 1, v + e);
    }
    return r;
}

static int fill_row(struct sim_machine *m, const struct sim_insn *i, int64_t at, uint32_t n)
{
    const int64_t size = (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(i->type[0]));
    float v[CHUNK];
    int r = 0;

    for (uint32_t k = 0; k < CHUNK && k < n; k++)
        v[k] = i->fill.imm;
    for (uint32_t k = 0; k < n && r == 0; k += CHUNK)
        r = sim_put(m, i->type[0], at + k * size, n - k < CHUNK ? n - k : CHUNK, v);
    return r;
}

int sim_exec_transfer(struct sim_machine *m, const struct sim_insn *i)
{
    const bool fill = i->op == SIM_OP_FILL, load = i->op == SIM_OP_LOAD, same = i->type[0] % 16 == i->type[1] % 16;
    const struct sim_dma *t = &i->dma;
    const uint32_t *n = fill ? i->fill.n : t->n;
    const int32_t *cs = fill ? i->fill.cs : t->cs, *xs = t->xs;
    const int64_t base = fill ? i->fill.at : t->at;
    const int64_t c_size = (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(i->type[fill || load ? 0 : 1]));
    const int64_t x_size = fill ? 0 : (int64_t)npu_dtype_size(SIM_PLACE_DTYPE(i->type[load ? 1 : 0]));

    for (int64_t i3 = 0; i3 < n[3]; i3++)
        for (int64_t i2 = 0; i2 < n[2]; i2++)
            for (int64_t i1 = 0; i1 < n[1]; i1++) {
                int64_t at = base + (i1 * cs[0] + i2 * cs[1] + i3 * cs[2]) * c_size;
                int64_t xm = fill ? 0 : (int64_t)t->xm + (i1 * xs[1] + i2 * xs[2] + i3 * xs[3]) * x_size;
                int r = fill   ? fill_row(m, i, at, n[0])
                        : same ? copy_row(m, i, xm, at, n[0], xs[0])
                               : convert_row(m, i, xm, at, n[0], xs[0]);

                if (r < 0)
                    return r;
            }
    return 0;
}
