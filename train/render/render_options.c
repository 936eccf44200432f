// Command line of gaze-render.
#include "train/render/render_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "train/render/number_options.h"

#define COUNT_MAX    10000000
#define PER_IDENTITY 8

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

static int parse_value(struct render_options *o, int key, const char *text)
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
        return whole_number_option("count", text, 1, COUNT_MAX, &o->count);
    case KEY_START:
        return whole_number_option("start", text, 0, INT64_MAX / 2, &o->start);
    case KEY_SIZE:
        return whole_number_option("size", text, RENDER_SIDE_MIN, RENDER_SIDE_MAX, &o->size);
    case KEY_JOBS:
        return whole_number_option("jobs", text, 1, RENDER_JOBS_MAX, &o->jobs);
    case KEY_IDENTITIES:
        return whole_number_option("identities", text, 1, UINT32_MAX, &o->identities);
    case KEY_PER_IDENTITY:
        return whole_number_option("per-identity", text, 1, 100000, &o->per_identity);
    case KEY_MAX_YAW:
        return number_option("max-yaw", text, 0, 75, &o->limits.max_yaw_deg);
    case KEY_MAX_PITCH:
        return number_option("max-pitch", text, 0, 60, &o->limits.max_pitch_deg);
    case KEY_MAX_ROLL:
        return number_option("max-roll", text, 0, 60, &o->limits.max_roll_deg);
    case KEY_SEED:
        r = whole_number_option("seed", text, 0, INT64_MAX, &seed);
        if (r == 0)
            o->seed = (uint64_t)seed;
        return r;
    default:
        return -EINVAL;
    }
}

int render_options_parse(int argc, char **argv, struct render_options *ret_options)
{
    struct render_options *o = ret_options;
    int key, r;

    *o = (struct render_options){.size = 256,
                                 .identities = UINT32_MAX,
                                 .per_identity = PER_IDENTITY,
                                 .count = -1,
                                 .jobs = sysconf(_SC_NPROCESSORS_ONLN),
                                 .limits = {60, 35, 20}};
    o->jobs = o->jobs < 1 ? 1 : o->jobs > RENDER_JOBS_MAX ? RENDER_JOBS_MAX : o->jobs;
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
