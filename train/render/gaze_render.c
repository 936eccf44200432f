// gaze-render: writes pictures of faces with exact labels, for training.
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "libnpu/tool/tool_end.h"
#include "train/render/render.h"
#include "train/render/render_options.h"
#include "train/render/sheet.h"
#include "vision/jpeg.h"
#include "vision/png.h"

#define EXIT_USAGE   2
#define NAME_DIGITS  6
#define JSONL_SUFFIX "labels.jsonl"

// A set being written: workers take runs of one identity, lines leave in order.
struct run {
    const struct render_options *options;
    struct render_setup setup;
    struct sheet sheet;
    FILE *labels;
    atomic_llong next; // run number
    atomic_llong done;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    long long written; // lines
    atomic_int error;
    char error_at[4200];
};

static void fail(struct run *run, int error, const char *where)
{
    pthread_mutex_lock(&run->lock);
    if (!run->error) {
        run->error = error;
        snprintf(run->error_at, sizeof(run->error_at), "%s", where);
    }
    pthread_cond_broadcast(&run->moved);
    pthread_mutex_unlock(&run->lock);
}

static int write_picture(const struct run *run, struct jpeg_decoder *decoder, struct image *rgb, const struct labels *l,
                         char path[4200])
{
    int r = 0;

    snprintf(path, 4200, "%s/%s", run->options->out, l->file);
    if (l->spoil.first_quality) { // a picture that was compressed before
        struct jpeg_frame frame;
        uint8_t *data;
        size_t size;
        r = jpeg_encode(rgb, l->spoil.first_quality, &data, &size);
        if (r < 0)
            return r;
        r = jpeg_decode(decoder, data, size, 3, 0, 0, &frame, NULL);
        r = r < 0 ? r : image_copy(&frame.image, rgb);
        free(data);
    }
    return r < 0 ? r : jpeg_write(rgb, l->spoil.quality, path);
}

// Waits until it is this picture's turn, then writes its line and its cell of the sheet.
static int write_labels(struct run *run, const struct image *rgb, const struct labels *l)
{
    long long at = (long long)l->index - run->options->start;
    int r = 0;

    pthread_mutex_lock(&run->lock);
    while (run->written != at && !run->error)
        pthread_cond_wait(&run->moved, &run->lock);
    if (!run->error) {
        r = labels_write(run->labels, l, run->options->mesh);
        if (run->options->sheet && at < SHEET_CELLS)
            sheet_put(&run->sheet, (int)at, rgb, run->options->marks ? l : NULL);
        run->written++;
        pthread_cond_broadcast(&run->moved);
    }
    pthread_mutex_unlock(&run->lock);
    return r;
}

static void draw_one(struct run *run, struct renderer *renderer, struct jpeg_decoder *decoder, struct image *rgb,
                     uint64_t index)
{
    struct labels l;
    char path[4200] = "picture";
    int r = renderer_draw(renderer, index, rgb, &l);

    if (r == 0) {
        snprintf(l.file, sizeof(l.file), "%0*llu.jpg", NAME_DIGITS, (unsigned long long)index);
        r = write_picture(run, decoder, rgb, &l, path);
    }
    if (r == 0) {
        snprintf(path, sizeof(path), "%s/" JSONL_SUFFIX, run->options->out);
        r = write_labels(run, rgb, &l);
    }
    if (r < 0)
        fail(run, r, path);
    atomic_fetch_add(&run->done, 1);
}

static void *work(void *argument)
{
    struct run *run = argument;
    const struct render_options *o = run->options;
    struct renderer *renderer = NULL;
    struct jpeg_decoder *decoder = NULL;
    struct image rgb = {0};
    int r = renderer_new(&run->setup, &renderer);

    r = r < 0 ? r : jpeg_decoder_new(&decoder);
    r = r < 0 ? r : image_alloc((int)o->size, (int)o->size, 3, &rgb);
    if (r < 0)
        fail(run, r, "a worker's buffers");
    while (!run->error) {
        // a person's pictures go to one worker
        long long first = o->start / o->per_identity + atomic_fetch_add(&run->next, 1), end;
        first *= o->per_identity;
        end = first + o->per_identity;
        first = first < o->start ? o->start : first;
        end = end > o->start + o->count ? o->start + o->count : end;
        if (first >= end)
            break;
        for (long long i = first; i < end && !run->error; i++)
            draw_one(run, renderer, decoder, &rgb, (uint64_t)i);
    }
    image_free(&rgb);
    jpeg_decoder_free(decoder);
    renderer_free(renderer);
    return NULL;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void report(const struct run *run, double start_s, bool last)
{
    long long done = atomic_load(&run->done);
    double took = now_s() - start_s, rate = (double)done / (took > 0 ? took : 1);

    fprintf(stderr, "%s%lld/%lld pictures, %.1f/s, %.0f s left%s", isatty(2) ? "\r" : "", done, run->options->count,
            rate, rate > 0 ? (double)(run->options->count - done) / rate : 0, isatty(2) && !last ? "   " : "\n");
}

static int run_workers(struct run *run)
{
    pthread_t thread[RENDER_JOBS_MAX];
    int threads = 0;
    double start_s = now_s(), said_s = start_s;

    for (; threads < run->options->jobs; threads++)
        if (pthread_create(&thread[threads], NULL, work, run) != 0)
            break;
    if (threads == 0)
        return -EAGAIN;
    while (atomic_load(&run->done) < run->options->count && !run->error) {
        usleep(50000);
        if (now_s() - said_s > (isatty(2) ? 1 : 10)) {
            report(run, start_s, false);
            said_s = now_s();
        }
    }
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    report(run, start_s, true);
    return run->error;
}

static int render_set(const struct render_options *o, const struct head *head, const struct skin_atlas *atlas,
                      const struct photo_set *photos)
{
    struct run run = {.options = o, .lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};
    char path[4200];
    int r = 0;

    run.setup = (struct render_setup){.head = head,
                                      .atlas = atlas,
                                      .photos = photos,
                                      .seed = o->seed,
                                      .side = (int)o->size,
                                      .mode = o->mode,
                                      .pictures_per_identity = (uint32_t)o->per_identity,
                                      .identities = (uint32_t)o->identities,
                                      .limits = o->limits};
    if (mkdir(o->out, 0777) < 0 && errno != EEXIST) {
        fprintf(stderr, "gaze-render: %s: %s\n", o->out, strerror(errno));
        return -errno;
    }
    snprintf(path, sizeof(path), "%s/" JSONL_SUFFIX, o->out);
    run.labels = fopen(path, "we");
    if (!run.labels) {
        r = -errno;
        fprintf(stderr, "gaze-render: %s: %s\n", path, strerror(-r));
        return r;
    }
    if (o->sheet)
        r = sheet_init(&run.sheet, (int)o->size);
    r = r < 0 ? r : run_workers(&run);
    if (fclose(run.labels) != 0 && r == 0) {
        r = -errno;
        snprintf(run.error_at, sizeof(run.error_at), "%s", path);
    }
    if (r == 0 && o->sheet) {
        r = png_write(&run.sheet.image, o->sheet);
        snprintf(run.error_at, sizeof(run.error_at), "%s", o->sheet);
    }
    sheet_free(&run.sheet);
    if (r < 0)
        fprintf(stderr, "gaze-render: %s: %s\n", run.error_at, strerror(-r));
    return r;
}

static int program(int argc, char **argv)
{
    struct render_options o;
    struct facekit *kit = NULL;
    struct head head = {0};
    struct skin_atlas atlas = {0};
    struct photo_set photos = {0};
    int r = render_options_parse(argc, argv, &o);

    if (r != 0) {
        if (r < 0)
            fputs("Try gaze-render --help.\n", stderr);
        return r < 0 ? EXIT_USAGE : 0;
    }
    r = facekit_load(o.facekit, &kit);
    if (r < 0)
        fprintf(stderr, "gaze-render: %s: can't load facekit.json and facekit.safetensors: %s\n", o.facekit,
                strerror(-r));
    if (r == 0) {
        r = head_init(&head, kit);
        r = r < 0 ? r : skin_atlas_init(&atlas, &head);
        if (r < 0)
            fprintf(stderr, "gaze-render: %s\n", strerror(-r));
    }
    if (r == 0 && o.portraits) {
        r = photo_set_load(o.portraits, &head, &photos);
        if (r < 0)
            fprintf(stderr, "gaze-render: %s: can't load the portraits: %s\n", o.portraits, strerror(-r));
    }
    r = r < 0 ? r : render_set(&o, &head, &atlas, o.portraits ? &photos : NULL);
    photo_set_free(&photos);
    skin_atlas_free(&atlas);
    head_free(&head);
    facekit_free(kit);
    return r < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    return tool_end("gaze-render", program(argc, argv));
}
