/* npu_info.c - npu-info: which devices there are, why one can't be used, and which tiers each has. */
#include <getopt.h>
#include <string.h>

#include "libnpu/json_text.h"
#include "libnpu/npu.h"
#include "libnpu/tool/npu_info_tiers.h"
#include "libnpu/tool/tool_end.h"

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

/* What "auto" takes: the best kind, the first of it. */
static int default_device(const npu_ctx *c, struct npu_dev_info *ret_info)
{
    struct npu_dev_info d;
    int best = -1;

    for (int i = 0; npu_ctx_device(c, i, &d) == 0; i++)
        if (d.usable && (best < 0 || d.kind > ret_info->kind)) {
            *ret_info = d;
            best = i;
        }
    return best;
}

static void print_tiers_json(npu_ctx *c, const struct npu_dev_info *d)
{
    struct info_tiers t;

    info_tiers_find(c, d, &t);
    printf("\"tier_tests\": [");
    for (int i = 0; i < t.n; i++) {
        printf("%s\n    {", i ? "," : "");
        json_text("name", t.tier[i].name, ", ");
        printf("\"passed\": %s, ", t.tier[i].passed ? "true" : "false");
        json_text("why", t.tier[i].why, "}");
    }
    printf("], ");
    json_text("tier_note", t.note, ", ");
}

static void print_json(npu_ctx *c)
{
    struct npu_dev_info d;

    printf("{\"version\": \"%s\", ", GAZED_VERSION);
    json_text("note", npu_ctx_error(c), ", ");
    json_text("auto", default_device(c, &d) >= 0 ? d.id : "", ", \"devices\": [");
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
        print_tiers_json(c, &d);
        json_text("built_in_kernels", d.built_in_kernels, ", ");
        json_text("extensions", d.extensions, "}");
    }
    printf("\n]}\n");
}

/* Words one after the other, in lines of 100 columns under a heading. */
static void print_words(const char *heading, const char *words)
{
    int column = printf("    %-12s", heading), at_start = column;

    for (words += strspn(words, " ;"); *words; words += strspn(words, " ;")) {
        const int n = (int)strcspn(words, " ;");

        if (column > at_start && column + 1 + n > 100)
            column = printf("\n    %-12s", "") - 1;
        column += printf("%s%.*s", column > at_start ? " " : "", n, words);
        words += n;
    }
    putchar('\n');
}

/* Passed ones with how they did, then why the others were refused. */
static void print_tiers(npu_ctx *c, const struct npu_dev_info *d)
{
    const char *heading[] = {"tiers", "refused"};
    struct info_tiers t;

    info_tiers_find(c, d, &t);
    for (int refused = 0; refused < 2; refused++)
        for (int i = 0; i < t.n; i++)
            if (t.tier[i].passed == !refused) {
                printf("    %-12s%s%s%s\n", heading[refused], t.tier[i].name, t.tier[i].why[0] ? ": " : "",
                       t.tier[i].why);
                heading[refused] = "";
            }
    if (t.note[0])
        printf("    %-12s%s\n", heading[0], t.note);
}

static void print_device(npu_ctx *c, const struct npu_dev_info *d, bool is_default)
{
    static const char *const kinds[] = {"plain C, always there, slow", "CPU", "GPU", "NPU"};

    printf("%s: %s%s\n", d->id, kinds[d->kind], is_default ? " (taken by default)" : d->usable ? "" : " (not usable)");
    if (!d->usable)
        printf("    %-12s%s\n", "why not", d->why_not);
    if (d->kind == NPU_KIND_REF)
        return;
    printf("    %-12s%s\n    %-12s%s\n", "name", d->name, "driver", d->driver);
    if (d->node[0])
        printf("    %-12s%s\n", "node", d->node);
    if (d->built_in_kernels[0])
        print_words("built-in", d->built_in_kernels);
    if (!d->usable)
        return;
    printf("    %-12s%d compute unit%s, %.1f GiB of memory\n", "size", d->compute_units,
           d->compute_units == 1 ? "" : "s", (double)d->memory_bytes / (1 << 30));
    print_tiers(c, d);
    if (d->extensions[0])
        print_words("extensions", d->extensions);
}

static void print_text(npu_ctx *c)
{
    struct npu_dev_info d, best;
    const int taken = default_device(c, &best);

    for (int i = 0; npu_ctx_device(c, i, &d) == 0; i++)
        print_device(c, &d, i == taken);
    if (npu_ctx_error(c)[0])
        printf("\nOpenCL: %s.\n", npu_ctx_error(c));
    if (taken >= 0 && best.kind == NPU_KIND_REF)
        puts("Everything works on ref, but slowly.");
}

static int usage(FILE *f)
{
    fputs("usage: npu-info [--json]\n"
          "Lists the devices on which the networks can run, which one is taken by default (the first NPU, else GPU, "
          "else\n"
          "CPU), and why a device can't be used. The name before the colon is what --device options take.\n"
          "Tiers are the ways in which products are computed there; each was tested, refused ones say why.\n",
          f);
    return f == stdout ? 0 : 2;
}

static int work(int argc, char **argv)
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

int main(int argc, char **argv)
{
    return tool_end("npu-info", work(argc, argv));
}
