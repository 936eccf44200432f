/* asm.h - programs of the NPU as text (docs/NPU-ISA.md, "Text"). */
#ifndef NPU_SIM_ASM_H
#define NPU_SIM_ASM_H

#include "libnpu/sim/isa.h"

#define SIM_MAX_SOURCE (256u << 20) /* bytes of a text or a binary */

/* ".data ADDRESS TYPE v..." puts numbers into external memory before the run; ".expect ADDRESS TYPE v..." says what
 * must be there after it. */
struct sim_data {
    uint64_t address;
    enum npu_dtype dtype;
    bool expect;
    int n, line;
    double *value;
};

struct sim_source {
    struct sim_program program;
    uint64_t xm_bytes; /* ".xm N" */
    struct sim_data *data;
    int n_data;
};

/* text has size bytes. -EINVAL with "line 3: ..." in why. */
int sim_assemble(const char *text, size_t size, struct sim_source *ret_source, char *why, size_t why_size);
void sim_source_free(struct sim_source *s);

/* One instruction as a line of text without its end; the assembler makes the same bytes of it. Returns its length, or
 * -E2BIG. */
int sim_disassemble(const struct sim_insn *i, char *buf, size_t size);

/* Binary files: "GZNPU1\n\0", the number of instructions in 8 bytes, then 64 bytes each. */
int sim_binary_read(const uint8_t *bytes, size_t size, struct sim_program *ret_program, char *why, size_t why_size);
int sim_binary_write(const struct sim_program *p, FILE *out); /* -EIO */

#endif
