// npu-quantize: makes a network's weight file int8 or bf16. See docs/man/npu-quantize.1.
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "libnpu/json_text.h"
#include "libnpu/quant.h"
#include "libnpu/safetensors.h"
#include "libnpu/tool/tool_end.h"
#include "models/tool/calib_set.h"
#include "models/tool/calib_write.h"

#define MAX_KEPT    64
#define MAX_OUTPUTS 8

static const char usage_text[] =
    "usage: npu-quantize MODEL --calib PICTURES [options]\n"
    "       npu-quantize MODEL --bf16 [--calib PICTURES] [options]\n"
    "       npu-quantize MODEL --calib PICTURES --write-inputs DIR [--limit N] [--models DIR] [--device D]\n"
    "  MODEL             face_finder, landmarks or gaze_vit .safetensors, f32\n"
    "  --calib PICTURES  a folder of photographs with faces, or a text file with a path a line\n"
    "  --out FILE        default: MODEL with .int8 (.bf16) before its ending\n"
    "  --static          ranges from the photographs (default)    --dynamic   ranges found at run time\n"
    "  --per-tensor      one scale for all weights of a layer instead of one for each channel\n"
    "  --wide            all 8 bits for every weight: a little more exact, slower on AVX2\n"
    "  --range HOW       minmax, percentile or mse (default)      --limit N   photographs at most, default 200\n"
    "  --keep LAYER      stays f32; may be given again            --min-macs N   so do smaller layers, default 65536\n"
    "  --models DIR      the f32 networks that find faces; default: MODEL's folder\n"
    "  --device D        as npu-info lists them; default auto     --report FILE  what is printed, as JSON\n"
    "  --write-inputs DIR  quantise nothing: write what the network would get of the photographs, as arrays of NumPy\n";

struct settings {
    const char *model, *calib, *out, *models, *device, *report, *inputs;
    struct npu_quant_settings quant;
    const char *kept[MAX_KEPT + 1];
    int kept_count, limit;
    enum npu_calib_method method;
};

struct job {
    const struct settings *s;
    npu_ctx *ctx;
    npu_dev *dev;
    enum named_net_kind kind;
    struct calib_set set;
    struct named_net f32, quantised;
    struct npu_quant_recipe *recipe;
    struct npu_quant_error *layers, outputs[MAX_OUTPUTS];
    char out[PATH_MAX], model_name[NPU_MAX_NAME];
};

static int complain(const char *what, const char *why)
{
    fprintf(stderr, "npu-quantize: %s%s%s\n", what, *what ? ": " : "", why);
    return 1;
}

// Which network it is: the file says so, or its name does.
static int identify(struct job *j)
{
    char why[256] = "", name[PATH_MAX];
    struct st_file *f;
    int r = st_open(j->s->model, &f, why, sizeof(why));
    if (r < 0)
        return complain(j->s->model, *why ? why : strerror(-r));
    const char *model = st_metadata(f, "model");
    snprintf(name, sizeof(name), "%s", j->s->model);
    snprintf(j->model_name, sizeof(j->model_name), "%s", model ? model : basename(name));
    j->model_name[strcspn(j->model_name, ".")] = '\0';
    bool done = st_metadata(f, NPU_QUANT_KEY) != NULL;
    st_close(f);
    if (done)
        return complain(j->s->model, "is quantised already; give the f32 weights");
    if (named_net_kind(j->model_name, &j->kind) < 0)
        return complain(j->s->model, "is neither face_finder, landmarks nor gaze_vit");
    return 0;
}

static void name_output(struct job *j)
{
    const char *ending = j->s->quant.mode == NPU_QUANT_BF16 ? "bf16" : "int8";
    size_t n = strlen(j->s->model);
    if (n > 12 && !strcmp(j->s->model + n - 12, ".safetensors"))
        n -= 12;
    if (j->s->out)
        snprintf(j->out, sizeof(j->out), "%s", j->s->out);
    else
        snprintf(j->out, sizeof(j->out), "%.*s.%s.safetensors", (int)n, j->s->model, ending);
}

static int collect(struct job *j)
{
    char message[MODEL_MESSAGE_SIZE] = "", folder[PATH_MAX];
    if (!j->s->calib)
        return 0;
    snprintf(folder, sizeof(folder), "%s", j->s->model);
    const char *models = j->s->models ? j->s->models : dirname(folder);
    if (calib_set_collect(j->dev, models, j->kind, j->s->calib, j->s->limit, &j->set, message) < 0)
        return complain("", message);
    return 0;
}

static int calibrate(struct job *j, struct npu_quant_range *ranges)
{
    struct npu_calib *calib = NULL;
    int r = npu_calib_new(j->f32.plan, &calib);
    for (int i = 0; i < j->set.count && r >= 0; i++) {
        r = named_net_run(&j->f32, j->set.samples[i]);
        if (r >= 0)
            r = npu_calib_add(calib);
    }
    if (r >= 0)
        npu_calib_ranges(calib, j->s->method, ranges);
    npu_calib_free(calib);
    return r;
}

static int make(struct job *j)
{
    char message[MODEL_MESSAGE_SIZE] = "";
    if (named_net_open(j->dev, j->kind, j->s->model, &j->f32, message) < 0)
        return complain("", message);
    npu_graph *g = j->f32.net.graph;
    struct npu_quant_range *ranges = calloc((size_t)npu_graph_n_values(g) + 1, sizeof(*ranges));
    int r = ranges ? 0 : -ENOMEM;
    if (r >= 0 && j->s->quant.mode == NPU_QUANT_STATIC)
        r = calibrate(j, ranges);
    if (r >= 0)
        r = npu_quant_choose(g, &j->s->quant, ranges, &j->recipe);
    free(ranges);
    const char *metadata[] = {"model", j->model_name, "made_by", "npu-quantize " GAZED_VERSION, NULL};
    if (r >= 0)
        r = npu_quant_save(j->f32.plan, &j->s->quant, j->recipe, j->out, metadata);
    if (r < 0)
        return complain(j->out, npu_graph_status(g) < 0 ? npu_graph_error(g) : strerror(-r));
    return 0;
}

// The file as the product will load it, against the f32 network on the same inputs.
static int compare(struct job *j)
{
    char message[MODEL_MESSAGE_SIZE] = "";
    j->layers = calloc((size_t)j->recipe->n_layers + 1, sizeof(*j->layers));
    if (!j->layers)
        return complain("", strerror(ENOMEM));
    if (named_net_open(j->dev, j->kind, j->out, &j->quantised, message) < 0)
        return complain("", message);
    int r = 0;
    for (int i = 0; i < j->set.count && r >= 0; i++) {
        r = named_net_run(&j->f32, j->set.samples[i]);
        if (r >= 0)
            r = named_net_run(&j->quantised, j->set.samples[i]);
        if (r >= 0)
            r = npu_quant_compare(j->f32.plan, j->quantised.plan, j->recipe, j->layers);
        if (r >= 0)
            r = npu_quant_compare_outputs(j->f32.plan, j->quantised.plan, j->outputs);
    }
    return r < 0 ? complain("comparing", strerror(-r)) : 0;
}

static double decibels(const struct npu_quant_error *e)
{
    return e->noise > 0 ? 10 * log10(e->signal / e->noise) : 200;
}

static void print_text(const struct job *j)
{
    printf("%s: %d pictures, %d inputs\n", j->out, j->set.pictures, j->set.count);
    for (int i = 0; i < j->recipe->n_layers; i++) {
        const struct npu_quant_layer *l = &j->recipe->layer[i];
        printf("  %-32s -> %-5s", l->weight, l->y_scale > 0 ? "int8" : "f32");
        if (j->set.count)
            printf("  %6.1f dB", decibels(&j->layers[i]));
        putchar('\n');
    }
    for (int i = 0; j->set.count && npu_graph_output_name(j->f32.net.graph, i) && i < MAX_OUTPUTS; i++)
        printf("  output %-35s  %6.1f dB\n", npu_graph_output_name(j->f32.net.graph, i), decibels(&j->outputs[i]));
}

static void json_error(FILE *f, bool known, const struct npu_quant_error *e)
{
    if (known)
        fprintf(f, ", \"snr_db\": %.2f}", decibels(e));
    else
        fputs("}", f);
}

static int write_report(const struct job *j)
{
    static const char *const modes[] = {"int8 static", "int8 dynamic", "bf16"};
    FILE *f = fopen(j->s->report, "we");
    if (!f)
        return complain(j->s->report, strerror(errno));
    fputs("{\"model\": ", f);
    npu_json_text(f, j->model_name);
    fputs(", \"file\": ", f);
    npu_json_text(f, j->out);
    fprintf(f,
            ", \"mode\": \"%s\", \"per_tensor\": %s, \"wide\": %s, \"pictures\": %d, \"inputs\": %d,\n \"layers\": [",
            modes[j->recipe->mode], j->s->quant.per_tensor ? "true" : "false", j->s->quant.wide ? "true" : "false",
            j->set.pictures, j->set.count);
    for (int i = 0; i < j->recipe->n_layers; i++) {
        const struct npu_quant_layer *l = &j->recipe->layer[i];
        fprintf(f, "%s\n  {\"weight\": ", i ? "," : "");
        npu_json_text(f, l->weight);
        fprintf(f, ", \"result\": \"%s\"", l->y_scale > 0 ? "int8" : "f32");
        if (j->recipe->mode == NPU_QUANT_STATIC)
            fprintf(f, ", \"x_scale\": %.9g, \"x_zero\": %d", (double)l->x_scale, l->x_zero);
        json_error(f, j->set.count > 0, &j->layers[i]);
    }
    fputs("],\n \"outputs\": [", f);
    for (int i = 0; npu_graph_output_name(j->f32.net.graph, i) && i < MAX_OUTPUTS; i++) {
        fprintf(f, "%s\n  {\"name\": ", i ? "," : "");
        npu_json_text(f, npu_graph_output_name(j->f32.net.graph, i));
        json_error(f, j->set.count > 0, &j->outputs[i]);
    }
    fputs("]}\n", f);
    bool failed = ferror(f) != 0;
    if (fclose(f) != 0 || failed)
        return complain(j->s->report, "can't be written");
    return 0;
}

static int write_inputs(struct job *j)
{
    char message[MODEL_MESSAGE_SIZE] = "";
    if (named_net_open(j->dev, j->kind, j->s->model, &j->f32, message) < 0 ||
        calib_write(&j->set, &j->f32, j->s->inputs, message) < 0)
        return complain("", message);
    printf("%s: %d pictures, %d inputs\n", j->s->inputs, j->set.pictures, j->set.count);
    return 0;
}

static int quantise(struct job *j)
{
    int failed = make(j) || compare(j);
    if (failed)
        return failed;
    print_text(j);
    return j->s->report ? write_report(j) : 0;
}

static int run(const struct settings *s)
{
    struct job j = {.s = s};
    int failed = identify(&j);
    name_output(&j);
    if (!failed) {
        int r = npu_ctx_new(NULL, &j.ctx);
        if (r >= 0)
            r = npu_dev_open(j.ctx, s->device, &j.dev);
        if (r < 0)
            failed = complain("device", j.ctx ? npu_ctx_error(j.ctx) : strerror(-r));
    }
    failed = failed || collect(&j) || (s->inputs ? write_inputs : quantise)(&j);
    named_net_close(&j.quantised);
    named_net_close(&j.f32);
    calib_set_free(&j.set);
    free(j.recipe);
    free(j.layers);
    npu_dev_close(j.dev);
    npu_ctx_free(j.ctx);
    return failed;
}

enum {
    OPT_CALIB = 256,
    OPT_OUT,
    OPT_STATIC,
    OPT_DYNAMIC,
    OPT_BF16,
    OPT_PER_TENSOR,
    OPT_WIDE,
    OPT_RANGE,
    OPT_LIMIT,
    OPT_KEEP,
    OPT_MIN_MACS,
    OPT_MODELS,
    OPT_DEVICE,
    OPT_REPORT,
    OPT_WRITE_INPUTS
};

static const struct option options[] = {
    {"calib", required_argument, NULL, OPT_CALIB},
    {"out", required_argument, NULL, OPT_OUT},
    {"static", no_argument, NULL, OPT_STATIC},
    {"dynamic", no_argument, NULL, OPT_DYNAMIC},
    {"bf16", no_argument, NULL, OPT_BF16},
    {"per-tensor", no_argument, NULL, OPT_PER_TENSOR},
    {"wide", no_argument, NULL, OPT_WIDE},
    {"range", required_argument, NULL, OPT_RANGE},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"keep", required_argument, NULL, OPT_KEEP},
    {"min-macs", required_argument, NULL, OPT_MIN_MACS},
    {"models", required_argument, NULL, OPT_MODELS},
    {"device", required_argument, NULL, OPT_DEVICE},
    {"report", required_argument, NULL, OPT_REPORT},
    {"write-inputs", required_argument, NULL, OPT_WRITE_INPUTS},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {0},
};

static bool number(const char *text, long *ret)
{
    char *end;
    errno = 0;
    *ret = strtol(text, &end, 10);
    if (end != text && !*end && !errno && *ret >= 0 && *ret <= INT_MAX)
        return true;
    fprintf(stderr, "npu-quantize: '%s' is not a number from 0 to %d\n", text, INT_MAX);
    return false;
}

static bool method(const char *text, enum npu_calib_method *ret)
{
    static const char *const names[] = {"minmax", "percentile", "mse"};
    for (int i = 0; i < 3; i++) {
        if (!strcmp(text, names[i])) {
            *ret = (enum npu_calib_method)i;
            return true;
        }
    }
    fprintf(stderr, "npu-quantize: --range takes minmax, percentile or mse, not '%s'\n", text);
    return false;
}

static bool read_option(int c, struct settings *s)
{
    long n = 0;
    switch (c) {
    case OPT_CALIB:
        s->calib = optarg;
        return true;
    case OPT_OUT:
        s->out = optarg;
        return true;
    case OPT_STATIC:
    case OPT_DYNAMIC:
    case OPT_BF16:
        s->quant.mode = c == OPT_STATIC ? NPU_QUANT_STATIC : c == OPT_DYNAMIC ? NPU_QUANT_DYNAMIC : NPU_QUANT_BF16;
        return true;
    case OPT_PER_TENSOR:
        s->quant.per_tensor = true;
        return true;
    case OPT_WIDE:
        s->quant.wide = true;
        return true;
    case OPT_RANGE:
        return method(optarg, &s->method);
    case OPT_LIMIT:
    case OPT_MIN_MACS:
        if (!number(optarg, &n))
            return false;
        if (c == OPT_LIMIT)
            s->limit = (int)n;
        else
            s->quant.min_macs = n;
        return true;
    case OPT_KEEP:
        if (s->kept_count < MAX_KEPT)
            s->kept[s->kept_count++] = optarg;
        return true;
    case OPT_MODELS:
        s->models = optarg;
        return true;
    case OPT_DEVICE:
        s->device = optarg;
        return true;
    case OPT_REPORT:
        s->report = optarg;
        return true;
    case OPT_WRITE_INPUTS:
        s->inputs = optarg;
        return true;
    default:
        return false;
    }
}

static int work(int argc, char **argv)
{
    struct settings s = {.limit = 200, .method = NPU_CALIB_MSE, .quant.min_macs = 65536};
    s.quant.keep = s.kept;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        if (c == 'h') {
            fputs(usage_text, stdout);
            return 0;
        }
        if (c == 'V') {
            puts("npu-quantize " GAZED_VERSION);
            return 0;
        }
        if (!read_option(c, &s)) {
            fputs(usage_text, stderr);
            return 2;
        }
    }
    if (optind != argc - 1 || (!s.calib && (s.inputs || s.quant.mode == NPU_QUANT_STATIC))) {
        fputs(usage_text, stderr);
        return 2;
    }
    s.model = argv[optind];
    return run(&s);
}

int main(int argc, char **argv)
{
    return tool_end("npu-quantize", work(argc, argv));
}
