// gaze-train: trains one of the networks from pictures. See docs/man/gaze-train.1.
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libnpu/tool/tool_end.h"
#include "train/trainer.h"

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static const char usage[] =
    "usage: gaze-train face_finder|landmarks|gaze_vit --data DIR [--data DIR ...] --out FILE [options]\n"
    "  --data DIR         pictures to learn from: a folder of gaze-render, or the folder of portraits\n"
    "  --judge-data DIR   rendered pictures of other persons to judge on\n"
    "  --limit N          pictures a rendered folder at most\n"
    "  --steps N          length of the schedule           --minutes M   let the schedule end in this time\n"
    "  --batch B          pictures a step                  --lr R        peak of the learning rate\n"
    "  --seed S           default 1                        --device D    as npu-info lists them; default auto\n"
    "  --threads T        of the data loader, default 1    --eval-every N  steps between judgements\n"
    "  --checkpoint FILE  written every two minutes and at the end\n"
    "  --resume FILE      go on from a checkpoint          --start FILE  take a checkpoint's weights alone\n"
    "  --stop-after N     leave after step N of the schedule\n"
    "  --curve FILE.svg   loss and figures as a picture\n"
    "  --mixed            products and convolutions in bf16 where the processor has a unit for it and that pays;\n"
    "                     sums and weights stay f32\n"
    "  --explain FILE     how the graph runs, with the times of its nodes\n"
    "  --calibrate        gaze_vit: undo the shrinking of the output at the end, by its gain on training renders\n"
    "  --landmarks FILE   gaze_vit: learn with the points and pose that these weights find\n";

enum {
    OPT_DATA = 256,
    OPT_JUDGE,
    OPT_LIMIT,
    OPT_STEPS,
    OPT_MINUTES,
    OPT_BATCH,
    OPT_LR,
    OPT_SEED,
    OPT_DEVICE,
    OPT_THREADS,
    OPT_EVAL,
    OPT_CHECKPOINT,
    OPT_RESUME,
    OPT_START,
    OPT_STOP,
    OPT_CURVE,
    OPT_LANDMARKS,
    OPT_MIXED,
    OPT_EXPLAIN,
    OPT_CALIBRATE,
    OPT_OUT
};

static const struct option options[] = {
    {"data", required_argument, NULL, OPT_DATA},
    {"judge-data", required_argument, NULL, OPT_JUDGE},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"steps", required_argument, NULL, OPT_STEPS},
    {"minutes", required_argument, NULL, OPT_MINUTES},
    {"batch", required_argument, NULL, OPT_BATCH},
    {"lr", required_argument, NULL, OPT_LR},
    {"seed", required_argument, NULL, OPT_SEED},
    {"device", required_argument, NULL, OPT_DEVICE},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"eval-every", required_argument, NULL, OPT_EVAL},
    {"checkpoint", required_argument, NULL, OPT_CHECKPOINT},
    {"resume", required_argument, NULL, OPT_RESUME},
    {"start", required_argument, NULL, OPT_START},
    {"stop-after", required_argument, NULL, OPT_STOP},
    {"curve", required_argument, NULL, OPT_CURVE},
    {"landmarks", required_argument, NULL, OPT_LANDMARKS},
    {"out", required_argument, NULL, OPT_OUT},
    {"calibrate", no_argument, NULL, OPT_CALIBRATE},
    {"mixed", no_argument, NULL, OPT_MIXED},
    {"explain", required_argument, NULL, OPT_EXPLAIN},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {0},
};

// A number of the command line between bounds; false says what is wrong.
static bool number(const char *text, double low, double high, double *ret)
{
    char *end;
    errno = 0;
    double v = strtod(text, &end);
    if (errno || end == text || *end || !(v >= low && v <= high)) {
        fprintf(stderr, "gaze-train: '%s' is not a number from %g to %g\n", text, low, high);
        return false;
    }
    *ret = v;
    return true;
}

static bool apply(struct trainer_settings *s, int option, const char *value, const char **device)
{
    double v = 0;
    switch (option) {
    case OPT_DATA:
        if (s->data.folder_count == TASK_MAX_FOLDERS) {
            fprintf(stderr, "gaze-train: at most %d folders\n", TASK_MAX_FOLDERS);
            return false;
        }
        s->data.folders[s->data.folder_count++] = value;
        return true;
    case OPT_JUDGE:
        s->data.judge_folder = value;
        return true;
    case OPT_LIMIT:
        if (!number(value, 0, 1e7, &v))
            return false;
        s->data.limit = (int)v;
        return true;
    case OPT_STEPS:
        if (!number(value, 1, 1e8, &v))
            return false;
        s->steps = (uint32_t)v;
        return true;
    case OPT_MINUTES:
        return number(value, 0.01, 1e5, &s->minutes);
    case OPT_BATCH:
        if (!number(value, 1, 4096, &v))
            return false;
        s->batch = (int)v;
        return true;
    case OPT_LR:
        if (!number(value, 1e-8, 1, &v))
            return false;
        s->lr = (float)v;
        return true;
    case OPT_SEED:
        if (!number(value, 0, 4294967295.0, &v))
            return false;
        s->seed = (uint64_t)v;
        return true;
    case OPT_THREADS:
        if (!number(value, 1, 16, &v))
            return false;
        s->threads = (int)v;
        return true;
    case OPT_EVAL:
        if (!number(value, 0, 1e8, &v))
            return false;
        s->judge_every = (uint32_t)v;
        return true;
    case OPT_STOP:
        if (!number(value, 1, 1e8, &v))
            return false;
        s->stop_after = (uint32_t)v;
        return true;
    case OPT_DEVICE:
        *device = value;
        return true;
    case OPT_CHECKPOINT:
        s->checkpoint = value;
        return true;
    case OPT_RESUME:
        s->resume = value;
        return true;
    case OPT_START:
        s->start = value;
        return true;
    case OPT_CURVE:
        s->curve = value;
        return true;
    case OPT_CALIBRATE:
        return s->calibrate = true;
    case OPT_MIXED:
        return s->mixed = true;
    case OPT_EXPLAIN:
        s->explain = value;
        return true;
    case OPT_LANDMARKS:
        s->data.landmarks = value;
        return true;
    case OPT_OUT:
        s->out = value;
        return true;
    default:
        return false;
    }
}

// 0 = go on; else the exit code + 1.
static int parse(int argc, char **argv, struct trainer_settings *s, const char **device)
{
    for (int option; (option = getopt_long(argc, argv, "hV", options, NULL)) != -1;) {
        if (option == 'h' || option == 'V') {
            printf("%s", option == 'h' ? usage : "gaze-train " GAZED_VERSION "\n");
            return 1;
        }
        if (!apply(s, option, optarg, device)) {
            fprintf(stderr, "gaze-train: try --help\n");
            return 3;
        }
    }
    if (optind + 1 != argc || !(s->task = task_find(argv[optind])) || !s->data.folder_count || !s->out ||
        (!s->steps && !(s->minutes > 0))) {
        fprintf(stderr, "%s", usage);
        fprintf(stderr, "gaze-train: a network's name, --data, --out and one of --steps and --minutes are needed\n");
        return 3;
    }
    return 0;
}

static int train(struct trainer_settings *s, const char *device)
{
    npu_ctx *ctx = NULL;
    npu_dev *dev = NULL;
    char message[TRAINER_MESSAGE_SIZE] = "";
    struct trainer_result result = {0};
    int r = npu_ctx_new(NULL, &ctx);
    if (r >= 0 && (r = npu_dev_open(ctx, device, &dev)) < 0)
        snprintf(message, sizeof(message), "device: %.500s", npu_ctx_error(ctx));
    s->data.dev = dev;
    if (r >= 0) {
        printf("%s on %s (%s)\n", s->task->name, npu_dev_get_info(dev)->id, npu_dev_get_info(dev)->name);
        r = trainer_run(s, &result, message);
    }
    if (r < 0)
        fprintf(stderr, "gaze-train: %s\n", *message ? message : strerror(-r));
    else
        printf("%s at step %u: loss %.9g, %.1f images/s; weights in %s\n", r ? "stopped" : "done", result.step,
               (double)result.loss, result.images_s, s->out);
    npu_dev_close(dev);
    npu_ctx_free(ctx);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int work(int argc, char **argv)
{
    struct trainer_settings s = {.seed = 1, .threads = 1, .checkpoint_s = 120, .progress = stdout, .stop = &stop};
    const char *device = "auto";
    int r = parse(argc, argv, &s, &device);
    if (r)
        return r - 1;
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return train(&s, device);
}

int main(int argc, char **argv)
{
    return tool_end("gaze-train", work(argc, argv));
}
