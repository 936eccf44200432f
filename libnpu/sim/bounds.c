/* bounds.c - whether a node's instructions touch nothing but the node's tensors and the memory for tiles. */
#include <errno.h>

#include "libnpu/sim/compile.h"

static bool holds(const struct sim_tensor *t, const struct sim_range *r)
{
    const int64_t size = npu_shape_elements(&t->shape) * (int64_t)npu_dtype_size(t->dtype);

    return t->mem == r->mem && r->lo >= (int64_t)t->at && r->hi <= (int64_t)t->at + size;
}

/* A transfer's tensor: loads take from those that the node reads, stores go to those that it makes. */
static bool is_operand(const struct sim_node *n, const struct sim_range *r)
{
    for (int k = 0; !r->write && k < n->node->n_in; k++)
        if (n->node->in[k] != NPU_NONE && holds(&n->in[k], r))
            return true;
    for (int k = 0; r->write && k < n->node->n_out; k++)
        if (holds(&n->out[k], r))
            return true;
    return false;
}

int sim_bounds_check(const struct sim_program *p, int first, int end, const struct sim_node *n, uint32_t tiles,
                     char *why, size_t size)
{
    for (int k = first; k < end; k++) {
        const struct sim_insn *i = &p->insn[k];
        const bool moves = i->op == SIM_OP_LOAD || i->op == SIM_OP_STORE;
        struct sim_range range[SIM_MAX_RANGES];
        const int count = sim_insn_ranges(i, range);

        for (int e = 0; e < count; e++) { /* the first one of a transfer is its tensor */
            const struct sim_range *r = &range[e];

            if (moves && e == 0 ? is_operand(n, r) : r->mem != SIM_UM || (r->lo >= 0 && r->hi <= tiles))
                continue;
            snprintf(why, size, "instruction %d (%s, unit %s) %s %lld..%lld of %s: no tensor of the operation, no tile",
                     k, sim_ops[i->op].name, sim_unit_names[sim_insn_unit(i)], r->write ? "writes" : "reads",
                     (long long)r->lo, (long long)r->hi, sim_mem_names[r->mem]);
            return -EFAULT;
        }
    }
    return 0;
}
