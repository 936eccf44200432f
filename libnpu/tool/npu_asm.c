/* npu_asm.c - npu-asm: programs of the simulated NPU: from text to binary and back, checked, run. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "libnpu/op.h"
#include "libnpu/sim/asm.h"
#include "libnpu/sim/machine.h"
#include "libnpu/tool/tool_end.h"

static int usage(FILE *f)
{
    fputs("usage: npu-asm asm TEXT BINARY\n"
          "       npu-asm dis BINARY\n"
          "       npu-asm check FILE\n"
          "       npu-asm run [--npu 32x32,wm=128K,...] [--seed N] TEXT\n"
          "  asm    makes a binary of a text\n"
          "  dis    prints a binary as text\n"
          "  check  says whether tokens order all instructions that use the same memory\n"
          "  run    runs a text on the simulator and compares external memory with its .expect lines\n"
          "FILE may be a text or a binary, - is standard input. Exit code 1 if anything is wrong.\n",
          f);
    return f == stdout ? 0 : 2;
}

static int complain(const char *path, const char *why)
{
    fprintf(stderr, "npu-asm: %s: %s\n", path, why);
    return 1;
}

static uint8_t *read_all(const char *path, size_t *ret_size)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    uint8_t *data = NULL;
    size_t n = 0, cap = 0, got = 1;

    while (f && got > 0 && n <= SIM_MAX_SOURCE) {
        if (n == cap) {
            uint8_t *more = realloc(data, cap = cap ? cap * 2 : 65536);

            if (!more)
                break;
            data = more;
        }
        got = fread(data + n, 1, cap - n, f);
        n += got;
    }
    if (!f || got > 0 || ferror(f)) {
        complain(path, f ? "is too large or can't be read" : strerror(errno));
        free(data);
        data = NULL;
    }
    if (f && f != stdin)
        fclose(f);
    *ret_size = n;
    return data;
}

/* A text or a binary; 1 with a message on failure. */
static int read_source(const char *path, struct sim_source *ret_source)
{
    char why[256] = "can't be read";
    struct sim_source s = {0};
    size_t size;
    uint8_t *data = read_all(path, &size);
    int r;

    if (!data)
        return 1;
    if (size >= 6 && memcmp(data, "GZNPU1", 6) == 0)
        r = sim_binary_read(data, size, &s.program, why, sizeof why);
    else
        r = sim_assemble((const char *)data, size, &s, why, sizeof why);
    free(data);
    if (r < 0)
        return complain(path, why);
    *ret_source = s;
    return 0;
}

static int assemble(const struct sim_source *s, const char *path)
{
    FILE *f = fopen(path, "wb");
    int r = f ? sim_binary_write(&s->program, f) : -errno;

    if (f && fclose(f) && r == 0)
        r = -errno;
    return r < 0 ? complain(path, strerror(-r)) : 0;
}

static int disassemble(const struct sim_source *s)
{
    char line[1024];

    for (int k = 0; k < s->program.n; k++) {
        if (sim_disassemble(&s->program.insn[k], line, sizeof line) < 0)
            return complain("-", "an instruction is too long");
        puts(line);
    }
    return 0;
}

static int check(const struct sim_source *s, const char *path)
{
    char why[256] = "no memory";

    if (sim_tokens_check(&s->program, why, sizeof why) < 0)
        return complain(path, why);
    printf("%d instructions, all in order\n", s->program.n);
    return 0;
}

/* Puts a .data line into memory, or compares an .expect line; floats agree to 1e-6 of their size. */
static int apply(struct sim_machine *m, const struct sim_data *d)
{
    const size_t size = npu_dtype_size(d->dtype);
    int bad = 0;

    for (int k = 0; k < d->n; k++) {
        uint8_t bytes[8] = {0};
        struct npu_tensor t = {.dtype = d->dtype, .data = bytes};
        float is;
        int r;

        npu_store(&t, 0, (float)d->value[k]);
        if (!d->expect) {
            r = sim_machine_write(m, d->address + (size_t)k * size, bytes, size);
        } else {
            r = sim_machine_read(m, d->address + (size_t)k * size, bytes, size);
            is = npu_load(&t, 0);
            if (r == 0 && !(fabs(is - d->value[k]) <= 1e-6 * fabs(d->value[k]))) {
                printf("line %d: element %d is %.9g, expected %.9g\n", d->line, k, (double)is, d->value[k]);
                bad = 1;
            }
        }
        if (r < 0) {
            printf("line %d: element %d lies beyond external memory (.xm)\n", d->line, k);
            return 1;
        }
    }
    return bad;
}

static int run(const struct sim_source *s, const char *path, const struct sim_config *c)
{
    struct sim_machine *m;
    int bad = 0, n = 0;

    if (sim_machine_new(c, s->xm_bytes, &m) < 0)
        return complain(path, "no memory");
    for (int k = 0; k < s->n_data; k++)
        if (!s->data[k].expect)
            bad |= apply(m, &s->data[k]);
    if (!bad && sim_machine_run(m, &s->program, c->seed) < 0)
        bad = complain(path, m->error);
    for (int k = 0; k < s->n_data && !bad; k++)
        if (s->data[k].expect) {
            bad |= apply(m, &s->data[k]);
            n++;
        }
    if (!bad)
        printf("%d instructions ran, %d expectations met\n", s->program.n, n);
    sim_machine_free(m);
    return bad;
}

static int command(const char *name, int argc, char **argv, const struct sim_config *c)
{
    const int files = strcmp(name, "asm") == 0 ? 2 : 1;
    struct sim_source s;
    int r;

    if (argc != files)
        return usage(stderr);
    if (strcmp(name, "asm") && strcmp(name, "dis") && strcmp(name, "check") && strcmp(name, "run"))
        return usage(stderr);
    if (read_source(argv[0], &s))
        return 1;
    r = name[0] == 'a'   ? assemble(&s, argv[1])
        : name[0] == 'd' ? disassemble(&s)
        : name[0] == 'c' ? check(&s, argv[0])
                         : run(&s, argv[0], c);
    sim_source_free(&s);
    return r;
}

static int work(int argc, char **argv)
{
    static const struct option options[] = {{"npu", required_argument, NULL, 'n'},
                                            {"seed", required_argument, NULL, 's'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'v'},
                                            {0}};
    struct sim_config config = sim_config_default;
    const char *npu = "", *seed = NULL;
    char text[512], why[256];
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
        switch (c) {
        case 'n':
            npu = optarg;
            break;
        case 's':
            seed = optarg;
            break;
        case 'h':
            return usage(stdout);
        case 'v':
            puts("npu-asm " GAZED_VERSION);
            return 0;
        default:
            return usage(stderr);
        }
    snprintf(text, sizeof text, "%s%s%s%s", npu, seed && *npu ? "," : "", seed ? "seed=" : "", seed ? seed : "");
    if (sim_config_parse(text, &config, why, sizeof why) < 0) {
        complain("--npu", why);
        return 2;
    }
    return optind < argc ? command(argv[optind], argc - optind - 1, argv + optind + 1, &config) : usage(stderr);
}

int main(int argc, char **argv)
{
    return tool_end("npu-asm", work(argc, argv));
}
