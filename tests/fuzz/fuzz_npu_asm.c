/* fuzz_npu_asm.c - any bytes as a program of the NPU, as text or as a binary: refused with a reason, or instructions
 * that are the same after a trip through text and through bytes, whose tokens are found and hold, and that the
 * simulator runs or refuses with a reason. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libnpu/sim/asm.h"
#include "libnpu/sim/machine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_INSNS = 64, MAX_WORK = 1 << 16, XM_BYTES = 4096 };

static void must(int condition)
{
    if (!condition)
        abort();
}

/* The instruction through text and through bytes. */
static void there_and_back(const struct sim_insn *i)
{
    uint8_t bytes[SIM_INSN_BYTES], again[SIM_INSN_BYTES];
    char line[1024], why[256] = "";
    struct sim_source s;
    struct sim_insn other;
    int n = sim_disassemble(i, line, sizeof line);

    must(n > 0 && (size_t)n == strlen(line));
    sim_insn_encode(i, bytes);
    must(sim_assemble(line, (size_t)n, &s, why, sizeof why) == 0 && s.program.n == 1);
    sim_insn_encode(&s.program.insn[0], again);
    must(memcmp(bytes, again, sizeof bytes) == 0);
    sim_source_free(&s);
    must(sim_insn_decode(bytes, &other, why, sizeof why) == 0);
    sim_insn_encode(&other, again);
    must(memcmp(bytes, again, sizeof bytes) == 0);
}

/* Elements an instruction goes through; the check has bounded each count. */
static uint64_t work(const struct sim_insn *i)
{
    const uint32_t *n = i->op == SIM_OP_FILL ? i->fill.n : i->dma.n;

    switch (i->op) {
    case SIM_OP_NOP:
    case SIM_OP_HALT:
        return 1;
    case SIM_OP_LOAD:
    case SIM_OP_STORE:
    case SIM_OP_FILL:
        return (uint64_t)n[0] * n[1] * n[2] * n[3];
    case SIM_OP_WLOAD:
        return (uint64_t)i->wload.k * i->wload.n;
    case SIM_OP_MMUL:
        return (uint64_t)i->mmul.m[0] * i->mmul.m[1] * i->mmul.n * i->mmul.count;
    case SIM_OP_QSCALE:
        return (uint64_t)i->q.n0 * i->q.n1;
    default:
        return (uint64_t)i->vec.n0 * i->vec.n1 * i->vec.n2;
    }
}

static void run(const struct sim_program *p)
{
    struct sim_config c = sim_config_default;
    struct sim_machine *m;
    uint8_t host[XM_BYTES / 2] = {0};

    c.rows = c.cols = 8;
    c.wm = c.im = c.acc = c.um = 1024;
    c.ib = 4;
    if (sim_machine_new(&c, XM_BYTES, &m) < 0)
        return;
    must(sim_machine_write(m, 0, host, sizeof host) == 0); /* the other half is poison */
    sim_machine_poison(m, SIM_XM, sizeof host, XM_BYTES - sizeof host);
    if (sim_machine_run(m, p, 1) < 0)
        must(m->error[0] != '\0' && m->failed < p->n);
    else
        must(m->failed < 0);
    sim_machine_free(m);
}

static void check_program(struct sim_program *p)
{
    char why[256] = "";
    uint64_t all = 0;
    int r;

    for (int i = 0; i < p->n && i < MAX_INSNS; i++) {
        there_and_back(&p->insn[i]);
        all += work(&p->insn[i]);
    }
    if (p->n > MAX_INSNS)
        return;
    r = sim_tokens_check(p, why, sizeof why);
    must(r == 0 || r == -ENOMEM || why[0]);
    if (all <= MAX_WORK)
        run(p);
    if (sim_tokens_insert(p) < 0)
        return;
    r = sim_tokens_check(p, why, sizeof why);
    must(r == 0 || r == -ENOMEM);
    if (all <= MAX_WORK)
        run(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sim_source s = {0};
    char why[256] = "";
    int r;

    if (size >= 6 && memcmp(data, "GZNPU1", 6) == 0)
        r = sim_binary_read(data, size, &s.program, why, sizeof why);
    else
        r = sim_assemble((const char *)data, size, &s, why, sizeof why);
    must(r == 0 || r == -ENOMEM || why[0]);
    if (r < 0)
        return 0;
    check_program(&s.program);
    sim_source_free(&s);
    return 0;
}
