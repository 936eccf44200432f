/* sim.c - the simulated NPU as a device: plans become programs (libnpu/sim/compile.h), runs go through the simulator.
 *
 * All banks of a plan lie one after the other in external memory; results that fit stay in unified memory from their
 * maker to their last reader (libnpu/sim/resident.h). Steps of constants are a program of their own. Before
 * each run memory that does not outlive one is poisoned, so that a value read before it is made is an error. Numbers:
 * operands of matrix products are rounded to bf16, everything else is f32.
 */
#include "libnpu/dev/sim.h"

#include <stdlib.h>

#include "libnpu/op/mat.h"
#include "libnpu/op/ops.h"
#include "libnpu/sim/compile.h"
#include "libnpu/sim/counters.h"

struct sim_dev {
    struct npu_dev dev;
    struct sim_config config;
};

/* Weights of f32 that only change when a parameter is written are kept as bf16 too: half the bytes of every run. */
static bool wants_packing(const struct npu_plan *p, int s)
{
    const struct npu_node *n = p->graph->node[p->step[s].node];

    return !p->step[s].constant && !n->exact && (n->op == &npu_op_matmul || n->op == &npu_op_conv2d) &&
           npu_val_is_frozen(p->graph, n->in[1]) && npu_value_of(p->graph, n->in[1])->type.dtype == NPU_F32;
}

static int pack_weights(struct npu_plan *p)
{
    struct sim_plan *sp = calloc(1, sizeof *sp);

    p->dev_plan = sp;
    if (!sp)
        return -ENOMEM;
    sp->packed = calloc((size_t)p->n_steps + 1, sizeof sp->packed[0]);
    if (!sp->packed)
        return -ENOMEM;
    for (int s = 0; s < p->n_steps; s++) {
        const struct npu_node *n = p->graph->node[p->step[s].node];

        sp->packed[s] = -1;
        if (!wants_packing(p, s))
            continue;
        p->lower.step = s;
        sp->packed[s] = npu_lower_packed(&p->lower, npu_type_bytes(&npu_value_of(p->graph, n->in[1])->type) / 2);
        if (p->lower.status < 0)
            return p->lower.status;
    }
    return 0;
}

static int sim_lower(struct npu_plan *p)
{
    for (int s = 0; s < p->n_steps; s++) {
        const struct npu_op *op = p->graph->node[p->step[s].node]->op;

        if (!sim_compile_knows(op))
            return npu_plan_fail(p, -EOPNOTSUPP, "the NPU has no instructions for operation %s", op->name);
    }
    return pack_weights(p);
}

/* A program of steps being made: the machine with what is left of unified memory for tiles, who stays there. */
struct attempt {
    struct sim_config config;
    struct sim_residence residence;
    struct sim_program program;
    struct sim_sections sections;
    uint64_t cycles;
};

/* r: who stays on the chip; NULL: no one. */

static struct sim_tensor tensor(const struct npu_plan *p, const struct sim_plan *sp, const struct sim_residence *r,
                                npu_val v)
{
    const struct npu_value *val = npu_value_of(p->graph, v);
    const struct npu_place at = npu_plan_place(p, v);

    if (!val)
        return (struct sim_tensor){0};
    if (r && r->at[v] != SIM_NOT_RESIDENT)
        return (struct sim_tensor){r->at[v], val->type.dtype, val->type.shape, SIM_UM};
    return (struct sim_tensor){sp->bank_at[at.bank] + at.offset, val->type.dtype, val->type.shape, SIM_XM};
}

/* The weights of step s as bf16: the program of constants makes them. */
static struct sim_tensor packed(const struct npu_plan *p, const struct sim_plan *sp, int s)
{
    const struct npu_place at = p->lower.buf[sp->packed[s]].place;
    const struct npu_value *w = npu_value_of(p->graph, p->graph->node[p->step[s].node]->in[1]);

    return (struct sim_tensor){sp->bank_at[at.bank] + at.offset, NPU_BF16, w->type.shape, SIM_XM};
}

/* The node of step s with where its tensors lie. */
static struct sim_node node_of(const struct npu_plan *p, const struct sim_plan *sp, const struct sim_residence *r,
                               int s)
{
    const struct npu_node *n = p->graph->node[p->step[s].node];
    struct sim_node node = {.node = n};

    for (int k = 0; k < n->n_in; k++)
        node.in[k] = tensor(p, sp, r, n->in[k]);
    for (int k = 0; k < n->n_out; k++)
        node.out[k] = tensor(p, sp, r, n->out[k]);
    if (sp->packed[s] >= 0)
        node.in[1] = packed(p, sp, s);
    return node;
}

static void end_section(struct attempt *a, int step, int first, bool packs)
{
    if (a->program.n > first)
        a->sections.of[a->sections.n++] = (struct sim_section){step, first, a->program.n, packs};
}

static int compile_step(struct npu_plan *p, const struct sim_plan *sp, struct attempt *a, int s)
{
    const struct sim_node node = node_of(p, sp, &a->residence, s);
    struct sim_compiler c = {.config = &a->config, .program = &a->program};
    const int first = a->program.n, r = sim_compile_node(&c, &node);

    end_section(a, s, first, false);
    return r < 0 ? npu_plan_fail(p, r, "%s: %s", node.node->op->name, c.why[0] ? c.why : strerror(-r)) : 0;
}

/* The weights of step s to bf16. */
static struct sim_node packing(const struct npu_plan *p, const struct sim_plan *sp, int s)
{
    static const struct npu_node node = {.op = &npu_op_cast, .n_in = 1, .n_out = 1, .in = {1}, .out = {2}};

    return (struct sim_node){
        .node = &node, .in = {tensor(p, sp, NULL, p->graph->node[p->step[s].node]->in[1])}, .out = {packed(p, sp, s)}};
}

static int pack(struct npu_plan *p, const struct sim_plan *sp, struct attempt *a, int s)
{
    struct sim_compiler c = {.config = &a->config, .program = &a->program};
    const struct sim_node node = packing(p, sp, s);
    struct sim_map m = {.n_in = 1, .in = {node.in[0]}, .out = node.out[0]};
    const int first = a->program.n;
    int r;

    sim_map_dense(&m, &m.out.shape, m.in_stride[0]);
    sim_map_dense(&m, &m.out.shape, m.out_stride);
    r = sim_map(&c, &m);
    end_section(a, s, first, true);
    return r < 0 ? npu_plan_fail(p, r, "weights: %s", c.why[0] ? c.why : strerror(-r)) : 0;
}

static void attempt_free(struct attempt *a)
{
    sim_residence_free(&a->residence);
    sim_program_free(&a->program);
    free(a->sections.of);
    memset(a, 0, sizeof *a);
}

/* The steps of each run, or those of constants, with `room` bytes of unified memory for results that stay. */
static int attempt(struct npu_plan *p, const struct sim_plan *sp, uint32_t room, bool constant, struct attempt *ret)
{
    struct attempt a = {.config = ((struct sim_dev *)p->dev)->config};
    struct sim_counters n = {0};
    int r;

    a.config.um -= room;
    r = sim_residence_make(p, a.config.um, room, &a.residence);
    a.sections.of = calloc(2 * (size_t)p->n_steps + 1, sizeof a.sections.of[0]);
    if (r == 0 && !a.sections.of)
        r = -ENOMEM;
    for (int s = 0; s < p->n_steps && r == 0; s++)
        if (p->step[s].constant == constant)
            r = compile_step(p, sp, &a, s);
    for (int s = 0; constant && s < p->n_steps && r == 0; s++)
        if (sp->packed[s] >= 0)
            r = pack(p, sp, &a, s);
    if (r == 0)
        r = sim_tokens_insert(&a.program);
    a.config.um += room;
    if (r == 0 && !constant)
        r = sim_time(&a.config, &a.program, NULL, &n);
    if (r < 0) {
        attempt_free(&a);
        return r;
    }
    a.cycles = constant ? 0 : n.cycles;
    *ret = a;
    return 0;
}

/* Programs are made with several shares of unified memory for results that stay; the one that is done first is taken.
 * A share that leaves too little for tiles is none. */
static int best_attempt(struct npu_plan *p, struct sim_plan *sp, struct attempt *ret)
{
    const struct sim_config *c = &((struct sim_dev *)p->dev)->config;
    int r = attempt(p, sp, 0, false, ret);

    for (uint32_t eighths = 1; r == 0 && c->stay && eighths < 8; eighths++) {
        struct attempt a;
        const int tried = attempt(p, sp, c->um / 512 * 64 * eighths, false, &a);

        if (tried == 0 && a.cycles < ret->cycles) {
            attempt_free(ret);
            *ret = a;
        } else if (tried == 0) {
            attempt_free(&a);
        } else if (tried != -EOPNOTSUPP && tried != -E2BIG) {
            attempt_free(ret);
            return tried;
        }
    }
    return r;
}

static int make_programs(struct npu_plan *p, struct sim_plan *sp)
{
    struct attempt a, constants;
    int r = attempt(p, sp, 0, true, &constants);

    if (r < 0)
        return r;
    r = best_attempt(p, sp, &a);
    if (r < 0) {
        attempt_free(&constants);
        return r;
    }
    p->error[0] = '\0'; /* of shares that were too large */
    sp->setup = constants.program;
    sp->setup_sections = constants.sections;
    sim_residence_free(&constants.residence);
    sp->program = a.program;
    sp->sections = a.sections;
    sp->residence = a.residence;
    return 0;
}

static int sim_build(struct npu_plan *p)
{
    struct sim_plan *sp = p->dev_plan;
    uint64_t size = 0;
    int r;

    sp->bank_at = calloc((size_t)p->n_banks + 1, sizeof sp->bank_at[0]);
    if (!sp->bank_at)
        return -ENOMEM;
    for (int b = 0; b < p->n_banks; b++) {
        sp->bank_at[b] = size;
        size += (p->bank[b].size + 63) & ~(size_t)63;
    }
    r = make_programs(p, sp);
    if (r == 0)
        r = sim_machine_new(&((struct sim_dev *)p->dev)->config, size, &sp->machine);
    for (int b = 0; b < p->n_banks && r == 0; b++) /* banks begin as zeros */
        memset(sp->machine->mem[SIM_XM].valid + sp->bank_at[b], 1, p->bank[b].size);
    return r;
}

static void sim_plan_free(struct npu_plan *p)
{
    struct sim_plan *sp = p->dev_plan;

    if (!sp)
        return;
    sim_machine_free(sp->machine);
    sim_program_free(&sp->setup);
    sim_program_free(&sp->program);
    sim_residence_free(&sp->residence);
    free(sp->bank_at);
    free(sp->setup_sections.of);
    free(sp->sections.of);
    free(sp->packed);
    free(sp);
}

static int sim_write(struct npu_plan *p, struct npu_place at, const void *data)
{
    struct sim_plan *sp = p->dev_plan;
    return sim_machine_write(sp->machine, sp->bank_at[at.bank] + at.offset, data, at.size);
}

static int sim_read(struct npu_plan *p, struct npu_place at, void *data)
{
    struct sim_plan *sp = p->dev_plan;
    return sim_machine_read(sp->machine, sp->bank_at[at.bank] + at.offset, data, at.size);
}

static const char *section_name(const struct npu_plan *p, const struct sim_section *c)
{
    return c->packs ? "weights" : p->graph->node[p->step[c->step].node]->op->name;
}

/* Before a program runs: no instruction leaves the tensors of its node, whatever happened to the program. */
static int check_bounds(struct npu_plan *p, const struct sim_plan *sp, bool constant)
{
    const struct sim_sections *sections = constant ? &sp->setup_sections : &sp->sections;
    const struct sim_residence *stay = constant ? NULL : &sp->residence;
    const uint32_t tiles = ((struct sim_dev *)p->dev)->config.um - (stay ? stay->room : 0);
    char why[256];

    for (int k = 0; k < sections->n; k++) {
        const struct sim_section *c = &sections->of[k];
        const struct sim_node node = c->packs ? packing(p, sp, c->step) : node_of(p, sp, stay, c->step);
        const int r =
            sim_bounds_check(constant ? &sp->setup : &sp->program, c->first, c->end, &node, tiles, why, sizeof why);

        if (r < 0)
            return npu_plan_fail(p, r, "%s: %s", section_name(p, c), why);
    }
    return 0;
}

/* Which step an instruction belongs to. */
static const char *step_name(const struct npu_plan *p, const struct sim_sections *c, int insn)
{
    for (int k = 0; k < c->n; k++)
        if (insn >= c->of[k].first && insn < c->of[k].end)
            return section_name(p, &c->of[k]);
    return "?";
}

static int run(struct npu_plan *p, struct sim_plan *sp, bool constant)
{
    struct sim_machine *m = sp->machine;
    int r = check_bounds(p, sp, constant);

    if (r < 0)
        return r;
    r = sim_machine_run(m, constant ? &sp->setup : &sp->program, m->config.seed + sp->runs++);
    return r < 0 ? npu_plan_fail(p, r, "%s: %s",
                                 step_name(p, constant ? &sp->setup_sections : &sp->sections, m->failed), m->error)
                 : 0;
}

static int sim_submit(struct npu_plan *p)
{
    struct sim_plan *sp = p->dev_plan;

    for (int b = 0; b < p->n_banks; b++)
        if (!p->bank[b].persistent)
            sim_machine_poison(sp->machine, SIM_XM, sp->bank_at[b], p->bank[b].size);
    sp->status = p->params_dirty ? run(p, sp, true) : 0;
    if (sp->status == 0)
        sp->status = run(p, sp, false);
    return 0;
}

static int sim_wait(struct npu_plan *p, int64_t timeout_ns)
{
    const struct sim_plan *sp = p->dev_plan;
    return sp->status;
}

static void sim_close(struct npu_dev *d)
{
    free(d);
}

static const struct npu_dev_ops sim_ops_table = {
    .name = "sim",
    .plan_lower = sim_lower,
    .plan_build = sim_build,
    .plan_free = sim_plan_free,
    .write = sim_write,
    .read = sim_read,
    .submit = sim_submit,
    .wait = sim_wait,
    .close = sim_close,
};

const struct sim_plan *npu_plan_sim(const struct npu_plan *p)
{
    return p->dev->ops == &sim_ops_table ? p->dev_plan : NULL;
}

const struct sim_config *npu_dev_sim_config(const struct npu_dev *d)
{
    return d->ops == &sim_ops_table ? &((const struct sim_dev *)d)->config : NULL;
}

static void describe(const struct sim_config *c, struct npu_dev_info *ret_info)
{
    memset(ret_info, 0, sizeof *ret_info);
    snprintf(ret_info->id, sizeof ret_info->id, "sim");
    snprintf(ret_info->name, sizeof ret_info->name,
             "simulated NPU, %d x %d, weights %u KiB, inputs %u KiB, sums %u KiB, unified %u KiB", c->rows, c->cols,
             c->wm >> 10, c->im >> 10, c->acc >> 10, c->um >> 10);
    snprintf(ret_info->driver, sizeof ret_info->driver, "libnpu " GAZED_VERSION);
    snprintf(ret_info->tiers, sizeof ret_info->tiers, "sim");
    ret_info->kind = NPU_KIND_REF;
    ret_info->usable = true;
    ret_info->compute_units = 1;
    ret_info->memory_bytes = SIM_MAX_EXTERNAL;
}

int npu_dev_sim_open(struct npu_ctx *c, const char *options, struct npu_dev **ret_dev)
{
    struct sim_config config;
    char why[256];
    struct sim_dev *d;

    if (sim_config_parse(options, &config, why, sizeof why) < 0)
        return npu_ctx_fail(c, -EINVAL, "sim: %s", why);
    d = calloc(1, sizeof *d);
    if (!d)
        return npu_ctx_fail(c, -ENOMEM, "sim: out of memory");
    d->config = config;
    d->dev.ops = &sim_ops_table;
    d->dev.ctx = c;
    describe(&config, &d->dev.info);
    d->dev.traits = (struct npu_traits){
        .kind = NPU_KIND_REF, .compute_units = 1, .vec_f32 = 1, .max_work_group = 1, .product_error = 0x1p-8f};
    d->dev.align = 64;
    d->dev.max_bank = SIM_MAX_EXTERNAL / 4;
    *ret_dev = &d->dev;
    return 0;
}
