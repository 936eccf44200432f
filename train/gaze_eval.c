// gaze-eval: measures the networks on pictures that none of them has seen. See docs/man/gaze-eval.1.
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libnpu/tool/tool_end.h"
#include "models/face_reader.h"
#include "train/eval_report.h"
#include "train/judge.h"

static const char usage[] =
    "usage: gaze-eval --models DIR [--data DIR] [--renders DIR] [options]\n"
    "  --models DIR    weights of face_finder, landmarks and gaze_vit\n"
    "  --data DIR      the portraits; those that are held out of training are taken\n"
    "  --fold teaches  the portraits that teach instead: only what tells which threshold to choose\n"
    "  --renders DIR   what gaze-render wrote with a seed that was not trained on\n"
    "  --limit N       renders at most                  --scenes N   composed scenes, default 300\n"
    "  --device D      as npu-info lists them; default auto\n"
    "  --json FILE     all figures                      --markdown FILE   the same as a table\n"
    "  --worst FILE    a PNG of the 16 worst renders    --faces FILE      a JSON line for every render\n"
    "  --threshold T   of face_finder's score, 0 to 1  --sweep      what other thresholds would give\n"
    "  --misses        list missed faces and false boxes\n";

enum {
    OPT_MODELS = 256,
    OPT_DATA,
    OPT_RENDERS,
    OPT_LIMIT,
    OPT_SCENES,
    OPT_DEVICE,
    OPT_JSON,
    OPT_MARKDOWN,
    OPT_WORST,
    OPT_FACES,
    OPT_FOLD,
    OPT_THRESHOLD,
    OPT_SWEEP,
    OPT_MISSES
};

static const struct option options[] = {
    {"models", required_argument, NULL, OPT_MODELS},
    {"data", required_argument, NULL, OPT_DATA},
    {"renders", required_argument, NULL, OPT_RENDERS},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"scenes", required_argument, NULL, OPT_SCENES},
    {"device", required_argument, NULL, OPT_DEVICE},
    {"json", required_argument, NULL, OPT_JSON},
    {"markdown", required_argument, NULL, OPT_MARKDOWN},
    {"worst", required_argument, NULL, OPT_WORST},
    {"faces", required_argument, NULL, OPT_FACES},
    {"fold", required_argument, NULL, OPT_FOLD},
    {"threshold", required_argument, NULL, OPT_THRESHOLD},
    {"sweep", no_argument, NULL, OPT_SWEEP},
    {"misses", no_argument, NULL, OPT_MISSES},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {0},
};

struct settings {
    const char *models, *data, *renders, *device, *json, *markdown, *worst, *faces;
    enum face_set_fold fold;
    float threshold; // 0: the product's, or for a sweep its lowest
    int limit, scenes;
    bool misses, sweep;
};

static const float sweep_thresholds[] = {0.8f,  0.85f,  0.9f,  0.93f,  0.95f, 0.96f, 0.965f,
                                         0.97f, 0.975f, 0.98f, 0.985f, 0.99f, 0.995f};

static bool count(const char *text, int *ret)
{
    char *end;
    long v = strtol(text, &end, 10);
    if (end == text || *end || v < 0 || v > 10000000) {
        fprintf(stderr, "gaze-eval: '%s' is not a number from 0 to 10000000\n", text);
        return false;
    }
    *ret = (int)v;
    return true;
}

static bool fold(const char *text, enum face_set_fold *ret)
{
    bool teaches = !strcmp(text, "teaches");
    if (!teaches && strcmp(text, "judges") != 0) {
        fprintf(stderr, "gaze-eval: --fold is teaches or judges, not '%s'\n", text);
        return false;
    }
    *ret = teaches ? FACE_SET_TEACHES : FACE_SET_JUDGES;
    return true;
}

static bool share(const char *text, float *ret)
{
    char *end;
    float v = strtof(text, &end);
    if (end == text || *end || !(v > 0 && v < 1)) {
        fprintf(stderr, "gaze-eval: '%s' is not a number between 0 and 1\n", text);
        return false;
    }
    *ret = v;
    return true;
}

static bool apply(struct settings *s, int option, const char *value)
{
    switch (option) {
    case OPT_MODELS:
        s->models = value;
        return true;
    case OPT_DATA:
        s->data = value;
        return true;
    case OPT_RENDERS:
        s->renders = value;
        return true;
    case OPT_LIMIT:
        return count(value, &s->limit);
    case OPT_SCENES:
        return count(value, &s->scenes);
    case OPT_DEVICE:
        s->device = value;
        return true;
    case OPT_JSON:
        s->json = value;
        return true;
    case OPT_MARKDOWN:
        s->markdown = value;
        return true;
    case OPT_WORST:
        s->worst = value;
        return true;
    case OPT_FACES:
        s->faces = value;
        return true;
    case OPT_FOLD:
        return fold(value, &s->fold);
    case OPT_THRESHOLD:
        return share(value, &s->threshold);
    case OPT_SWEEP:
        s->sweep = true;
        return true;
    case OPT_MISSES:
        s->misses = true;
        return true;
    default:
        return false;
    }
}

static void list_misses(const struct judge_misses *misses)
{
    for (int i = 0; i < misses->count; i++)
        printf("portrait %s: best box's IoU %.2f, false boxes %d\n", misses->list[i].id, (double)misses->list[i].iou,
               misses->list[i].false_boxes);
}

// Takes readings apart into the arrays that the figures want. Both are the caller's to free.
static int split(const struct judge_reading *readings, int count, struct face_landmarks **ret_found,
                 struct gaze_estimate **ret_gaze)
{
    struct face_landmarks *found = calloc((size_t)count + 1, sizeof(*found));
    struct gaze_estimate *gaze = calloc((size_t)count + 1, sizeof(*gaze));
    if (!found || !gaze) {
        free(found);
        free(gaze);
        return -ENOMEM;
    }
    for (int i = 0; i < count; i++) {
        found[i] = readings[i].found;
        gaze[i] = readings[i].gaze;
    }
    *ret_found = found;
    *ret_gaze = gaze;
    return 0;
}

// The thresholds from the reader's own on.
static struct judge_sweep make_sweep(float lowest)
{
    struct judge_sweep sweep = {0};
    for (size_t i = 0; i < sizeof(sweep_thresholds) / sizeof(*sweep_thresholds); i++)
        if (sweep_thresholds[i] >= lowest) {
            sweep.photographs[sweep.count].threshold = sweep_thresholds[i];
            sweep.scenes[sweep.count++].threshold = sweep_thresholds[i];
        }
    return sweep;
}

static int photographs(const struct settings *s, struct face_reader *reader, struct figures *figures, char *message)
{
    bool teaches = s->fold == FACE_SET_TEACHES;
    struct face_set set = {0};
    struct judge_sweep sweep = s->sweep ? make_sweep(s->threshold) : (struct judge_sweep){0};
    struct judge_misses misses = {0};
    struct judge_reading *readings = NULL;
    struct face_landmarks *found = NULL;
    struct gaze_estimate *gaze = NULL;
    int r = face_set_add(&set, s->data, s->fold, 0, message);
    if (r >= 0 && !(misses.list = calloc((size_t)set.count + 1, sizeof(*misses.list))))
        r = -ENOMEM;
    if (r >= 0)
        r = judge_read_all(reader, teaches ? "taught" : "real", &set, figures, &readings, &misses, &sweep);
    if (r >= 0)
        r = judge_read_scenes(reader, teaches ? "taught_scenes" : "scenes", &set, s->scenes, figures, &sweep);
    if (r >= 0 && s->misses)
        list_misses(&misses);
    if (r >= 0 && s->sweep) {
        figures->count = 0; // they are those of the lowest threshold
        r = eval_write_sweep(&sweep, stdout);
    }
    if (r >= 0)
        r = split(readings, set.count, &found, &gaze);
    if (r >= 0 && !s->sweep && !teaches) { // what it has learned from does not tell how good a network is
        judge_landmarks("real", &set, found, figures);
        judge_gaze_real(&set, gaze, figures);
    }
    free(misses.list);
    free(readings);
    free(found);
    free(gaze);
    face_set_clear(&set);
    return r;
}

static int renders(const struct settings *s, struct face_reader *reader, struct figures *figures, char *message)
{
    struct face_set set = {0};
    struct judge_reading *readings = NULL;
    struct face_landmarks *found = NULL;
    struct gaze_estimate *gaze = NULL;
    int r = face_set_add(&set, s->renders, FACE_SET_ALL, s->limit, message);
    if (r >= 0)
        r = judge_read_all(reader, "rendered", &set, figures, &readings, NULL, NULL);
    if (r >= 0)
        r = split(readings, set.count, &found, &gaze);
    if (r >= 0) {
        judge_landmarks("rendered", &set, found, figures);
        judge_gaze_rendered(&set, gaze, figures);
    }
    if (r >= 0 && s->worst && (r = eval_write_worst(&set, gaze, s->worst)) < 0)
        snprintf(message, FACE_SET_MESSAGE_SIZE, "%.300s: %s", s->worst, strerror(-r));
    if (r >= 0 && s->faces && (r = eval_write_faces(&set, found, gaze, s->faces)) < 0)
        snprintf(message, FACE_SET_MESSAGE_SIZE, "%.300s: %s", s->faces, strerror(-r));
    free(readings);
    free(found);
    free(gaze);
    face_set_clear(&set);
    return r;
}

static int evaluate(const struct settings *s, npu_dev *dev, char *message)
{
    struct figures real = {0}, rendered = {0};
    struct face_reader *reader = NULL;
    const struct face_finder_options finder = {.score_threshold = s->threshold};
    int r = face_reader_open(dev, s->models, &finder, &reader, message);
    if (r >= 0 && s->data)
        r = photographs(s, reader, &real, message);
    if (r >= 0 && s->renders)
        r = renders(s, reader, &rendered, message);
    face_reader_close(reader);
    if (r < 0)
        return r;
    const struct figures *const parts[2] = {&real, &rendered};
    if (real.count || rendered.count)
        eval_write_markdown(parts, 2, stdout);
    if (s->json && (r = eval_write_file(parts, 2, s->json, eval_write_json)) < 0)
        snprintf(message, FACE_SET_MESSAGE_SIZE, "%.300s: %s", s->json, strerror(-r));
    if (r >= 0 && s->markdown && (r = eval_write_file(parts, 2, s->markdown, eval_write_markdown)) < 0)
        snprintf(message, FACE_SET_MESSAGE_SIZE, "%.300s: %s", s->markdown, strerror(-r));
    return r;
}

static int run(const struct settings *s)
{
    npu_ctx *ctx = NULL;
    npu_dev *dev = NULL;
    char message[FACE_SET_MESSAGE_SIZE] = "";
    int r = npu_ctx_new(NULL, &ctx);
    if (r >= 0 && (r = npu_dev_open(ctx, s->device, &dev)) < 0)
        snprintf(message, sizeof(message), "device: %.380s", npu_ctx_error(ctx));
    if (r >= 0)
        r = evaluate(s, dev, message);
    if (r < 0)
        fprintf(stderr, "gaze-eval: %s\n", *message ? message : strerror(-r));
    npu_dev_close(dev);
    npu_ctx_free(ctx);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int work(int argc, char **argv)
{
    struct settings s = {.device = "auto", .scenes = 300, .fold = FACE_SET_JUDGES};
    for (int option; (option = getopt_long(argc, argv, "hV", options, NULL)) != -1;) {
        if (option == 'h' || option == 'V') {
            printf("%s", option == 'h' ? usage : "gaze-eval " GAZED_VERSION "\n");
            return EXIT_SUCCESS;
        }
        if (!apply(&s, option, optarg)) {
            fprintf(stderr, "gaze-eval: try --help\n");
            return 2;
        }
    }
    if (optind != argc || !s.models || (!s.data && !s.renders)) {
        fprintf(stderr, "%sgaze-eval: --models and one of --data and --renders are needed\n", usage);
        return 2;
    }
    if (s.sweep && !s.data) {
        fprintf(stderr, "gaze-eval: --sweep reads photographs and scenes of them: give --data\n");
        return 2;
    }
    if (s.sweep && s.threshold == 0)
        s.threshold = sweep_thresholds[0];
    return run(&s);
}

int main(int argc, char **argv)
{
    return tool_end("gaze-eval", work(argc, argv));
}
