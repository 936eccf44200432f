// The training loop: see trainer.h.
#include "train/trainer.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "train/curve.h"
#include "train/loader.h"
#include "train/render/tensors.h"

#define WARM_UP_STEPS 300
#define LINE_EVERY_S  5.0
#define SCHEDULE_SIZE 80

struct trainer {
    const struct trainer_settings *set;
    void *data;
    struct net net, deployed;
    npu_plan *plan, *deploy_plan;
    npu_val inputs[LOADER_MAX_INPUTS], loss, lr, step_input;
    size_t sizes[LOADER_MAX_INPUTS]; // floats a sample
    int batch;
    struct loader *loader;
    uint32_t step;  // steps done
    double spent_s; // by earlier runs of this training
    double start_s; // of this run
    uint32_t start_step;
    double checked_s, line_s;
    float last_loss;
    double mean_loss;
    struct curve curve;
    struct figures figures;
    char *message;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int say(struct trainer *t, int r, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int say(struct trainer *t, int r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(t->message, TRAINER_MESSAGE_SIZE, format, args);
    va_end(args);
    return r;
}

float trainer_rate(float peak, double share, double warm_up)
{
    if (share < warm_up)
        return peak * (float)(share / warm_up);
    double x = fmin((share - warm_up) / (1 - warm_up), 1);
    return peak * (float)(0.01 + 0.99 * 0.5 * (1 + cos(3.14159265358979 * x)));
}

static int build_training(struct trainer *t)
{
    const struct task *task = t->set->task;
    int r = net_init(&t->net, NPU_GRAPH_TRAIN | (t->set->mixed ? NPU_GRAPH_MIXED : 0));
    if (r < 0)
        return r;
    npu_graph *g = t->net.graph;
    for (int i = 0; i < task->input_count; i++) {
        const struct task_input *in = &task->inputs[i];
        int64_t dim[4] = {t->batch};
        t->sizes[i] = 1;
        for (int k = 0; k < in->rank; k++) {
            dim[k + 1] = in->dim[k];
            t->sizes[i] *= (size_t)in->dim[k];
        }
        t->inputs[i] = npu_input(g, in->name, NPU_F32, in->rank + 1, dim);
    }
    t->loss = task->build(&t->net, t->inputs, t->batch);
    npu_output(g, "loss", t->loss);
    const struct npu_adamw_opts adamw = {
        .beta1 = 0.9f, .beta2 = 0.99f, .eps = 1e-8f, .weight_decay = task->weight_decay, .clip_norm = 2};
    if ((r = npu_graph_backward(g, t->loss)) >= 0)
        r = npu_graph_adamw(g, &adamw);
    const struct npu_plan_opts plan = {.profile = t->set->explain != NULL};
    if (r >= 0)
        r = npu_plan_new(t->set->data.dev, g, &plan, &t->plan);
    if (r < 0)
        return say(t, r, "the training graph: %.300s (%s)", npu_graph_error(g), strerror(-r));
    t->lr = npu_graph_find(g, "lr");
    t->step_input = npu_graph_find(g, "step");
    return 0;
}

static int build_deployed(struct trainer *t)
{
    int r = net_init(&t->deployed, 0);
    if (r < 0)
        return r;
    t->set->task->build_deployed(&t->deployed);
    r = npu_plan_new(t->set->data.dev, t->deployed.graph, NULL, &t->deploy_plan);
    return r < 0 ? say(t, r, "the deployed graph: %.300s (%s)", npu_graph_error(t->deployed.graph), strerror(-r)) : 0;
}

// Takes the weights of a checkpoint of this network, whatever it was trained with. What it lacks (outputs that only
// training has, say) keeps its starting value and is named.
static int start_weights(struct trainer *t, const char *path)
{
    struct tensors *file = NULL;
    int r = tensors_open(path, &file), taken = 0;
    if (r < 0)
        return say(t, r, "%.300s: %s", path, strerror(-r));
    for (int i = 0; r >= 0 && i < t->net.tensor_count; i++) {
        const struct net_tensor *x = &t->net.tensors[i];
        float *values = NULL;
        r = tensors_floats(file, x->name, x->elements, &values);
        if (r == -ENOENT) {
            if (t->set->progress)
                fprintf(t->set->progress, "gaze-train: %s lacks %s, which begins anew\n", path, x->name);
            r = 0;
        } else if (r < 0) {
            r = say(t, r, "%.300s: tensor %.60s does not fit this network", path, x->name);
        } else {
            r = npu_plan_write(t->plan, x->name, values, x->elements * sizeof(*values));
            taken++;
        }
        free(values);
    }
    tensors_close(file);
    return r >= 0 && !taken ? say(t, -EINVAL, "%.300s holds nothing of this network", path) : r;
}

static int start_values(struct trainer *t)
{
    int r = npu_plan_init(t->plan, t->set->seed);
    if (r >= 0 && t->set->task->prepare)
        r = t->set->task->prepare(t->plan);
    if (r >= 0 && !t->set->resume && t->set->start)
        return start_weights(t, t->set->start);
    if (r >= 0 && t->set->resume)
        r = npu_plan_load(t->plan, t->set->resume, false);
    if (r < 0)
        return say(t, r, "the starting weights: %.400s (%s)", npu_plan_error(t->plan), strerror(-r));
    return 0;
}

static float peak_rate(const struct trainer *t)
{
    return t->set->lr > 0 ? t->set->lr : t->set->task->lr;
}

static void schedule_text(const struct trainer *t, char out[SCHEDULE_SIZE])
{
    snprintf(out, SCHEDULE_SIZE, "%" PRIu32 " steps, %g minutes, learning rate %g%s", t->set->steps, t->set->minutes,
             (double)peak_rate(t), t->set->mixed ? ", mixed precision" : "");
}

// How far a checkpoint had come. Its seed must be ours, or the batches would differ, and so must its schedule, or the
// rates would.
static int read_progress(struct trainer *t)
{
    char ours[SCHEDULE_SIZE];
    schedule_text(t, ours);
    struct tensors *file = NULL;
    int r = tensors_open(t->set->resume, &file);
    if (r < 0)
        return say(t, r, "%.300s: %s", t->set->resume, strerror(-r));
    const char *step = tensors_note(file, "step"), *seed = tensors_note(file, "seed");
    const char *spent = tensors_note(file, "spent_s"), *batch = tensors_note(file, "batch");
    const char *schedule = tensors_note(file, "schedule");
    if (!step || !seed || !spent || !batch || !schedule)
        r = say(t, -EBADMSG, "%.300s is no checkpoint: its metadata lacks step, seed, batch, spent_s or schedule",
                t->set->resume);
    else if (strtoull(seed, NULL, 10) != t->set->seed || atoi(batch) != t->batch)
        r = say(t, -EINVAL, "%.300s was made with seed %.20s and batch %.10s: give the same", t->set->resume, seed,
                batch);
    else if (strcmp(schedule, ours))
        r = say(t, -EINVAL, "%.300s was made for %.80s, not %s: give the same, or --start for a new schedule",
                t->set->resume, schedule, ours);
    else {
        t->step = (uint32_t)strtoul(step, NULL, 10);
        t->spent_s = strtod(spent, NULL);
    }
    tensors_close(file);
    return r;
}

static double spent_s(const struct trainer *t)
{
    return t->spent_s + now_s() - t->start_s;
}

static int save_checkpoint(struct trainer *t)
{
    char step[16], seed[24], spent[24], batch[16], schedule[SCHEDULE_SIZE];
    schedule_text(t, schedule);
    snprintf(step, sizeof(step), "%" PRIu32, t->step);
    snprintf(seed, sizeof(seed), "%" PRIu64, t->set->seed);
    snprintf(spent, sizeof(spent), "%.1f", spent_s(t));
    snprintf(batch, sizeof(batch), "%d", t->batch);
    const char *const notes[] = {"model", t->set->task->name, "step",   step, "seed", seed, "spent_s", spent, "batch",
                                 batch,   "schedule",         schedule, NULL};
    t->checked_s = now_s();
    if (!t->set->checkpoint)
        return 0;
    int r = npu_plan_save(t->plan, t->set->checkpoint, NPU_SAVE_PARAMS | NPU_SAVE_MOMENTS, notes);
    return r < 0 ? say(t, r, "%.300s can't be written: %s", t->set->checkpoint, strerror(-r)) : 0;
}

static int write_deployed(struct trainer *t)
{
    char step[16];
    snprintf(step, sizeof(step), "%" PRIu32, t->step);
    const char *const notes[] = {"model",   t->set->task->name,          "step", step,
                                 "made_by", "gaze-train " GAZED_VERSION, NULL};
    int r = npu_plan_save(t->deploy_plan, t->set->out, NPU_SAVE_PARAMS, notes);
    return r < 0 ? say(t, r, "%.300s can't be written: %s", t->set->out, strerror(-r)) : 0;
}

static int save_deployed(struct trainer *t)
{
    int r = net_export(&t->net, t->plan, &t->deployed, t->deploy_plan);
    return r < 0 ? say(t, r, "the weights can't be exported: %s", strerror(-r)) : write_deployed(t);
}

static int calibrate(struct trainer *t)
{
    int r = t->set->task->calibrate(t->data, t->set->data.dev, t->set->out, t->deploy_plan, t->message);
    return r < 0 ? r : write_deployed(t);
}

// final: the schedule is done.
static int judge(struct trainer *t, bool final)
{
    int r = save_deployed(t);
    if (r >= 0 && final && t->set->calibrate && t->set->task->calibrate)
        r = calibrate(t);
    if (r < 0)
        return r;
    memset(&t->figures, 0, sizeof(t->figures));
    r = t->set->task->judge(t->data, t->set->data.dev, t->set->out, &t->figures, t->message);
    if (r < 0)
        return r;
    curve_add_figures(&t->curve, t->step, &t->figures);
    if (t->set->progress) {
        fprintf(t->set->progress, "judged at step %" PRIu32 ":\n", t->step);
        for (int i = 0; i < t->figures.count; i++)
            fprintf(t->set->progress, "    %-34s %9.3f\n", t->figures.list[i].name, t->figures.list[i].value);
        fflush(t->set->progress);
    }
    if (t->set->curve)
        r = curve_write_svg(&t->curve, t->set->task->name, t->set->curve);
    return r < 0 ? say(t, r, "%.300s can't be written: %s", t->set->curve, strerror(-r)) : 0;
}

// How much of the schedule is done, by steps or by time, whichever is further.
static double schedule_share(const struct trainer *t)
{
    double share = t->set->steps ? (double)t->step / t->set->steps : 0;
    if (t->set->minutes > 0)
        share = fmax(share, spent_s(t) / (60 * t->set->minutes));
    return share;
}

static float rate_now(const struct trainer *t)
{
    double warm_up = t->set->steps ? fmin(0.1, (double)WARM_UP_STEPS / t->set->steps) : 0.04;
    return trainer_rate(peak_rate(t), schedule_share(t) + 1e-6, warm_up);
}

static int one_step(struct trainer *t)
{
    const float *in[LOADER_MAX_INPUTS];
    float lr = rate_now(t), step = (float)(t->step + 1);
    int r = loader_next(t->loader, in);
    if (r < 0)
        return say(t, r, "the loader: %s", strerror(-r));
    for (int i = 0; r >= 0 && i < t->set->task->input_count; i++)
        r = npu_plan_write_val(t->plan, t->inputs[i], in[i], t->sizes[i] * (size_t)t->batch * sizeof(float));
    if (r >= 0)
        r = npu_plan_write_val(t->plan, t->lr, &lr, sizeof(lr));
    if (r >= 0)
        r = npu_plan_write_val(t->plan, t->step_input, &step, sizeof(step));
    if (r >= 0)
        r = npu_plan_run(t->plan);
    if (r >= 0)
        r = npu_plan_read_val(t->plan, t->loss, &t->last_loss, sizeof(t->last_loss));
    if (r < 0)
        return say(t, r, "step %" PRIu32 ": %.300s (%s)", t->step + 1, npu_plan_error(t->plan), strerror(-r));
    if (!isfinite(t->last_loss))
        return say(t, -EDOM, "the loss is not finite at step %" PRIu32 ": try a smaller --lr", t->step + 1);
    t->step++;
    double weight = fmax(0.01, 1.0 / (t->step - t->start_step));
    t->mean_loss += weight * ((double)t->last_loss - t->mean_loss);
    curve_add_loss(&t->curve, t->step, t->last_loss);
    return 0;
}

static double images_s(const struct trainer *t)
{
    return (t->step - t->start_step) * (double)t->batch / (now_s() - t->start_s + 1e-9);
}

static void progress_line(struct trainer *t)
{
    if (!t->set->progress || now_s() - t->line_s < LINE_EVERY_S)
        return;
    t->line_s = now_s();
    double share = schedule_share(t), begun = t->set->steps ? (double)t->start_step / t->set->steps : 0;
    double left = (1 - share) * (now_s() - t->start_s) / fmax(share - begun, 1e-6);
    if (t->set->minutes > 0)
        left = fmin(60 * t->set->minutes - spent_s(t), t->set->steps ? left : INFINITY);
    fprintf(t->set->progress,
            "%s step %" PRIu32
            "  %4.1f %%  loss %.4f  lr %.2e  %.1f images/s  (waited %.0f %% for data)  %d:%02d left\n",
            t->set->task->name, t->step, 100 * share, t->mean_loss, (double)rate_now(t), images_s(t),
            100 * loader_waited_s(t->loader) / (now_s() - t->start_s), (int)(left / 60), (int)left % 60);
    fflush(t->set->progress);
}

static bool stopped(const struct trainer *t)
{
    return (t->set->stop && *t->set->stop) || (t->set->stop_after && t->step >= t->set->stop_after);
}

// Steps until the schedule's end, a stop or a failure.
static int loop(struct trainer *t)
{
    uint32_t judged = t->step;
    while (schedule_share(t) < 1 && !stopped(t)) {
        int r = one_step(t);
        if (r < 0)
            return r;
        progress_line(t);
        if (t->set->checkpoint_s > 0 && now_s() - t->checked_s > t->set->checkpoint_s && (r = save_checkpoint(t)) < 0)
            return r;
        if (t->set->judge_every && t->step - judged >= t->set->judge_every) {
            judged = t->step;
            if ((r = judge(t, false)) < 0)
                return r;
        }
    }
    return schedule_share(t) < 1;
}

static int prepare(struct trainer *t)
{
    const struct task *task = t->set->task;
    char why[FACE_SET_MESSAGE_SIZE] = "";
    t->batch = t->set->batch > 0 ? t->set->batch : task->batch;
    int r = task->open(&t->set->data, &t->data, why);
    if (r < 0)
        return say(t, r, "the data: %.400s (%s)", why, strerror(-r));
    if ((r = build_training(t)) < 0 || (r = build_deployed(t)) < 0 || (r = start_values(t)) < 0)
        return r;
    if (t->set->resume && (r = read_progress(t)) < 0)
        return r;
    const struct loader_spec spec = {.fill = task->fill,
                                     .user = t->data,
                                     .sizes = t->sizes,
                                     .input_count = task->input_count,
                                     .batch = t->batch,
                                     .threads = t->set->threads > 0 ? t->set->threads : 1,
                                     .seed = t->set->seed,
                                     .first_step = t->step};
    r = loader_start(&spec, &t->loader);
    t->start_step = t->step;
    t->start_s = t->checked_s = t->line_s = now_s();
    return r < 0 ? say(t, r, "the loader: %s", strerror(-r)) : 0;
}

static int explain(struct trainer *t)
{
    FILE *f = fopen(t->set->explain, "we");
    int r = f ? npu_plan_explain(t->plan, f, false) : -errno;
    if (f && fclose(f) < 0 && r >= 0)
        r = -errno;
    return r < 0 ? say(t, r, "%.300s can't be written: %s", t->set->explain, strerror(-r)) : 0;
}

static void tear_down(struct trainer *t)
{
    loader_stop(t->loader);
    npu_plan_free(t->plan);
    npu_plan_free(t->deploy_plan);
    net_clear(&t->net);
    net_clear(&t->deployed);
    if (t->data)
        t->set->task->close(t->data);
    free(t);
}

int trainer_run(const struct trainer_settings *settings, struct trainer_result *ret_result, char *message)
{
    struct trainer *t = calloc(1, sizeof(*t));
    if (!t)
        return -ENOMEM;
    t->set = settings;
    t->message = message;
    *message = 0;
    int r = prepare(t), done = 0;
    if (r >= 0)
        r = done = loop(t);
    double rate = r >= 0 ? images_s(t) : 0;
    if (r >= 0)
        r = save_checkpoint(t);
    if (r >= 0 && settings->explain)
        r = explain(t);
    if (r >= 0)
        r = done ? save_deployed(t) : judge(t, true);
    if (r >= 0)
        *ret_result =
            (struct trainer_result){.step = t->step, .loss = t->last_loss, .images_s = rate, .figures = t->figures};
    tear_down(t);
    return r < 0 ? r : done;
}
