// npu-explain: what a network becomes on a device: tiers and memory of each node, and on the simulated NPU cycles, use
// of the array and a picture of the run.
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "libnpu/json_text.h"
#include "libnpu/sim/listing.h"
#include "libnpu/sim/report.h"
#include "libnpu/tool/tool_end.h"
#include "models/tool/explain_net.h"

#define MAX_BATCH 64

struct explain {
    struct explain_source source;
    const char *timeline, *program;
    int runs;
    bool json;
};

static int usage(FILE *f)
{
    fputs("usage: npu-explain MODEL [--weights FILE] [--device D] [--batch N] [--runs N] [--json]\n"
          "                   [--timeline FILE.svg] [--program FILE.s|FILE.npu]\n"
          "What each node of a network becomes on a device. On the simulated NPU (--device sim, or "
          "sim:16x16,wm=64K,...)\n"
          "also cycles, use of the array and bytes of each layer.\n"
          "MODEL is gaze_vit, landmarks, face_finder or a file that ends in .onnx.\n"
          "  --weights FILE   safetensors, f32 or as npu-quantize writes them (default: random; of an .onnx file its "
          "own)\n"
          "  --device D       an id or kind that npu-info lists, or sim (default: auto)\n"
          "  --batch N        pictures at once (default 1)\n"
          "  --runs N         run so often and print mean times (default 0; input is zeros)\n"
          "  --timeline FILE  simulated NPU: a picture of when each unit and layer works\n"
          "  --program FILE   simulated NPU: its instructions, as text (FILE.s) or binary (FILE.npu); those that make\n"
          "                   constants once go into FILE.setup.s or FILE.setup.npu\n",
          f);
    return f == stdout ? 0 : 2;
}

static int complain(const char *what, const char *why)
{
    fprintf(stderr, "npu-explain: %s: %s\n", what, why);
    return 1;
}

static int write_timeline(const struct explain *e, const struct sim_report *r)
{
    char title[256];
    FILE *f = fopen(e->timeline, "w");
    if (!f)
        return complain(e->timeline, strerror(errno));
    snprintf(title, sizeof(title), "%s, batch %d", e->source.model, e->source.batch);
    int status = sim_report_timeline(r, title, f);
    if (fclose(f) || status < 0)
        return complain(e->timeline, "can't be written");
    return 0;
}

/* "x.s" is text, "x.npu" binary. */
static const char *ending(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && dot > path && (strcmp(dot, ".s") == 0 || strcmp(dot, ".npu") == 0) ? dot : NULL;
}

static int write_part(const struct explain *e, const npu_plan *plan, bool setup, const char *path)
{
    char title[256];
    FILE *f = fopen(path, "wb");
    if (!f)
        return complain(path, strerror(errno));
    snprintf(title, sizeof(title), "%s, batch %d", e->source.model, e->source.batch);
    int r =
        strcmp(ending(path), ".s") == 0 ? sim_listing_text(plan, title, setup, f) : sim_listing_binary(plan, setup, f);
    if (fclose(f) || r < 0)
        return complain(path, "can't be written");
    return 0;
}

/* What each run is into x.s, what makes the constants into x.setup.s beside it. */
static int write_program(const struct explain *e, const npu_plan *plan)
{
    const char *end = ending(e->program);
    char setup[PATH_MAX];
    int n = snprintf(setup, sizeof(setup), "%.*s.setup%s", (int)(end - e->program), e->program, end);
    if (n < 0 || (size_t)n >= sizeof(setup))
        return complain(e->program, strerror(ENAMETOOLONG));
    int r = write_part(e, plan, false, e->program);
    return r ? r : write_part(e, plan, true, setup);
}

static void print_model_json(const struct explain *e)
{
    fputs("{\"model\": ", stdout);
    npu_json_text(stdout, e->source.model);
    if (e->source.weights) {
        fputs(", \"weights\": ", stdout);
        npu_json_text(stdout, e->source.weights);
    }
    printf(", \"batch\": %d, \"plan\": ", e->source.batch);
}

static int print(const struct explain *e, npu_plan *plan)
{
    struct sim_report report;
    int sim = sim_report_make(plan, &report);
    if (sim < 0 && (sim != -EOPNOTSUPP || e->timeline || e->program))
        return complain(e->timeline  ? "--timeline"
                        : e->program ? "--program"
                                     : e->source.device,
                        sim == -EOPNOTSUPP ? "only the simulated NPU has one" : strerror(-sim));
    if (e->json)
        print_model_json(e);
    int r = npu_plan_explain(plan, stdout, e->json);
    if (e->json)
        fputs(",\n\"npu\": ", stdout);
    if (r >= 0 && sim >= 0) {
        if (!e->json)
            putchar('\n');
        r = sim_report_print(&report, stdout, e->json);
    } else if (e->json) {
        fputs("null", stdout);
    }
    if (e->json)
        fputs("}\n", stdout);
    r = r < 0 ? complain("output", "can't be written") : 0;
    if (sim >= 0) {
        if (e->timeline && r == 0)
            r = write_timeline(e, &report);
        if (e->program && r == 0)
            r = write_program(e, plan);
        sim_report_free(&report);
    }
    return r;
}

static int explain(const struct explain *e)
{
    char message[EXPLAIN_MESSAGE] = "";
    struct explain_net n;
    int r = explain_net_open(&e->source, &n, message);
    if (r < 0) {
        fprintf(stderr, "npu-explain: %s\n", message);
        return r == -ENOENT ? 2 : 1;
    }
    for (int i = 0; i < e->runs && r >= 0; i++)
        r = npu_plan_run(n.plan);
    r = r < 0 ? complain(e->source.model, npu_plan_error(n.plan)[0] ? npu_plan_error(n.plan) : strerror(-r))
              : print(e, n.plan);
    explain_net_close(&n);
    return r;
}

static bool number(const char *text, int least, int most, int *ret)
{
    char *end;
    long v = strtol(text, &end, 10);
    if (end == text || *end || v < least || v > most)
        return false;
    *ret = (int)v;
    return true;
}

static int work(int argc, char **argv)
{
    static const struct option options[] = {
        {"device", required_argument, NULL, 'd'},   {"batch", required_argument, NULL, 'b'},
        {"runs", required_argument, NULL, 'r'},     {"json", no_argument, NULL, 'j'},
        {"timeline", required_argument, NULL, 't'}, {"program", required_argument, NULL, 'p'},
        {"weights", required_argument, NULL, 'w'},  {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},        {0},
    };
    struct explain e = {.source = {.device = "auto", .batch = 1}};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
        switch (c) {
        case 'd':
            e.source.device = optarg;
            break;
        case 'b':
            if (!number(optarg, 1, MAX_BATCH, &e.source.batch))
                return usage(stderr);
            break;
        case 'r':
            if (!number(optarg, 0, 1000000, &e.runs))
                return usage(stderr);
            break;
        case 'j':
            e.json = true;
            break;
        case 't':
            e.timeline = optarg;
            break;
        case 'w':
            e.source.weights = optarg;
            break;
        case 'p':
            if (!ending(optarg))
                return usage(stderr);
            e.program = optarg;
            break;
        case 'h':
            return usage(stdout);
        case 'v':
            puts("npu-explain " GAZED_VERSION);
            return 0;
        default:
            return usage(stderr);
        }
    }
    if (optind + 1 != argc)
        return usage(stderr);
    e.source.model = argv[optind];
    e.source.profile = e.runs > 0;
    return explain(&e);
}

int main(int argc, char **argv)
{
    return tool_end("npu-explain", work(argc, argv));
}
