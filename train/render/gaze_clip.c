// gaze-clip: renders a clip of one person before a webcam, with the truth of every frame.
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "libnpu/tool/tool_end.h"
#include "train/render/clip_stage.h"
#include "train/render/number_options.h"
#include "vision/jpeg.h"

#define EXIT_USAGE 2
#define FRAMES_MAX 1000000

struct options {
    const char *facekit, *out, *truth;
    long long frames, quality, faces, seed;
    double fps, hfov_deg;
    int width, height;
};

static const char usage_text[] =
    "usage: gaze-clip --facekit DIR --out FILE.mjpeg --truth FILE.jsonl [options]\n"
    "Renders one person who moves before a webcam, as concatenated JPEGs, and one line of truth a frame.\n"
    "  --facekit DIR      folder with facekit.safetensors and facekit.json\n"
    "  --out FILE.mjpeg   the clip\n"
    "  --truth FILE.jsonl gaze, head, landmarks and blinks of every frame\n"
    "  --frames N         frames (default 300)\n"
    "  --fps HZ           frames a second, 1 to 240 (default 30)\n"
    "  --size WxH         pixels, 64 to 1920 each (default 1280x720)\n"
    "  --seed S           the same seed gives the same clip (default 1)\n"
    "  --hfov DEG         the camera's horizontal field of view, 20 to 120 (default 60)\n"
    "  --quality Q        of the JPEGs, 1 to 100 (default 80)\n"
    "  --faces N          people in the picture; only 1 can be drawn\n"
    "  --help, --version\n";

static int parse_size(const char *text, struct options *o)
{
    int width, height, used = 0;

    if (sscanf(text, "%dx%d%n", &width, &height, &used) != 2 || text[used] != '\0' || width < CLIP_SIDE_MIN ||
        height < CLIP_SIDE_MIN || width > CLIP_SIDE_MAX || height > CLIP_SIDE_MAX) {
        fprintf(stderr, "gaze-clip: --size %s: not WIDTHxHEIGHT of %d to %d pixels\n", text, CLIP_SIDE_MIN,
                CLIP_SIDE_MAX);
        return -EINVAL;
    }
    o->width = width;
    o->height = height;
    return 0;
}

static const struct option long_options[] = {
    {"facekit", 1, NULL, 'k'}, {"out", 1, NULL, 'o'},   {"truth", 1, NULL, 't'}, {"frames", 1, NULL, 'n'},
    {"fps", 1, NULL, 'f'},     {"size", 1, NULL, 's'},  {"seed", 1, NULL, 'r'},  {"hfov", 1, NULL, 'v'},
    {"quality", 1, NULL, 'q'}, {"faces", 1, NULL, 'p'}, {"help", 0, NULL, 'h'},  {"version", 0, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

static int parse_value(struct options *o, int key, const char *text)
{
    switch (key) {
    case 'k':
        o->facekit = text;
        return 0;
    case 'o':
        o->out = text;
        return 0;
    case 't':
        o->truth = text;
        return 0;
    case 'n':
        return whole_number_option("frames", text, 1, FRAMES_MAX, &o->frames);
    case 'f':
        return number_option("fps", text, 1, 240, &o->fps);
    case 's':
        return parse_size(text, o);
    case 'r':
        return whole_number_option("seed", text, 0, INT64_MAX, &o->seed);
    case 'v':
        return number_option("hfov", text, 20, 120, &o->hfov_deg);
    case 'q':
        return whole_number_option("quality", text, 1, 100, &o->quality);
    case 'p':
        return whole_number_option("faces", text, 1, 1, &o->faces);
    default:
        return -EINVAL;
    }
}

// 0; 1 when the program is done (help); -EINVAL after a message.
static int parse_options(int argc, char **argv, struct options *o)
{
    int key, r;

    *o = (struct options){
        .frames = 300, .quality = 80, .faces = 1, .seed = 1, .fps = 30, .hfov_deg = 60, .width = 1280, .height = 720};
    while ((key = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (key == 'h') {
            fputs(usage_text, stdout);
            return 1;
        }
        if (key == 'V') {
            puts("gaze-clip " GAZED_VERSION);
            return 1;
        }
        r = parse_value(o, key, optarg);
        if (r < 0)
            return r;
    }
    if (optind < argc || !o->facekit || !o->out || !o->truth) {
        fputs(optind < argc ? "gaze-clip: unexpected argument\n"
                            : "gaze-clip: --facekit, --out and --truth are needed\n",
              stderr);
        return -EINVAL;
    }
    return 0;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void report(long long done, long long frames, double start_s, unsigned long long bytes)
{
    double took = now_s() - start_s, rate = (double)done / (took > 0 ? took : 1);

    fprintf(stderr, "%s%lld/%lld frames, %.1f/s, %.0f s left, %.1f MB%s", isatty(2) ? "\r" : "", done, frames, rate,
            rate > 0 ? (double)(frames - done) / rate : 0, 1e-6 * (double)bytes,
            isatty(2) && done < frames ? "   " : "\n");
}

// Appends a frame and its line. *path says where when it fails.
static int write_frame(const struct options *o, FILE *clip, FILE *truth, const struct image *rgb,
                       const struct clip_moment *m, const struct labels *l, size_t *ret_bytes, const char **path)
{
    uint8_t *data;
    size_t size;
    int r;

    *path = o->out;
    r = jpeg_encode(rgb, (int)o->quality, &data, &size);
    if (r < 0)
        return r;
    errno = 0;
    r = fwrite(data, 1, size, clip) == size ? 0 : errno ? -errno : -EIO;
    free(data);
    if (r < 0)
        return r;
    *path = o->truth;
    fprintf(truth, "{\"frame\":%llu,\"time_s\":%.6f,", (unsigned long long)l->index, m->time_s);
    *ret_bytes = size;
    return labels_write_rest(truth, l, false);
}

static int write_frames(const struct options *o, struct clip_stage *stage, const struct clip_motion *motion, FILE *clip,
                        FILE *truth, const char **path)
{
    struct image rgb = {0};
    struct labels l;
    double start_s = now_s(), said_s = start_s;
    unsigned long long bytes = 0;
    int r = image_alloc(o->width, o->height, 3, &rgb);

    for (int n = 0; n < motion->count && r >= 0; n++) {
        size_t size = 0;
        *path = "a frame";
        r = clip_stage_draw(stage, &motion->moment[n], (uint64_t)n, &rgb, &l);
        if (r == 0)
            r = write_frame(o, clip, truth, &rgb, &motion->moment[n], &l, &size, path);
        if (r < 0)
            break;
        bytes += size;
        if (n + 1 == motion->count || now_s() - said_s > (isatty(2) ? 1 : 10)) {
            said_s = now_s();
            report(n + 1, motion->count, start_s, bytes);
        }
    }
    image_free(&rgb);
    return r;
}

static int close_file(FILE *f)
{
    return f && fclose(f) != 0 ? -errno : 0;
}

static int make_clip(const struct options *o, const struct head *head, const struct skin_atlas *atlas)
{
    struct clip_setup setup = {.head = head,
                               .atlas = atlas,
                               .seed = (uint64_t)o->seed,
                               .width = o->width,
                               .height = o->height,
                               .hfov_rad = rad_from_deg(o->hfov_deg),
                               .quality = (int)o->quality};
    struct clip_stage *stage = NULL;
    struct clip_motion motion = {0};
    FILE *clip = NULL, *truth = NULL;
    const char *path = "the stage";
    int r, e;

    r = clip_motion_make(setup.seed, (int)o->frames, o->fps, &motion);
    r = r < 0 ? r : clip_stage_new(&setup, &stage);
    if (r == 0 && !(clip = fopen(path = o->out, "wbe")))
        r = -errno;
    if (r == 0 && !(truth = fopen(path = o->truth, "we")))
        r = -errno;
    r = r < 0 ? r : write_frames(o, stage, &motion, clip, truth, &path);
    e = close_file(clip);
    if (r == 0 && e < 0) {
        r = e;
        path = o->out;
    }
    e = close_file(truth);
    if (r == 0 && e < 0) {
        r = e;
        path = o->truth;
    }
    clip_stage_free(stage);
    clip_motion_free(&motion);
    if (r < 0)
        fprintf(stderr, "gaze-clip: %s: %s\n", path, strerror(-r));
    return r;
}

static int work(int argc, char **argv)
{
    struct options o;
    struct facekit *kit = NULL;
    struct head head = {0};
    struct skin_atlas atlas = {0};
    int r = parse_options(argc, argv, &o);

    if (r != 0) {
        if (r < 0)
            fputs("Try gaze-clip --help.\n", stderr);
        return r < 0 ? EXIT_USAGE : 0;
    }
    r = facekit_load(o.facekit, &kit);
    if (r < 0)
        fprintf(stderr, "gaze-clip: %s: can't load facekit.json and facekit.safetensors: %s\n", o.facekit,
                strerror(-r));
    if (r == 0) {
        r = head_init(&head, kit);
        r = r < 0 ? r : skin_atlas_init(&atlas, &head);
        if (r < 0)
            fprintf(stderr, "gaze-clip: %s\n", strerror(-r));
    }
    r = r < 0 ? r : make_clip(&o, &head, &atlas);
    skin_atlas_free(&atlas);
    head_free(&head);
    facekit_free(kit);
    return r < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    return tool_end("gaze-clip", work(argc, argv));
}
