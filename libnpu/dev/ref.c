/* ref.c - the device that is always there: each node's C reference, one after the other. Meant for truth, not for
 * speed.
 *
 * npu_plan_submit runs everything before it returns, so a wait never times out.
 */
#include <stdlib.h>
#include <unistd.h>

#include "libnpu/dev.h"

struct ref_plan {
    unsigned char **bank;
    struct npu_ref_call *call; /* one a step */
    int status;
};

static int ref_lower(struct npu_plan *p)
{
    for (int s = 0; s < p->n_steps; s++) {
        const struct npu_node *n = p->graph->node[p->step[s].node];
        struct npu_tensor_type in[NPU_MAX_IN] = {0};
        size_t scratch;

        p->step[s].first_launch = -1;
        if (!n->op->ref)
            return npu_plan_fail(p, -EOPNOTSUPP, "operation %s has no reference", n->op->name);
        if (!n->op->ref_scratch)
            continue;
        for (int k = 0; k < n->n_in; k++)
            in[k] = npu_lower_type(&p->lower, n->in[k]);
        scratch = n->op->ref_scratch(n, in);
        p->lower.step = s;
        p->lower.status = 0;
        if (scratch > 0)
            p->step[s].first_launch = npu_lower_scratch(&p->lower, scratch);
        if (p->lower.status < 0)
            return p->lower.status;
    }
    return 0;
}

static void *address(const struct ref_plan *rp, struct npu_place at)
{
    return rp->bank[at.bank] + at.offset;
}

static struct npu_tensor tensor(const struct npu_plan *p, const struct ref_plan *rp, npu_val v)
{
    struct npu_tensor t = {0};

    if (v == NPU_NONE)
        return t;
    t.dtype = npu_value_of(p->graph, v)->type.dtype;
    t.shape = npu_value_of(p->graph, v)->type.shape;
    t.data = address(rp, npu_plan_place(p, v));
    return t;
}

static int ref_build(struct npu_plan *p)
{
    struct ref_plan *rp = calloc(1, sizeof *rp);

    p->dev_plan = rp;
    if (!rp)
        return -ENOMEM;
    rp->bank = calloc((size_t)p->n_banks + 1, sizeof rp->bank[0]);
    rp->call = calloc((size_t)p->n_steps + 1, sizeof rp->call[0]);
    if (!rp->bank || !rp->call)
        return -ENOMEM;
    for (int b = 0; b < p->n_banks; b++) {
        void *m;

        if (posix_memalign(&m, p->dev->align, p->bank[b].size ? p->bank[b].size : 1))
            return npu_plan_fail(p, -ENOMEM, "no memory for %zu bytes", p->bank[b].size);
        memset(m, 0, p->bank[b].size);
        rp->bank[b] = m;
    }
    for (int s = 0; s < p->n_steps; s++) {
        const struct npu_node *n = p->graph->node[p->step[s].node];
        struct npu_ref_call *c = &rp->call[s];

        c->node = n;
        for (int k = 0; k < n->n_in; k++)
            c->in[k] = tensor(p, rp, n->in[k]);
        for (int k = 0; k < n->n_out; k++)
            c->out[k] = tensor(p, rp, n->out[k]);
        if (p->step[s].first_launch >= 0)
            c->scratch = address(rp, p->lower.buf[p->step[s].first_launch].place);
        p->step[s].first_launch = 0;
    }
    return 0;
}

static void ref_plan_free(struct npu_plan *p)
{
    struct ref_plan *rp = p->dev_plan;

    if (!rp)
        return;
    for (int b = 0; rp->bank && b < p->n_banks; b++)
        free(rp->bank[b]);
    free(rp->bank);
    free(rp->call);
    free(rp);
}

static int ref_write(struct npu_plan *p, struct npu_place at, const void *data)
{
    memcpy(address(p->dev_plan, at), data, at.size);
    return 0;
}

static int ref_read(struct npu_plan *p, struct npu_place at, void *data)
{
    memcpy(data, address(p->dev_plan, at), at.size);
    return 0;
}

static int ref_submit(struct npu_plan *p)
{
    struct ref_plan *rp = p->dev_plan;

    rp->status = 0;
    for (int s = 0; s < p->n_steps && rp->status >= 0; s++) {
        int64_t t = p->opts.profile ? npu_now_ns() : 0;

        if (p->step[s].constant && !p->params_dirty)
            continue;
        rp->status = npu_node_ref(rp->call[s].node)(&rp->call[s]);
        if (rp->status < 0)
            npu_plan_fail(p, rp->status, "%s: %s", rp->call[s].node->op->name, strerror(-rp->status));
        if (p->opts.profile) {
            p->step[s].ms_sum += (double)(npu_now_ns() - t) * 1e-6;
            p->step[s].runs++;
        }
    }
    return 0;
}

static int ref_wait(struct npu_plan *p, int64_t timeout_ns)
{
    const struct ref_plan *rp = p->dev_plan;
    return rp->status;
}

static void ref_close(struct npu_dev *d)
{
    free(d);
}

const struct npu_dev_ops npu_dev_ref_ops = {
    .name = "ref",
    .plan_lower = ref_lower,
    .plan_build = ref_build,
    .plan_free = ref_plan_free,
    .write = ref_write,
    .read = ref_read,
    .submit = ref_submit,
    .wait = ref_wait,
    .close = ref_close,
};

void npu_dev_ref_info(struct npu_dev_info *ret_info)
{
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    memset(ret_info, 0, sizeof *ret_info);
    strcpy(ret_info->id, "ref");
    strcpy(ret_info->name, "plain C reference");
    strcpy(ret_info->driver, "libnpu " GAZED_VERSION);
    strcpy(ret_info->tiers, "ref");
    ret_info->kind = NPU_KIND_REF;
    ret_info->usable = true;
    ret_info->compute_units = 1;
    ret_info->memory_bytes = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

int npu_dev_ref_open(struct npu_ctx *c, const struct npu_dev_info *info, struct npu_dev **ret_dev)
{
    struct npu_dev *d = calloc(1, sizeof *d);

    if (!d)
        return npu_ctx_fail(c, -ENOMEM, "ref: out of memory");
    d->ops = &npu_dev_ref_ops;
    d->ctx = c;
    d->info = *info;
    d->traits = (struct npu_traits){.kind = NPU_KIND_REF, .compute_units = 1, .vec_f32 = 1, .max_work_group = 1};
    d->align = 64;
    d->max_bank = SIZE_MAX / 4;
    *ret_dev = d;
    return 0;
}
