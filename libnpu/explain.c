/* explain.c - what a plan does: a line a node with its shape, tier and why that one, memory, and times if profiled. */
#include "libnpu/dev.h"
#include "libnpu/json_text.h"
#include "libnpu/tune.h"
#include "libnpu/widen.h"

struct line {
    char name[NPU_MAX_NAME], type[96], tier[64], place[96];
    const char *op;
    bool constant;
    int launches;
    double ms;                       /* mean of a run; below 0: not measured */
    const struct npu_choice *choice; /* NULL: there was none */
};

void npu_node_name(const npu_graph *g, const struct npu_node *n, char *buf, size_t size)
{
    buf[0] = '\0';
    for (int i = 0; i < g->n_outputs && !buf[0]; i++)
        for (int k = 0; k < n->n_out; k++)
            if (g->output[i].val == n->out[k])
                snprintf(buf, size, "%s", g->output[i].name);
    for (int k = 0; k < n->n_in && !buf[0]; k++) {
        const struct npu_value *v = npu_value_of(g, n->in[k]);

        if (v && v->kind == NPU_VALUE_PARAM)
            snprintf(buf, size, "%s", v->name);
    }
}

static void tier_of(const struct npu_plan *p, const struct npu_step *s, char *buf, size_t size)
{
    const char *tier = p->dev->ops->name;

    for (int k = 0; k < s->n_launches; k++) {
        const struct npu_launch *l = &p->lower.launch[s->first_launch + k];

        tier = l->tier ? l->tier : l->native ? "native" : tier;
        if (l->tier && !l->on_params)
            break;
    }
    if (s->n_launches == 0 && p->dev->traits.kind != NPU_KIND_REF)
        tier = "-"; /* a view: no work */
    snprintf(buf, size, "%s", tier);
}

static void describe(const struct npu_plan *p, const struct npu_step *s, struct line *l)
{
    const npu_graph *g = p->graph;
    const struct npu_node *n = g->node[s->node];
    struct npu_place at = npu_plan_place(p, n->out[0]);

    npu_node_name(g, n, l->name, sizeof l->name);
    npu_type_text(&npu_value_of(g, n->out[0])->type, l->type, sizeof l->type);
    tier_of(p, s, l->tier, sizeof l->tier);
    if (at.bank < 0)
        snprintf(l->place, sizeof l->place, "none");
    else
        snprintf(l->place, sizeof l->place, "%s%d+%zu", p->bank[at.bank].persistent ? "persistent" : "arena", at.bank,
                 at.offset);
    l->op = n->op->name;
    l->choice = p->choice ? &p->choice[s - p->step] : NULL;
    l->constant = s->constant;
    l->launches = s->n_launches;
    l->ms = s->runs > 0 ? s->ms_sum / (double)s->runs : -1.0;
}

/* Candidates with their times, and tiers that can't do the node. */
static void print_choice_json(FILE *out, const struct npu_choice *c)
{
    const char *sep = "";

    fprintf(out, ", \"why\": \"%s\", \"candidates\": [", npu_choice_why_text(c->why));
    for (int i = 0; i < c->n; i++)
        if (!c->option[i].refused) {
            fprintf(out, "%s{\"tier\": \"%s\"", sep, c->option[i].tier);
            if (c->option[i].us > 0)
                fprintf(out, ", \"us\": %.3f", (double)c->option[i].us);
            fputc('}', out);
            sep = ", ";
        }
    fputs("], \"refused\": {", out);
    sep = "";
    for (int i = 0; i < c->n; i++)
        if (c->option[i].refused) {
            fprintf(out, "%s\"%s\": ", sep, c->option[i].tier);
            npu_json_text(out, c->option[i].refused);
            sep = ", ";
        }
    fputc('}', out);
}

static void print_json(FILE *out, int node, const struct line *l, bool first)
{
    fprintf(out, "%s\n    {\"node\": %d, \"op\": \"%s\", \"name\": ", first ? "" : ",", node, l->op);
    npu_json_text(out, l->name);
    fprintf(out, ", \"type\": \"%s\", \"tier\": \"%s\", \"place\": \"%s\", \"constant\": %s, \"launches\": %d", l->type,
            l->tier, l->place, l->constant ? "true" : "false", l->launches);
    if (l->ms >= 0)
        fprintf(out, ", \"ms\": %.6f", l->ms);
    if (l->choice && l->choice->n > 0)
        print_choice_json(out, l->choice);
    fputc('}', out);
}

static void print_text(FILE *out, int node, const struct line *l)
{
    char why[512];

    fprintf(out, "%5d %-18s %-24s %-24s %-12s %-22s", node, l->op, l->type, l->name, l->tier, l->place);
    if (l->ms >= 0)
        fprintf(out, " %9.4f ms", l->ms);
    if (l->constant)
        fputs("  once", out);
    if (l->choice && npu_choice_text(l->choice, why, sizeof why)[0])
        fprintf(out, "  %s", why);
    fputc('\n', out);
}

/* Tiers that no node could get, since the device lacks them. */
static void print_lacking(npu_plan *p, FILE *out, bool json)
{
    struct npu_tier_info t;
    int n = 0;

    fputs(json ? ",\n  \"lacking\": {" : "", out);
    for (int i = 0; npu_dev_tier(p->dev, i, &t) == 0; i++) {
        if (t.passed)
            continue;
        if (json) {
            fprintf(out, "%s\"%s\": ", n ? ", " : "", t.name);
            npu_json_text(out, t.why);
        } else {
            fprintf(out, "%s%s (%s)", n ? ", " : "not here: ", t.name, t.why);
        }
        n++;
    }
    fputs(json ? "}" : n ? "\n" : "", out);
}

int npu_plan_explain(npu_plan *p, FILE *out, bool json)
{
    const struct npu_plan_stats *s = &p->stats;
    double total = 0.0;

    if (json)
        fprintf(out, "{\"device\": \"%s\", \"nodes\": [", p->dev->info.id);
    for (int i = 0; i < p->n_steps; i++) {
        struct line l;

        describe(p, &p->step[i], &l);
        if (json)
            print_json(out, (int)p->step[i].node, &l, i == 0);
        else
            print_text(out, (int)p->step[i].node, &l);
        total += l.ms > 0 && !l.constant ? l.ms : 0;
    }
    if (json)
        fprintf(
            out,
            "],\n  \"launches\": %d, \"persistent_bytes\": %zu, \"arena_bytes\": %zu, \"sum_of_params_bytes\": %zu, "
            "\"sum_of_values_bytes\": %zu, \"bf16_as_f32\": %s, \"last_run_ms\": %.4f",
            s->launches, s->persistent_bytes, s->arena_bytes, s->sum_of_params_bytes, s->sum_of_values_bytes,
            npu_widen_is(p) ? "true" : "false", p->last_run_ms);
    else
        fprintf(
            out,
            "%s: %d nodes, %d launches, %.1f MiB persistent, %.1f MiB arena (%.1f MiB of values), last run %.3f ms%s",
            p->dev->info.id, s->nodes, s->launches, (double)s->persistent_bytes / (1 << 20),
            (double)s->arena_bytes / (1 << 20), (double)s->sum_of_values_bytes / (1 << 20), p->last_run_ms,
            p->opts.profile ? "" : "\n");
    if (!json && p->opts.profile)
        fprintf(out, ", sum of kernels %.3f ms\n", total);
    if (!json && npu_widen_is(p))
        fputs(
            "bf16 is computed as f32: what lies between inputs and outputs is f32, except in products on a bf16 unit\n",
            out);
    print_lacking(p, out, json);
    if (json)
        fputs("}\n", out);
    return ferror(out) ? -EIO : 0;
}
