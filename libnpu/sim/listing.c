/* listing.c - a plan's programs as text or binary, with where its tensors lie in external memory. */
#include "libnpu/sim/listing.h"

#include <inttypes.h>

#include "libnpu/dev/sim.h"
#include "libnpu/sim/asm.h"

enum { MAX_XM_LINE = 1 << 30 }; /* the most that .xm takes */

/* A comment must end with its line, whatever names are. */
static void put_line(FILE *out, const char *text)
{
    for (; *text; text++)
        fputc((unsigned char)*text < ' ' ? '?' : *text, out);
    fputc('\n', out);
}

static void put_tensor(const struct npu_plan *p, const struct sim_plan *sp, const char *kind, npu_val v,
                       const char *name, FILE *out)
{
    const struct npu_place at = npu_plan_place(p, v);
    char type[96];

    if (at.bank < 0)
        return;
    fprintf(out, "# %12" PRIu64 " %10zu  %-6s %-20s ", sp->bank_at[at.bank] + at.offset, at.size, kind,
            npu_type_text(&npu_value_of(p->graph, v)->type, type, sizeof type));
    put_line(out, name);
}

static void put_tensors(const struct npu_plan *p, const struct sim_plan *sp, FILE *out)
{
    static const char *const kinds[] = {
        [NPU_VALUE_INPUT] = "input", [NPU_VALUE_PARAM] = "param", [NPU_VALUE_STATE] = "state"};

    fprintf(out, "# %12s %10s  %-6s %-20s %s\n", "address", "bytes", "", "type", "name");
    for (npu_val v = 1; v <= p->graph->n_values; v++) {
        const struct npu_value *val = npu_value_of(p->graph, v);

        if (val->kind != NPU_VALUE_NODE)
            put_tensor(p, sp, kinds[val->kind], v, val->name, out);
    }
    for (int i = 0; i < p->graph->n_outputs; i++)
        put_tensor(p, sp, "output", p->graph->output[i].val, p->graph->output[i].name, out);
}

static void put_head(const struct npu_plan *p, const struct sim_plan *sp, const char *title, bool setup, FILE *out)
{
    const struct sim_config *c = npu_dev_sim_config(p->dev);
    const uint64_t size = sp->machine->mem[SIM_XM].size;

    fputs("# ", out);
    put_line(out, title);
    fprintf(out,
            "# %s\n# made for %dx%d,wm=%" PRIu32 ",im=%" PRIu32 ",acc=%" PRIu32 ",um=%" PRIu32 "; %" PRIu64
            " bytes of external memory\n",
            setup ? "what runs once after parameters or states were written, before the next run" : "what each run is",
            c->rows, c->cols, c->wm, c->im, c->acc, c->um, size);
    put_tensors(p, sp, out);
    if (size <= MAX_XM_LINE)
        fprintf(out, ".xm %" PRIu64 "\n", size);
}

static void put_section_name(const struct npu_plan *p, const struct sim_section *s, FILE *out)
{
    const struct npu_node *n = p->graph->node[p->step[s->step].node];
    const struct npu_value *weight = s->packs ? npu_value_of(p->graph, n->in[1]) : NULL;
    char name[NPU_MAX_NAME];

    npu_node_name(p->graph, n, name, sizeof name);
    fprintf(out, "\n# %s ", s->packs ? "bf16 weights" : n->op->name);
    put_line(out, weight && weight->name ? weight->name : name);
}

static int put_section(const struct npu_plan *p, const struct sim_program *program, const struct sim_section *s,
                       FILE *out)
{
    char line[1024];

    put_section_name(p, s, out);
    for (int i = s->first; i < s->end; i++) {
        const int r = sim_disassemble(&program->insn[i], line, sizeof line);

        if (r < 0)
            return r;
        fputs(line, out);
        fputc('\n', out);
    }
    return ferror(out) ? -EIO : 0;
}

int sim_listing_text(const struct npu_plan *p, const char *title, bool setup, FILE *out)
{
    const struct sim_plan *sp = npu_plan_sim(p);
    const struct sim_sections *sections;
    int r = 0;

    if (!sp)
        return -EOPNOTSUPP;
    put_head(p, sp, title, setup, out);
    sections = setup ? &sp->setup_sections : &sp->sections;
    for (int k = 0; r == 0 && k < sections->n; k++)
        r = put_section(p, setup ? &sp->setup : &sp->program, &sections->of[k], out);
    return r < 0 ? r : ferror(out) ? -EIO : 0;
}

int sim_listing_binary(const struct npu_plan *p, bool setup, FILE *out)
{
    const struct sim_plan *sp = npu_plan_sim(p);

    return sp ? sim_binary_write(setup ? &sp->setup : &sp->program, out) : -EOPNOTSUPP;
}
