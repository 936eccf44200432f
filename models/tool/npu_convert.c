/* npu_convert.c - npu-convert: ONNX files in, out, looked into and run. */
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "libnpu/tool/tool_end.h"
#include "models/tool/convert.h"

int convert_fail(const char *fmt, ...)
{
    va_list ap;

    fputs("npu-convert: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return 1;
}

void convert_close(struct convert_plan *p)
{
    npu_plan_free(p->plan);
    npu_onnx_free(p->model);
    npu_dev_close(p->dev);
    npu_ctx_free(p->ctx);
}

static int open_plan(const struct convert_args *a, const char *path, struct convert_plan *p)
{
    char message[NPU_ONNX_MESSAGE] = "";
    int r = npu_onnx_import(path, &a->onnx, &p->model, message);

    if (r < 0)
        return convert_fail("%s: %s", path, message);
    r = npu_ctx_new(NULL, &p->ctx);
    if (r < 0)
        return convert_fail("%s", strerror(-r));
    r = npu_dev_open(p->ctx, a->device, &p->dev);
    if (r < 0)
        return convert_fail("%s", npu_ctx_error(p->ctx));
    r = npu_plan_new(p->dev, npu_onnx_graph(p->model), NULL, &p->plan);
    if (r < 0) {
        const char *why = npu_graph_error(npu_onnx_graph(p->model));

        return convert_fail("%s: no plan: %s", path, why[0] ? why : npu_ctx_error(p->ctx));
    }
    r = npu_onnx_load(p->model, p->plan);
    return r < 0 ? convert_fail("%s: %s", path, npu_plan_error(p->plan)) : 0;
}

int convert_open(const struct convert_args *a, const char *path, struct convert_plan *ret_plan)
{
    struct convert_plan p = {0};
    int r = open_plan(a, path, &p);

    if (r != 0)
        convert_close(&p);
    else
        *ret_plan = p;
    return r;
}

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), k = strlen(end);

    return n > k && strcmp(s + n - k, end) == 0;
}

/* Parameters alone to safetensors, or import and export. */
int convert_file(const struct convert_args *a, const char *from, const char *to)
{
    char message[NPU_ONNX_MESSAGE] = "";
    struct convert_plan p = {0};
    npu_onnx *m;
    int r;

    if (ends_with(to, ".safetensors")) {
        r = npu_onnx_import(from, &a->onnx, &m, message);
        if (r < 0)
            return convert_fail("%s: %s", from, message);
        r = npu_onnx_save(m, to, message);
        npu_onnx_free(m);
        return r < 0 ? convert_fail("%s", message) : 0;
    }
    r = convert_open(a, from, &p);
    if (r != 0)
        return r;
    r = npu_onnx_export(p.plan, npu_onnx_name(p.model), to, message);
    convert_close(&p);
    return r < 0 ? convert_fail("%s", message) : 0;
}

static int usage(FILE *f)
{
    fputs("usage: npu-convert [OPTION]... IN.onnx OUT.onnx|OUT.safetensors\n"
          "       npu-convert --model gaze_vit|landmarks|face_finder [--batch N] WEIGHTS.safetensors OUT.onnx\n"
          "       npu-convert --info FILE.onnx [--json]\n"
          "       npu-convert --run FILE.onnx [--input NAME=FILE.npy|random]... [--device D] [--out DIR]\n"
          "Takes networks from and to ONNX.\n"
          "  --model NAME     export one of gazed's own networks with these weights\n"
          "  --batch N        pictures at once of an exported network (1)\n"
          "  --info FILE      print inputs, outputs, nodes and initialisers\n"
          "  --json           as one JSON object\n"
          "  --run FILE       import, run once, print each output's shape and range\n"
          "  --input NAME=F   an array for an input; \"random\" (the default) fills it from --seed\n"
          "  --out DIR        with --run: write inputs and outputs as DIR/NAME.npy\n"
          "  --seed N         of random inputs (1)\n"
          "  --device D       where to run, as npu-info lists them (ref, cl0, cpu, ... default: auto)\n"
          "  --dim NAME=N     size of a symbolic dimension; --dim N for all others\n"
          "  --fast-gelu      take GELU's tanh form for its erf form (differs by 5e-4 at most)\n",
          f);
    return f == stdout ? 0 : 2;
}

enum {
    OPT_MODEL = 256,
    OPT_BATCH,
    OPT_INFO,
    OPT_JSON,
    OPT_RUN,
    OPT_INPUT,
    OPT_OUT,
    OPT_SEED,
    OPT_DEVICE,
    OPT_DIM,
    OPT_GELU,
    OPT_HELP,
    OPT_VERSION
};

static const struct option options[] = {
    {"model", required_argument, NULL, OPT_MODEL},   {"batch", required_argument, NULL, OPT_BATCH},
    {"info", required_argument, NULL, OPT_INFO},     {"json", no_argument, NULL, OPT_JSON},
    {"run", required_argument, NULL, OPT_RUN},       {"input", required_argument, NULL, OPT_INPUT},
    {"out", required_argument, NULL, OPT_OUT},       {"seed", required_argument, NULL, OPT_SEED},
    {"device", required_argument, NULL, OPT_DEVICE}, {"dim", required_argument, NULL, OPT_DIM},
    {"fast-gelu", no_argument, NULL, OPT_GELU},      {"help", no_argument, NULL, OPT_HELP},
    {"version", no_argument, NULL, OPT_VERSION},     {0}};

static bool number(const char *s, long long lo, long long hi, long long *ret_n)
{
    char *end;
    const long long n = strtoll(s, &end, 10);

    if (end == s || *end || n < lo || n > hi)
        return false;
    *ret_n = n;
    return true;
}

/* "name=3" or "3". The name's end is written over in argv. */
static bool add_dim(struct convert_args *a, char *s)
{
    char *eq = strrchr(s, '=');
    long long n;

    if (a->onnx.n_dims == CONVERT_MAX_LIST || !number(eq ? eq + 1 : s, 1, 1 << 20, &n))
        return false;
    if (eq)
        *eq = '\0';
    a->dims[a->onnx.n_dims++] = (struct npu_onnx_dim){eq ? s : NULL, n};
    a->onnx.dims = a->dims;
    return true;
}

static bool set_option(struct convert_args *a, int o, char *value)
{
    long long n = 0;

    switch (o) {
    case OPT_MODEL:
        a->model = value;
        return true;
    case OPT_BATCH:
        a->batch = number(value, 1, 64, &n) ? (int)n : 0;
        return a->batch > 0;
    case OPT_JSON:
        return a->json = true;
    case OPT_INPUT:
        if (a->n_inputs == CONVERT_MAX_LIST || !strchr(value, '='))
            return false;
        a->inputs[a->n_inputs++] = value;
        return true;
    case OPT_OUT:
        a->out = value;
        return true;
    case OPT_SEED:
        a->seed = number(value, 0, INT64_MAX, &n) ? (uint64_t)n : 0;
        return n > 0 || strcmp(value, "0") == 0;
    case OPT_DEVICE:
        a->device = value;
        return true;
    case OPT_DIM:
        return add_dim(a, value);
    case OPT_GELU:
        return a->onnx.approximate_gelu = true;
    default:
        return false;
    }
}

static int print_info(const struct convert_args *a, const char *path)
{
    char message[NPU_ONNX_MESSAGE] = "";

    return npu_onnx_print(path, &a->onnx, stdout, a->json, message) < 0 ? convert_fail("%s", message) : 0;
}

static int work(int argc, char **argv)
{
    struct convert_args a = {.batch = 1, .seed = 1};
    const char *info = NULL, *run = NULL;
    int o, left;

    while ((o = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        if (o == OPT_HELP)
            return usage(stdout);
        if (o == OPT_VERSION)
            return puts("npu-convert " GAZED_VERSION) < 0;
        if (o == OPT_INFO)
            info = optarg;
        else if (o == OPT_RUN)
            run = optarg;
        else if (!set_option(&a, o, optarg))
            return usage(stderr);
    }
    left = argc - optind;
    if ((info || run) && (left != 0 || a.model || (info && run)))
        return usage(stderr);
    if (info)
        return print_info(&a, info);
    if (run)
        return convert_run(&a, run);
    if (left != 2 || (a.model && !ends_with(argv[optind + 1], ".onnx")))
        return usage(stderr);
    if (a.model)
        return convert_export_model(&a, argv[optind], argv[optind + 1]);
    if (!ends_with(argv[optind], ".onnx") ||
        (!ends_with(argv[optind + 1], ".onnx") && !ends_with(argv[optind + 1], ".safetensors")))
        return usage(stderr);
    return convert_file(&a, argv[optind], argv[optind + 1]);
}

int main(int argc, char **argv)
{
    return tool_end("npu-convert", work(argc, argv));
}
