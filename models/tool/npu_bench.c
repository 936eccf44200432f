/* npu_bench.c - npu-bench: how fast a network is here: one run, throughput, start, memory, growth. */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libnpu/tool/tool_end.h"
#include "models/tool/bench.h"

const char *const bench_precision_names[BENCH_PRECISIONS] = {"f32", "bf16", "int8", "int8-dynamic"};

int bench_fail(const char *fmt, ...)
{
    va_list ap;

    fputs("npu-bench: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return 1;
}

static int usage(FILE *f)
{
    fputs("usage: npu-bench gaze_vit|landmarks|face_finder|FILE.onnx|gemm:MxKxN[*R]|matmul:MxKxN[*R] [OPTION]...\n"
          "       npu-bench --peak [--threads N] [--seconds S] [--json | --serve]\n"
          "Measures how fast a network runs here.\n"
          "  --device D         an id or kind that npu-info lists (default: auto)\n"
          "  --threads N        take N processors only (default: all)\n"
          "  --precision P      f32 (default), bf16, int8 or int8-dynamic (ranges found at run time)\n"
          "  --weights PATH     weight file or folder (default: the ONNX file's own, else random ones)\n"
          "  --batch N          pictures at once (default 1); of an ONNX file: its symbolic dimensions\n"
          "  --dim NAME=N       size of a symbolic dimension of an ONNX file\n"
          "  --size WxH         face_finder's picture (default 256x192)\n"
          "  --batches 1,2,4    also measure these, and the cost of one more picture\n"
          "  --sizes WxH,WxH    also measure face_finder with these pictures\n"
          "  --start            also measure starts with an empty and with a warm program cache\n"
          "  --train            gaze_vit: a step of training instead, in f32 or (mixed precision) bf16\n"
          "  --profile          also print the plan with the time of each node\n"
          "  --seconds S        how long each measurement takes (default 2)\n"
          "  --inputs DIR       take inputs from DIR/NAME.npy (default: random)\n"
          "  --calib DIR        int8: ranges from the inputs in DIR/0, DIR/1, ... (default: random ones)\n"
          "  --outputs DIR      write the outputs of one run to DIR/NAME.npy, and those of more inputs, in folders 1, "
          "2, ... of\n"
          "                     the inputs', to DIR/1, DIR/2, ...\n"
          "  --fast-gelu        ONNX: GELU's tanh form for its erf form\n"
          "  --serve            read \"run N [WARM-UP]\" from standard input, answer with times as JSON\n"
          "  --peak             measure the processor instead: f32 and int8 multiply-adds, memory\n"
          "  --json             one JSON object\n",
          f);
    return f == stdout ? 0 : 2;
}

/* ---- options ---- */
static bool number(const char *s, double lo, double hi, double *ret)
{
    char *end;
    const double v = strtod(s, &end);

    if (end == s || *end || !(v >= lo && v <= hi))
        return false;
    *ret = v;
    return true;
}

static bool whole(const char *s, int lo, int hi, int *ret)
{
    double v;

    if (!number(s, lo, hi, &v) || v != (double)(int)v)
        return false;
    *ret = (int)v;
    return true;
}

static bool read_size(const char *s, struct bench_size *ret)
{
    char text[32], *x;

    if (snprintf(text, sizeof text, "%s", s) >= (int)sizeof text || !(x = strchr(text, 'x')))
        return false;
    *x = '\0';
    return whole(text, 32, 8192, &ret->width) && whole(x + 1, 32, 8192, &ret->height);
}

/* "1,2,4" as batches, "256x192,512x384" as sizes. The commas are written over in argv. */
static bool read_list(struct bench_args *a, char *s, bool sizes)
{
    int *n = sizes ? &a->n_sizes : &a->n_batches;
    char *save = NULL;

    for (char *word = strtok_r(s, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
        if (*n == BENCH_MAX_LIST ||
            !(sizes ? read_size(word, &a->sizes[*n]) : whole(word, 1, BENCH_MAX_BATCH, &a->batches[*n])))
            return false;
        ++*n;
    }
    return *n > 0;
}

/* The name's end is written over in argv. */
static bool read_dim(struct bench_args *a, char *s)
{
    char *eq = strrchr(s, '=');
    int n;

    if (!eq || a->onnx.n_dims == BENCH_MAX_LIST - 1 || !whole(eq + 1, 1, 1 << 20, &n))
        return false;
    *eq = '\0';
    a->dims[a->onnx.n_dims++] = (struct npu_onnx_dim){s, n};
    return true;
}

static bool read_precision(const char *s, enum bench_precision *ret)
{
    for (int i = 0; i < BENCH_PRECISIONS; i++)
        if (strcmp(s, bench_precision_names[i]) == 0) {
            *ret = (enum bench_precision)i;
            return true;
        }
    return false;
}

enum {
    OPT_DEVICE = 256,
    OPT_THREADS,
    OPT_PRECISION,
    OPT_WEIGHTS,
    OPT_BATCH,
    OPT_DIM,
    OPT_SIZE,
    OPT_BATCHES,
    OPT_SIZES,
    OPT_SECONDS,
    OPT_INPUTS,
    OPT_CALIB,
    OPT_OUTPUTS,
    OPT_FLAG
};

static const struct option options[] = {
    {"device", required_argument, NULL, OPT_DEVICE},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"precision", required_argument, NULL, OPT_PRECISION},
    {"weights", required_argument, NULL, OPT_WEIGHTS},
    {"batch", required_argument, NULL, OPT_BATCH},
    {"dim", required_argument, NULL, OPT_DIM},
    {"size", required_argument, NULL, OPT_SIZE},
    {"batches", required_argument, NULL, OPT_BATCHES},
    {"sizes", required_argument, NULL, OPT_SIZES},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"inputs", required_argument, NULL, OPT_INPUTS},
    {"calib", required_argument, NULL, OPT_CALIB},
    {"outputs", required_argument, NULL, OPT_OUTPUTS},
    {"start", no_argument, NULL, OPT_FLAG},
    {"first-result", no_argument, NULL, OPT_FLAG},
    {"train", no_argument, NULL, OPT_FLAG},
    {"profile", no_argument, NULL, OPT_FLAG},
    {"serve", no_argument, NULL, OPT_FLAG},
    {"peak", no_argument, NULL, OPT_FLAG},
    {"json", no_argument, NULL, OPT_FLAG},
    {"fast-gelu", no_argument, NULL, OPT_FLAG},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'v'},
    {0},
};

static void set_flag(struct bench_args *a, const char *name)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"start", &a->start},     {"first-result", &a->first},
                 {"train", &a->train},     {"serve", &a->serve},
                 {"profile", &a->profile}, {"peak", &a->peak},
                 {"json", &a->json},       {"fast-gelu", &a->onnx.approximate_gelu}};

    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        if (strcmp(name, flags[i].name) == 0)
            *flags[i].flag = true;
}

static bool set_value(struct bench_args *a, int o, char *value)
{
    const char **texts[] = {[0] = &a->device,
                            [OPT_WEIGHTS - OPT_DEVICE] = &a->weights,
                            [OPT_INPUTS - OPT_DEVICE] = &a->inputs,
                            [OPT_CALIB - OPT_DEVICE] = &a->calib,
                            [OPT_OUTPUTS - OPT_DEVICE] = &a->outputs};

    switch (o) {
    case OPT_THREADS:
        return whole(value, 1, 1024, &a->threads);
    case OPT_PRECISION:
        return read_precision(value, &a->precision);
    case OPT_BATCH:
        return whole(value, 1, BENCH_MAX_BATCH, &a->batch);
    case OPT_DIM:
        return read_dim(a, value);
    case OPT_SIZE:
        return read_size(value, &a->size);
    case OPT_BATCHES:
    case OPT_SIZES:
        return read_list(a, value, o == OPT_SIZES);
    case OPT_SECONDS:
        return number(value, 0, 3600, &a->seconds);
    default:
        *texts[o - OPT_DEVICE] = value;
        return true;
    }
}

/* What does not go together; before anything is opened. */
static const char *contradiction(const struct bench_args *a)
{
    const bool named = a->what && !strchr(a->what, ':') && !strchr(a->what, '.');

    if ((a->size.width || a->n_sizes) && (!a->what || strcmp(a->what, "face_finder") != 0))
        return "only face_finder has a size";
    if (a->train && (!a->what || strcmp(a->what, "gaze_vit") != 0 || a->precision > BENCH_BF16))
        return "--train is for gaze_vit, in f32 or bf16";
    if (a->train && (a->n_batches || a->start || a->weights || a->outputs))
        return "--train goes with --batch, --device, --threads, --seconds, --serve and --profile only";
    if (a->what && bench_is_gemm(a->what) && (a->batch > 1 || a->n_batches || a->weights || a->calib))
        return "products have no batch and no weights";
    if (a->what && bench_is_gemm(a->what) && a->precision == BENCH_INT8_DYNAMIC)
        return "products have no ranges to find at run time";
    if (named && a->onnx.n_dims)
        return "--dim is for ONNX files";
    return NULL;
}

/* ---- the run ---- */
/* Drivers count processors when they are loaded, so this comes first. */
static int take_processors(int n)
{
    cpu_set_t all, some;
    char text[16];

    if (n == 0)
        return 0;
    if (sched_getaffinity(0, sizeof all, &all) < 0)
        return bench_fail("--threads: %s", strerror(errno));
    if (n > CPU_COUNT(&all))
        return bench_fail("--threads %d: there are %d processors", n, CPU_COUNT(&all));
    CPU_ZERO(&some);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&some) < n; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &some);
    if (sched_setaffinity(0, sizeof some, &some) < 0)
        return bench_fail("--threads: %s", strerror(errno));
    snprintf(text, sizeof text, "%d", n);
    setenv("POCL_MAX_PTHREAD_COUNT", text, 1); /* PoCL up to 3 */
    setenv("POCL_CPU_MAX_CU_COUNT", text, 1);  /* PoCL 4 and later */
    return 0;
}

int bench_device_open(const struct bench_args *a, struct bench_device *ret_device)
{
    struct bench_device d = {0};
    int r = npu_ctx_new(NULL, &d.ctx);

    if (r < 0)
        return bench_fail("%s", strerror(-r));
    if (npu_dev_open(d.ctx, a->device, &d.dev) < 0) {
        bench_fail("%s", npu_ctx_error(d.ctx));
        npu_ctx_free(d.ctx);
        return 1;
    }
    *ret_device = d;
    return 0;
}

void bench_device_close(struct bench_device *d)
{
    npu_dev_close(d->dev);
    npu_ctx_free(d->ctx);
}

static int measure_point(const struct bench_args *a, npu_dev *dev, struct bench_point *p)
{
    struct bench_args b = *a;
    struct bench_net *n = calloc(1, sizeof *n);
    int r;

    if (!n)
        return bench_fail("out of memory");
    b.batch = p->batch;
    b.size = p->size;
    b.inputs = NULL; /* of another shape */
    r = bench_net_open(&b, dev, NULL, n);
    if (r == 0)
        r = bench_time(n, a->seconds, &p->times);
    bench_net_close(n);
    free(n);
    return r;
}

/* Slope of the median over the batch, least squares. */
static double extra_ms(const struct bench_point *p, int n)
{
    double x = 0, y = 0, xx = 0, xy = 0;

    for (int i = 0; i < n; i++) {
        x += p[i].batch;
        y += p[i].times.p50_ms;
        xx += (double)p[i].batch * p[i].batch;
        xy += p[i].batch * p[i].times.p50_ms;
    }
    return n * xx - x * x > 0 ? (n * xy - x * y) / (n * xx - x * x) : 0;
}

static int measure_growth(const struct bench_args *a, npu_dev *dev, struct bench_result *res)
{
    int r = 0;

    for (int i = 0; i < a->n_batches && r == 0; i++) {
        res->batches[i] = (struct bench_point){.batch = a->batches[i], .size = a->size};
        r = measure_point(a, dev, &res->batches[i]);
        res->n_batches++;
    }
    for (int i = 0; i < a->n_sizes && r == 0; i++) {
        res->sizes[i] = (struct bench_point){.batch = a->batch, .size = a->sizes[i]};
        r = measure_point(a, dev, &res->sizes[i]);
        res->n_sizes++;
    }
    res->extra_ms = extra_ms(res->batches, res->n_batches);
    return r;
}

/* A second plan, since the times of nodes cost some. */
static int open_profiled(const struct bench_args *a, npu_dev *dev, struct bench_net *n)
{
    const struct npu_plan_opts o = {.profile = true};
    struct bench_times times;
    int r = bench_net_open(a, dev, &o, n);

    return r ? r : bench_time(n, a->seconds / 2, &times);
}

static int report(const struct bench_args *a, npu_dev *dev, struct bench_net *n, struct bench_net *profiled)
{
    struct bench_result res = {0};
    int r = bench_net_run(n) < 0 ? bench_fail("%s: %s", a->what, npu_plan_error(n->plan)) : 0;

    if (r == 0 && a->outputs)
        r = bench_net_outputs(n, a->outputs);
    if (r == 0 && a->outputs && a->inputs)
        r = bench_net_more_outputs(n, a->inputs, a->outputs);
    if (r == 0 && a->serve)
        return bench_serve(a, dev, n);
    if (r == 0)
        r = bench_time(n, a->seconds, &res.times);
    if (r == 0)
        r = measure_growth(a, dev, &res);
    if (r == 0 && a->start) {
        r = bench_start_measure(a, &res.empty, &res.warm);
        res.has_start = true;
    }
    if (r == 0 && a->profile)
        r = open_profiled(a, dev, profiled);
    if (r)
        return r;
    if (a->json)
        bench_print_json(a, dev, n, &res, profiled->plan);
    else
        bench_print_text(a, dev, n, &res);
    if (!a->json && profiled->plan)
        npu_plan_explain(profiled->plan, stdout, false);
    return 0;
}

static int run(const struct bench_args *args)
{
    struct bench_args a = *args;
    struct bench_device d = {0};
    struct bench_net *n = calloc(2, sizeof *n);
    char made[PATH_MAX] = "";
    int r;

    if (!n)
        return bench_fail("out of memory");
    r = bench_device_open(&a, &d);
    if (r == 0 && a.precision != BENCH_F32 && !bench_is_gemm(a.what) && !a.train) {
        r = bench_quantise(&a, d.dev, made);
        a.weights = made;
    }
    if (r == 0)
        r = bench_net_open(&a, d.dev, NULL, &n[0]);
    if (r == 0)
        r = report(&a, d.dev, &n[0], &n[1]);
    for (int i = 0; i < 2; i++)
        bench_net_close(&n[i]);
    free(n);
    if (made[0])
        unlink(made);
    bench_device_close(&d);
    return r;
}

static int print_peak(const struct bench_args *a)
{
    struct bench_peak p;

    if (a->serve)
        return bench_peak_serve();
    if (bench_peak_measure(a->seconds, &p))
        return 1;
    printf(a->json ? "{\"f32_gflops\": %.1f, \"int8_gops\": %.1f, \"read_gbps\": %.1f, \"how\": \"%s\"}\n"
                   : "f32 %.1f Gflop/s, int8 %.1f Gop/s, memory read %.1f GB/s (%s)\n",
           p.f32_gflops, p.int8_gops, p.read_gbps, p.how);
    return 0;
}

static int work(int argc, char **argv)
{
    struct bench_args a = {.batch = 1, .seconds = 2};
    const char *why;
    int o, index;

    while ((o = getopt_long(argc, argv, "", options, &index)) >= 0) {
        if (o == 'h')
            return usage(stdout);
        if (o == 'v')
            return puts("npu-bench " GAZED_VERSION) < 0;
        if (o == '?')
            return usage(stderr);
        if (o == OPT_FLAG)
            set_flag(&a, options[index].name);
        else if (!set_value(&a, o, optarg)) {
            bench_fail("--%s does not take \"%s\"", options[index].name, optarg);
            return 2;
        }
    }
    if (argc - optind != !a.peak)
        return usage(stderr);
    a.what = argv[optind]; /* NULL with --peak */
    a.onnx.dims = a.dims;
    why = contradiction(&a);
    if (why) {
        bench_fail("%s", why);
        return 2;
    }
    if (take_processors(a.threads))
        return 1;
    return a.peak ? print_peak(&a) : a.first ? bench_start_once(&a) : run(&a);
}

int main(int argc, char **argv)
{
    return tool_end("npu-bench", work(argc, argv));
}
