/* npu_ops.c - npu-ops: tests, gradients, speed and support of every operation on a device. */
#include <getopt.h>
#include <stdlib.h>

#include "libnpu/tool/ops.h"
#include "libnpu/tool/tool_end.h"

static int usage(FILE *f)
{
    fputs("usage: npu-ops test|grad|perf|support [--device D] [--op O] [--f32] [--json]\n"
          "  test     each operation on the device against the C reference\n"
          "  grad     gradients against finite differences, and the device's against the reference's\n"
          "  perf     time of each operation\n"
          "  support  which operations the device runs, forward and backward\n"
          "D: an id or kind that npu-info lists (default: auto). O: one operation. --f32: not again with bf16\n"
          "storage. Exit code 1 if anything fails.\n",
          f);
    return f == stdout ? 0 : 2;
}

static int open_devices(struct ops *o, const char *device)
{
    int r = npu_ctx_new(NULL, &o->ctx);

    if (r < 0) {
        fprintf(stderr, "npu-ops: %s\n", strerror(-r));
        return r;
    }
    r = npu_dev_open(o->ctx, device, &o->dev);
    if (r == 0)
        r = npu_dev_open(o->ctx, "ref", &o->ref);
    if (r < 0)
        fprintf(stderr, "npu-ops: %s\n", npu_ctx_error(o->ctx));
    return r;
}

static int run_all(struct ops *o, void (*f)(struct ops *o, const struct npu_op *op))
{
    int n = 0;

    if (o->json)
        printf("{\"command\": \"%s\", \"device\": \"%s\", \"results\": [", o->command, npu_dev_get_info(o->dev)->id);
    for (int i = 0; npu_all_ops[i]; i++) {
        if (o->only_op && strcmp(o->only_op, npu_all_ops[i]->name) != 0)
            continue;
        f(o, npu_all_ops[i]);
        n++;
    }
    if (o->json)
        printf("\n], \"passed\": %d, \"failed\": %d, \"skipped\": %d}\n", o->passed, o->failed, o->skipped);
    else
        printf("npu-ops %s on %s: %d passed, %d failed, %d skipped\n", o->command, npu_dev_get_info(o->dev)->id,
               o->passed, o->failed, o->skipped);
    if (n == 0) {
        fprintf(stderr, "npu-ops: no operation \"%s\"\n", o->only_op ? o->only_op : "");
        return 2;
    }
    return o->failed ? 1 : 0;
}

static int work(int argc, char **argv)
{
    static const struct option options[] = {
        {"device", required_argument, NULL, 'd'},
        {"op", required_argument, NULL, 'o'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {"f32", no_argument, NULL, 'f'},
        {0},
    };
    static const struct {
        const char *name;
        void (*f)(struct ops *o, const struct npu_op *op);
    } commands[] = {{"test", ops_test}, {"grad", ops_grad}, {"perf", ops_perf}, {"support", ops_support}};
    struct ops o = {.first = true};
    const char *device = "auto";
    int c, r = 2;

    while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
        switch (c) {
        case 'd':
            device = optarg;
            break;
        case 'o':
            o.only_op = optarg;
            break;
        case 'f':
            o.f32_only = true;
            break;
        case 'j':
            o.json = true;
            break;
        case 'h':
            return usage(stdout);
        case 'v':
            puts("npu-ops " GAZED_VERSION);
            return 0;
        default:
            return usage(stderr);
        }
    if (optind + 1 != argc)
        return usage(stderr);
    o.command = argv[optind];
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(o.command, commands[i].name) == 0)
            r = open_devices(&o, device) < 0 ? 1 : run_all(&o, commands[i].f);
    if (r == 2 && !o.ctx)
        usage(stderr);
    npu_dev_close(o.dev);
    npu_dev_close(o.ref);
    npu_ctx_free(o.ctx);
    return r;
}

int main(int argc, char **argv)
{
    return tool_end("npu-ops", work(argc, argv));
}
