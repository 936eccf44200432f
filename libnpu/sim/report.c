/* report.c - layers of a plan on the simulated NPU: cycles, utilisation, bytes, as a table or JSON. */
#include "libnpu/sim/report.h"

#include <stdlib.h>

#include "libnpu/dev/sim.h"
#include "libnpu/json_text.h"

double sim_utilisation(const struct sim_config *c, uint64_t products, uint64_t cycles)
{
    return cycles ? (double)products / ((double)c->rows * (double)c->cols * (double)cycles) : 0.0;
}

static void sum_layer(const struct sim_report *r, struct sim_layer *l)
{
    l->begin = UINT64_MAX;
    for (int i = l->first; i < l->first + l->n; i++) {
        struct sim_counters w;

        sim_count(r->config, &r->program->insn[i], &w);
        for (int u = 0; u < SIM_UNITS; u++)
            l->work.busy[u] += w.busy[u];
        l->work.read += w.read;
        l->work.written += w.written;
        l->work.fetched += w.fetched;
        l->work.products += w.products;
        l->begin = r->span[i].begin < l->begin ? r->span[i].begin : l->begin;
        l->end = r->span[i].end > l->end ? r->span[i].end : l->end;
    }
}

static void find_layers(const struct npu_plan *p, const struct sim_plan *sp, struct sim_report *r)
{
    uint64_t end = 0;

    for (int k = 0; k < sp->sections.n; k++) {
        const struct sim_section *c = &sp->sections.of[k];
        const struct npu_node *node = p->graph->node[p->step[c->step].node];
        struct sim_layer l = {.op = node->op->name, .first = c->first, .n = c->end - c->first};

        npu_node_name(p->graph, node, l.name, sizeof l.name);
        sum_layer(r, &l);
        l.taken = l.end > end ? l.end - end : 0;
        end = l.end > end ? l.end : end;
        r->layer[r->n_layers++] = l;
    }
}

int sim_report_make(const struct npu_plan *p, struct sim_report *ret_report)
{
    const struct sim_plan *sp = npu_plan_sim(p);
    struct sim_report r = {0};
    int status;

    if (!sp)
        return -EOPNOTSUPP;
    r.config = npu_dev_sim_config(p->dev);
    r.program = &sp->program;
    r.residence = &sp->residence;
    r.span = calloc((size_t)sp->program.n + 1, sizeof r.span[0]);
    r.layer = calloc((size_t)p->n_steps + 1, sizeof r.layer[0]);
    status = r.span && r.layer ? sim_time(r.config, r.program, r.span, &r.total) : -ENOMEM;
    if (status < 0) {
        sim_report_free(&r);
        return status;
    }
    find_layers(p, sp, &r);
    *ret_report = r;
    return 0;
}

void sim_report_free(struct sim_report *r)
{
    free(r->span);
    free(r->layer);
    memset(r, 0, sizeof *r);
}

static void print_units(FILE *out, const char *key, const uint64_t *v)
{
    fprintf(out, "\"%s\": {", key);
    for (int u = 0; u < SIM_UNITS; u++)
        fprintf(out, "%s\"%s\": %llu", u ? ", " : "", sim_unit_names[u], (unsigned long long)v[u]);
    fputs("}, ", out);
}

static void print_json(const struct sim_report *r, FILE *out)
{
    const struct sim_counters *t = &r->total;

    fprintf(out, "{\"array\": [%d, %d], \"cycles\": %llu, \"ms\": %.6f, \"utilisation\": %.4f, \"instructions\": %d, ",
            r->config->rows, r->config->cols, (unsigned long long)t->cycles,
            (double)t->cycles / r->config->clock_hz * 1e3, sim_utilisation(r->config, t->products, t->cycles),
            r->program->n);
    print_units(out, "busy", t->busy);
    print_units(out, "stall", t->stall);
    fprintf(out, "\"resident\": {\"values\": %d, \"bytes\": %llu, \"spilled_values\": %d, \"spilled_bytes\": %llu}, ",
            r->residence->stay, (unsigned long long)r->residence->stay_bytes, r->residence->spilled,
            (unsigned long long)r->residence->spilled_bytes);
    fprintf(out, "\"read\": %llu, \"written\": %llu, \"fetched\": %llu, \"products\": %llu,\n \"layers\": [",
            (unsigned long long)t->read, (unsigned long long)t->written, (unsigned long long)t->fetched,
            (unsigned long long)t->products);
    for (int k = 0; k < r->n_layers; k++) {
        const struct sim_layer *l = &r->layer[k];

        fprintf(out, "%s\n  {\"op\": \"%s\", \"name\": ", k ? "," : "", l->op);
        npu_json_text(out, l->name);
        fprintf(out, ", \"begin\": %llu, \"end\": %llu, \"taken\": %llu, \"utilisation\": %.4f, \"instructions\": %d, ",
                (unsigned long long)l->begin, (unsigned long long)l->end, (unsigned long long)l->taken,
                sim_utilisation(r->config, l->work.products, l->end - l->begin), l->n);
        print_units(out, "busy", l->work.busy);
        fprintf(out, "\"read\": %llu, \"written\": %llu, \"products\": %llu}", (unsigned long long)l->work.read,
                (unsigned long long)l->work.written, (unsigned long long)l->work.products);
    }
    fputs("]}\n", out);
}

static void print_text(const struct sim_report *r, FILE *out)
{
    const struct sim_counters *t = &r->total;

    fprintf(out, "%-12s %-24s %9s %9s %7s %9s %9s %9s %8s\n", "operation", "name", "begin", "cycles", "array", "vector",
            "read", "written", "instr.");
    for (int k = 0; k < r->n_layers; k++) {
        const struct sim_layer *l = &r->layer[k];

        fprintf(out, "%-12s %-24.24s %9llu %9llu %6.1f%% %9llu %9llu %9llu %8d\n", l->op, l->name,
                (unsigned long long)l->begin, (unsigned long long)l->taken,
                100 * sim_utilisation(r->config, l->work.products, l->end - l->begin),
                (unsigned long long)l->work.busy[SIM_VECTOR], (unsigned long long)l->work.read,
                (unsigned long long)l->work.written, l->n);
    }
    fprintf(out, "%llu cycles, %.3f ms at %.0f MHz; array %.1f%% used; busy:", (unsigned long long)t->cycles,
            (double)t->cycles / r->config->clock_hz * 1e3, r->config->clock_hz * 1e-6,
            100 * sim_utilisation(r->config, t->products, t->cycles));
    for (int u = 0; u < SIM_UNITS; u++)
        fprintf(out, " %s %.1f%%", sim_unit_names[u], t->cycles ? 100.0 * (double)t->busy[u] / (double)t->cycles : 0.0);
    fprintf(out, "\n%d instructions; %.1f KiB read, %.1f KiB written, %.1f KiB of instructions\n", r->program->n,
            (double)t->read / 1024, (double)t->written / 1024, (double)t->fetched / 1024);
    fprintf(out, "%d results (%.1f KiB) stay in unified memory, %d (%.1f KiB) do not fit\n", r->residence->stay,
            (double)r->residence->stay_bytes / 1024, r->residence->spilled, (double)r->residence->spilled_bytes / 1024);
}

int sim_report_print(const struct sim_report *r, FILE *out, bool json)
{
    if (json)
        print_json(r, out);
    else
        print_text(r, out);
    return ferror(out) ? -EIO : 0;
}
