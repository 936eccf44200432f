// gaze-render: writes pictures of faces with exact labels, for training.
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "train/render/render.h"
#include "train/render/sheet.h"
#include "vision/jpeg.h"
#include "vision/png.h"

#define EXIT_USAGE     2
#define COUNT_MAX      10000000
#define JOBS_MAX       64
#define PER_IDENTITY   8
#define NAME_DIGITS    6
#define JSONL_SUFFIX   "labels.jsonl"
#define LINE_MAX_BYTES (64 << 10)

struct options {
    const char *facekit, *out, *sheet, *portraits;
    long long count, start, identities, per_identity, jobs, size;
    uint64_t seed;
    bool mesh, marks;
    enum render_mode mode;
    struct scene_limits limits;
};

// A set being written: workers take runs of one identity, lines leave in order.
struct run {
    const struct options *options;
    struct render_setup setup;
    struct sheet sheet;
    FILE *labels;
    atomic_llong next; // run number
    atomic_llong done;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    long long written; // lines
    int error;
    char error_at[4200];
};

static const char usage_text[] =
    "usage: gaze-render --facekit DIR --out DIR --count N --seed S [options]\n"
    "Renders faces with exact gaze, head pose, landmarks and action units into DIR/NNNNNN.jpg and DIR/labels.jsonl.\n"
    "  --facekit DIR      folder with facekit.safetensors and facekit.json\n"
    "  --out DIR          where to write (made if missing)\n"
    "  --count N          pictures\n"
    "  --seed S           the same seed gives the same set, whatever --jobs is\n"
    "  --start I          index of the first picture (default 0)\n"
    "  --size PX          side of the pictures, 64 to 1024 (default 256)\n"
    "  --jobs N           threads (default: the processors)\n"
    "  --mode MODE        plain: the model with painted skin; photo: photographs with new eyes; mix: half and half\n"
    "  --portraits DIR    folder with portraits.jsonl, .safetensors, portraits/ and the same of portraits_hd: "
    "backdrops,\n"
    "                     and the faces of photo and mix; the held-out fifth of the ids is never used\n"
    "  --identities N     at most N different people (default: no limit)\n"
    "  --per-identity N   pictures in a row of one person (default 8)\n"
    "  --max-yaw DEG      largest turn of the head against the line to the camera (default 60)\n"
    "  --max-pitch DEG    the same up and down (default 35)\n"
    "  --max-roll DEG     the same to the shoulder (default 20)\n"
    "  --mesh             also write the 468 mesh points (mp_landmarks)\n"
    "  --sheet FILE.png   a contact sheet of the first 48 pictures\n"
    "  --marks            draw boxes, landmarks and gaze into the contact sheet\n"
    "  --help, --version\n";

static int parse_number(const char *option, const char *text, double low, double high, double *ret_value)
{
    char *end;
    double value = strtod(text, &end);

    if (*text == '\0' || *end != '\0' || !(value >= low && value <= high)) {
        fprintf(stderr, "gaze-render: --%s %s: not a number from %.10g to %.10g\n", option, text, low, high);
        return -EINVAL;
    }
    *ret_value = value;
    return 0;
}

static int parse_whole(const char *option, const char *text, long long low, long long high, long long *ret_value)
{
    char *end;
    long long value;

    errno = 0;
    value = strtoll(text, &end, 10);
    if (*text == '\0' || *end != '\0' || errno || value < low || value > high) {
        fprintf(stderr, "gaze-render: --%s %s: not a whole number from %lld to %lld\n", option, text, low, high);
        return -EINVAL;
    }
    *ret_value = value;
    return 0;
}

static int parse_mode(const char *text, enum render_mode *ret_mode)
{
    static const char *const names[] = {"plain", "photo", "mix"};
    for (int i = 0; i < 3; i++) {
        if (!strcmp(text, names[i])) {
            *ret_mode = (enum render_mode)i;
            return 0;
        }
    }
    fprintf(stderr, "gaze-render: --mode %s: not plain, photo or mix\n", text);
    return -EINVAL;
}

enum option_key {
    KEY_FACEKIT = 256,
    KEY_OUT,
    KEY_COUNT,
    KEY_SEED,
    KEY_START,
    KEY_SIZE,
    KEY_JOBS,
    KEY_MODE,
    KEY_PORTRAITS,
    KEY_IDENTITIES,
    KEY_PER_IDENTITY,
    KEY_MAX_YAW,
    KEY_MAX_PITCH,
    KEY_MAX_ROLL,
    KEY_MESH,
    KEY_SHEET,
    KEY_MARKS,
    KEY_HELP,
    KEY_VERSION,
};

static const struct option long_options[] = {
    {"facekit", 1, NULL, KEY_FACEKIT},
    {"out", 1, NULL, KEY_OUT},
    {"count", 1, NULL, KEY_COUNT},
    {"seed", 1, NULL, KEY_SEED},
    {"start", 1, NULL, KEY_START},
    {"size", 1, NULL, KEY_SIZE},
    {"jobs", 1, NULL, KEY_JOBS},
    {"mode", 1, NULL, KEY_MODE},
    {"portraits", 1, NULL, KEY_PORTRAITS},
    {"identities", 1, NULL, KEY_IDENTITIES},
    {"per-identity", 1, NULL, KEY_PER_IDENTITY},
    {"max-yaw", 1, NULL, KEY_MAX_YAW},
    {"max-pitch", 1, NULL, KEY_MAX_PITCH},
    {"max-roll", 1, NULL, KEY_MAX_ROLL},
    {"mesh", 0, NULL, KEY_MESH},
    {"sheet", 1, NULL, KEY_SHEET},
    {"marks", 0, NULL, KEY_MARKS},
    {"help", 0, NULL, KEY_HELP},
    {"version", 0, NULL, KEY_VERSION},
    {NULL, 0, NULL, 0},
};

static int parse_value(struct options *o, int key, const char *text)
{
    long long seed;
    int r = 0;

    switch (key) {
    case KEY_FACEKIT:
        o->facekit = text;
        return 0;
    case KEY_OUT:
        o->out = text;
        return 0;
    case KEY_SHEET:
        o->sheet = text;
        return 0;
    case KEY_PORTRAITS:
        o->portraits = text;
        return 0;
    case KEY_MESH:
        o->mesh = true;
        return 0;
    case KEY_MARKS:
        o->marks = true;
        return 0;
    case KEY_MODE:
        return parse_mode(text, &o->mode);
    case KEY_COUNT:
        return parse_whole("count", text, 1, COUNT_MAX, &o->count);
    case KEY_START:
        return parse_whole("start", text, 0, INT64_MAX / 2, &o->start);
    case KEY_SIZE:
        return parse_whole("size", text, RENDER_SIDE_MIN, RENDER_SIDE_MAX, &o->size);
    case KEY_JOBS:
        return parse_whole("jobs", text, 1, JOBS_MAX, &o->jobs);
    case KEY_IDENTITIES:
        return parse_whole("identities", text, 1, UINT32_MAX, &o->identities);
    case KEY_PER_IDENTITY:
        return parse_whole("per-identity", text, 1, 100000, &o->per_identity);
    case KEY_MAX_YAW:
        return parse_number("max-yaw", text, 0, 75, &o->limits.max_yaw_deg);
    case KEY_MAX_PITCH:
        return parse_number("max-pitch", text, 0, 60, &o->limits.max_pitch_deg);
    case KEY_MAX_ROLL:
        return parse_number("max-roll", text, 0, 60, &o->limits.max_roll_deg);
    case KEY_SEED:
        r = parse_whole("seed", text, 0, INT64_MAX, &seed);
        if (r == 0)
            o->seed = (uint64_t)seed;
        return r;
    default:
        return -EINVAL;
    }
}

// 0; 1 when the program is done (help); -EINVAL after a message.
static int parse_options(int argc, char **argv, struct options *o)
{
    int key, r;

    *o = (struct options){.size = 256,
                          .identities = UINT32_MAX,
                          .per_identity = PER_IDENTITY,
                          .count = -1,
                          .jobs = sysconf(_SC_NPROCESSORS_ONLN),
                          .limits = {60, 35, 20}};
    o->jobs = o->jobs < 1 ? 1 : o->jobs > JOBS_MAX ? JOBS_MAX : o->jobs;
    while ((key = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (key == KEY_HELP) {
            fputs(usage_text, stdout);
            return 1;
        }
        if (key == KEY_VERSION) {
            puts("gaze-render " GAZED_VERSION);
            return 1;
        }
        r = key == '?' ? -EINVAL : parse_value(o, key, optarg);
        if (r < 0)
            return r;
    }
    if (optind < argc || !o->facekit || !o->out || o->count < 0) {
        fputs(optind < argc ? "gaze-render: unexpected argument\n"
                            : "gaze-render: --facekit, --out and --count are needed\n",
              stderr);
        return -EINVAL;
    }
    if (o->mode != RENDER_PLAIN && !o->portraits) {
        fputs("gaze-render: --mode photo and mix need --portraits\n", stderr);
        return -EINVAL;
    }
    return 0;
}

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
    const struct options *o = run->options;
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
    pthread_t thread[JOBS_MAX];
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

static int render_set(const struct options *o, const struct head *head, const struct skin_atlas *atlas,
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

int main(int argc, char **argv)
{
    struct options o;
    struct facekit *kit = NULL;
    struct head head = {0};
    struct skin_atlas atlas = {0};
    struct photo_set photos = {0};
    int r = parse_options(argc, argv, &o);

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
