/* npu_info.c - npu-info: which devices there are, and why one can't be used. */
#include <getopt.h>
#include <string.h>

#include "libnpu/json_text.h"
#include "libnpu/npu.h"

static const char *kind_name(enum npu_dev_kind k)
{
    static const char *const names[] = {"ref", "cpu", "gpu", "npu"};
    return names[k];
}

static void json_text(const char *key, const char *s, const char *end)
{
    printf("\"%s\": ", key);
    npu_json_text(stdout, s);
    fputs(end, stdout);
}

static void print_json(const npu_ctx *c)
{
    struct npu_dev_info d;

    printf("{\"version\": \"%s\", ", GAZED_VERSION);
    json_text("note", npu_ctx_error(c), ", \"devices\": [");
    for (int i = 0; npu_ctx_device(c, i, &d) == 0; i++) {
        printf("%s\n  {", i ? "," : "");
        json_text("id", d.id, ", ");
        json_text("name", d.name, ", ");
        json_text("driver", d.driver, ", ");
        json_text("node", d.node, ", ");
        json_text("kind", kind_name(d.kind), ", ");
        printf("\"usable\": %s, ", d.usable ? "true" : "false");
        json_text("why_not", d.why_not, ", ");
        printf("\"compute_units\": %d, \"memory_bytes\": %llu, ", d.compute_units, (unsigned long long)d.memory_bytes);
        json_text("tiers", d.tiers, ", ");
        json_text("extensions", d.extensions, "}");
    }
    printf("\n]}\n");
}

static void print_text(const npu_ctx *c)
{
    struct npu_dev_info d;

    for (int i = 0; npu_ctx_device(c, i, &d) == 0; i++) {
        printf("%-10s %s  %s\n", d.id, kind_name(d.kind), d.name);
        printf("           driver      %s\n", d.driver);
        if (d.node[0])
            printf("           node        %s\n", d.node);
        if (!d.usable) {
            printf("           not usable  %s\n", d.why_not);
            continue;
        }
        printf("           units       %d, %.1f GiB\n", d.compute_units, (double)d.memory_bytes / (1 << 30));
        printf("           tiers       %s\n", d.tiers);
        if (d.extensions[0])
            printf("           extensions  %s\n", d.extensions);
    }
    if (npu_ctx_error(c)[0])
        printf("OpenCL: %s\n", npu_ctx_error(c));
}

static int usage(FILE *f)
{
    fputs("usage: npu-info [--json]\nLists the devices that libnpu finds, the best first to be taken by \"auto\" being "
          "NPU, GPU, CPU, "
          "then the plain C\nreference, and why a device can't be used.\n",
          f);
    return f == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'v'}, {0}};
    bool json = false;
    npu_ctx *c;
    int o, r;

    while ((o = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        if (o == 'h')
            return usage(stdout);
        if (o == 'v')
            return puts("npu-info " GAZED_VERSION) < 0;
        if (o != 'j')
            return usage(stderr);
        json = true;
    }
    if (optind != argc)
        return usage(stderr);
    r = npu_ctx_new(NULL, &c);
    if (r < 0) {
        fprintf(stderr, "npu-info: %s\n", strerror(-r));
        return 1;
    }
    if (json)
        print_json(c);
    else
        print_text(c);
    npu_ctx_free(c);
    return 0;
}
