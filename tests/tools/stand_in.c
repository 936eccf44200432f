// stand-in: what tests of the service need besides the service. Weights whose answers are known beforehand, and JPEGs.
//
//   stand-in weights DIR    face_finder, landmarks and gaze_vit for which a white spot is a face
//   stand-in jpeg W H       grey pixels from standard input as a JPEG on standard output
//
// The networks have their real size and shape and mostly random weights, so they cost what real ones cost; one channel
// passes the middle tap of each convolution on, and the last layers answer from that channel alone:
//  - a cell of the finder's coarse level (32 px) sees a face where the pixel at its upper left corner is white; its box
//    is 80 px wide and high, in pixels of the 256 x 192 input;
//  - landmarks are the mean face, frontal, right eye open and left eye shut, if the crop is white near its middle;
//  - the gaze is yaw 0, STAND_IN_PITCH in the strip's frame.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "models/face_finder.h"
#include "models/gaze_vit.h"
#include "models/landmarks.h"
#include "vision/jpeg.h"

#define SEED           7
#define STAND_IN_YAW   0.2f // radians, in both looks: gaze_vit also looks at the mirror image, so it cancels
#define STAND_IN_PITCH (-0.1f)
#define STAND_IN_SIGMA 0.05f
#define BOX_PX         80

struct model {
    struct net net;
    npu_plan *plan;
};

static void die(const char *what, int r)
{
    fprintf(stderr, "stand-in: %s: %s\n", what, strerror(-r));
    exit(1);
}

static size_t elements(const struct model *m, const char *name)
{
    npu_val v = npu_graph_find(m->net.graph, name);
    const struct npu_shape *s = npu_val_shape(m->net.graph, v);
    if (!s)
        die(name, -ENOENT);
    return (size_t)npu_shape_elements(s);
}

static float *take(struct model *m, const char *name)
{
    size_t n = elements(m, name);
    float *v = malloc(n * sizeof(*v));
    int r = v ? npu_plan_read(m->plan, name, v, n * sizeof(*v)) : -ENOMEM;
    if (r < 0)
        die(name, r);
    return v;
}

static void put(struct model *m, const char *name, float *v)
{
    int r = npu_plan_write(m->plan, name, v, elements(m, name) * sizeof(*v));
    free(v);
    if (r < 0)
        die(name, r);
}

static void fill(struct model *m, const char *layer, const char *part, float value)
{
    char name[NPU_MAX_NAME];
    snprintf(name, sizeof(name), "%s.%s", layer, part);
    size_t n = elements(m, name);
    float *v = take(m, name);
    for (size_t i = 0; i < n; i++)
        v[i] = value;
    put(m, name, v);
}

// Output channel 0 of a convolution: `gain` times input channel 0 under the kernel's middle, plus nothing.
static void pass_on(struct model *m, const char *layer, float gain)
{
    char name[NPU_MAX_NAME];
    snprintf(name, sizeof(name), "%s.weight", layer);
    const struct npu_shape *s = npu_val_shape(m->net.graph, npu_graph_find(m->net.graph, name));
    if (!s)
        die(name, -ENOENT);
    int64_t taps = s->dim[0] * s->dim[1], in = s->dim[2], out = s->dim[3];
    float *w = take(m, name);
    for (int64_t i = 0; i < taps * in; i++)
        w[i * out] = 0;
    w[taps / 2 * in * out] = gain;
    put(m, name, w);
    fill(m, layer, "bias", 0);
}

static void pass_all_on(struct model *m, const char *const *layers)
{
    for (; *layers; layers++) {
        size_t n = strlen(*layers);
        // A residual block's input comes round by itself.
        pass_on(m, *layers, n > 2 && !strcmp(*layers + n - 2, ".b") ? 0 : 1);
    }
}

static void plan(struct model *m, npu_dev *dev)
{
    int r = npu_plan_new(dev, m->net.graph, NULL, &m->plan);
    if (r >= 0)
        r = npu_plan_init(m->plan, SEED);
    if (r < 0)
        die(npu_graph_error(m->net.graph), r);
}

static void save(struct model *m, const char *folder, const char *name)
{
    char path[4096];
    const char *const metadata[] = {"note", "stand-in for tests: a white spot is a face", NULL};
    snprintf(path, sizeof(path), "%s/%s.safetensors", folder, name);
    int r = npu_plan_save(m->plan, path, NPU_SAVE_PARAMS, metadata);
    if (r < 0)
        die(path, r);
    npu_plan_free(m->plan);
    net_clear(&m->net);
}

static void make_finder(npu_dev *dev, const char *folder)
{
    static const char *const trunk[] = {"s2",  "s4",        "s8",         "s8.res.b",   "s16", "s16.res.b",
                                        "s32", "s32.res.b", "s32.deep.b", "head32.mix", NULL};
    struct model m = {0};
    npu_val levels[FACE_FINDER_LEVELS];
    int r = net_init(&m.net, 0);
    if (r < 0)
        die("face_finder", r);
    face_finder_build_served(&m.net, 1, 256, 192, levels);
    plan(&m, dev);
    pass_all_on(&m, trunk);
    fill(&m, "head8", "weight", 0);
    fill(&m, "head8", "bias", -8);
    fill(&m, "head32", "weight", 0);
    float *w = take(&m, "head32.weight"), *b = take(&m, "head32.bias");
    w[0] = 12; // of channel 0 for the score: white is 1, grey and black 0
    b[0] = -6;
    for (int i = 1; i <= 4; i++)
        b[i] = logf(BOX_PX / 2.0f / face_finder_levels[1].unit_px);
    for (int i = 5; i < FACE_FINDER_CHANNELS; i++)
        b[i] = 0;
    put(&m, "head32.weight", w);
    put(&m, "head32.bias", b);
    save(&m, folder, "face_finder");
}

static void answer_points(struct model *m)
{
    struct point mean[FACE_LANDMARKS];
    for (int i = 0; i < FACE_LANDMARKS; i++)
        mean[i] = (struct point){(float)face_shape_mm[i].x, (float)face_shape_mm[i].y};
    // In the crop that these points ask for they lie where they are: a second look sees the same.
    struct face_crop crop = face_crop_from_points(mean);
    float *b = take(m, "points.bias");
    for (int i = 0; i < FACE_POINTS; i++) {
        b[2 * i] = ((float)face_shape_mm[i].x - crop.centre.x) / crop.side_px;
        b[2 * i + 1] = ((float)face_shape_mm[i].y - crop.centre.y) / crop.side_px;
    }
    fill(m, "points", "weight", 0);
    put(m, "points.bias", b);
}

static void make_landmarks(npu_dev *dev, const char *folder)
{
    static const char *const trunk[] = {"s2", "s4", "s4.res.b", "s8", "s8.res.b", "s16", "s16.res.b", "squeeze", NULL};
    struct model m = {0};
    struct landmarks_values values;
    int r = net_init(&m.net, 0);
    if (r < 0)
        die("landmarks", r);
    landmarks_build_served(&m.net, 1, &values);
    plan(&m, dev);
    pass_all_on(&m, trunk);
    // hidden[0] is channel 0 in the middle of the 7 x 7 x 48 map.
    size_t in = 7 * 7 * 48, out = 256;
    float *w = take(&m, "hidden.weight");
    for (size_t i = 0; i < in; i++)
        w[i * out] = 0;
    w[(3 * 7 + 3) * 48 * out] = 1;
    put(&m, "hidden.weight", w);
    fill(&m, "hidden", "bias", 0);
    fill(&m, "face", "weight", 0);
    w = take(&m, "face.weight");
    w[0] = 8;
    put(&m, "face.weight", w);
    fill(&m, "face", "bias", -4);
    answer_points(&m);
    fill(&m, "sigma", "weight", 0);
    fill(&m, "sigma", "bias", -3);
    fill(&m, "rotation", "weight", 0);
    float *b = take(&m, "rotation.bias");
    memcpy(b, (float[6]){1, 0, 0, 0, 1, 0}, 6 * sizeof(float));
    put(&m, "rotation.bias", b);
    fill(&m, "blink", "weight", 0);
    b = take(&m, "blink.bias");
    b[0] = -2;
    b[1] = 2;
    put(&m, "blink.bias", b);
    save(&m, folder, "landmarks");
}

static void make_gaze(npu_dev *dev, const char *folder)
{
    struct model m = {0};
    int r = net_init(&m.net, 0);
    if (r < 0)
        die("gaze_vit", r);
    struct gaze_vit_values v;
    gaze_vit_build_served(&m.net, 1, &v);
    plan(&m, dev);
    r = gaze_vit_write_positions(m.plan, &gaze_vit_config);
    if (r < 0)
        die("positions", r);
    fill(&m, "head", "weight", 0);
    float *b = take(&m, "head.bias");
    b[0] = STAND_IN_YAW;
    b[1] = STAND_IN_PITCH;
    put(&m, "head.bias", b);
    fill(&m, "sigma", "weight", 0);
    fill(&m, "sigma", "bias", logf(STAND_IN_SIGMA));
    save(&m, folder, "gaze_vit");
}

static int weights(const char *folder)
{
    npu_ctx *ctx = NULL;
    npu_dev *dev = NULL;
    int r = npu_ctx_new("", &ctx);
    if (r >= 0)
        r = npu_dev_open(ctx, "ref", &dev);
    if (r < 0)
        die("ref", r);
    make_finder(dev, folder);
    make_landmarks(dev, folder);
    make_gaze(dev, folder);
    npu_dev_close(dev);
    npu_ctx_free(ctx);
    return 0;
}

static int jpeg(int width, int height)
{
    struct image image = {0};
    uint8_t *data;
    size_t size;
    int r = image_alloc(width, height, 1, &image);
    if (r < 0)
        die("jpeg", r);
    for (int y = 0; y < height; y++)
        if (fread(image.data + (size_t)y * (size_t)image.stride, (size_t)width, 1, stdin) != 1)
            die("standard input", -ENODATA);
    r = jpeg_encode(&image, 92, &data, &size);
    if (r < 0)
        die("jpeg", r);
    bool ok = fwrite(data, size, 1, stdout) == 1;
    free(data);
    image_free(&image);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "weights"))
        return weights(argv[2]);
    if (argc == 4 && !strcmp(argv[1], "jpeg"))
        return jpeg(atoi(argv[2]), atoi(argv[3]));
    fputs("usage: stand-in weights DIR | stand-in jpeg WIDTH HEIGHT <PIXELS >JPEG\n", stderr);
    return 2;
}
