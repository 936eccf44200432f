// gaze-analyze: the service's networks on pictures, without the service. One line a face, JSON or for people; overlays
// on request.
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <cjson/cJSON.h>

#include "daemon/config.h"
#include "daemon/overlay.h"
#include "models/face_reader.h"
#include "models/model_file.h"
#include "vision/image_file.h"

#define FILES_MAX 100000

struct options {
    bool json;
    const char *overlay_dir, *device, *model_dir;
    double hfov_deg;
};

struct analysis {
    const struct options *options;
    struct face_reader *reader;
    int files, faces, failures;
};

static void usage(FILE *out)
{
    fputs("usage: gaze-analyze [options] FILE|FOLDER...\n"
          "Finds faces in JPEG and PNG pictures and tells where they look.\n\n"
          "  --json            one JSON object a face\n"
          "  --overlay DIR     also write DIR/<name>.png with boxes, landmarks and gaze arrows\n"
          "  --device D        ref, cl0, cpu, gpu, npu or auto (default auto; npu-info lists them)\n"
          "  --model-dir DIR   where the weights are\n"
          "  --hfov DEG        the camera's horizontal field of view (default 60)\n"
          "  --version, --help\n\n"
          "Angles are degrees: yaw > 0 looks to the picture's left, pitch > 0 up, (0, 0) into the camera.\n"
          "Exit code: 0 all pictures were read, 1 some were not, 2 wrong usage, 4 no device or no models.\n",
          out);
}

static double degrees(double rad)
{
    return round(deg_from_rad(rad) * 100) / 100;
}

static double tenth(double v)
{
    return round(v * 10) / 10;
}

static cJSON *numbers(const double *v, int n)
{
    return cJSON_CreateDoubleArray(v, n);
}

static void add_angles(cJSON *o, const char *name, struct angles a)
{
    cJSON *x = cJSON_AddObjectToObject(o, name);
    cJSON_AddNumberToObject(x, "yaw", degrees(a.yaw_rad));
    cJSON_AddNumberToObject(x, "pitch", degrees(a.pitch_rad));
}

static int index_of(const struct face_reading *faces, const struct face_reading *f)
{
    return (int)(f - faces);
}

static void print_json(const char *file, int number, const struct face_reading *f)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "file", file);
    cJSON_AddNumberToObject(o, "face", number);
    const double box[4] = {tenth(f->box.x), tenth(f->box.y), tenth(f->box.w), tenth(f->box.h)};
    cJSON_AddItemToObject(o, "box", numbers(box, 4));
    cJSON_AddNumberToObject(o, "score", round(f->score * 1000) / 1000);
    cJSON *points = cJSON_AddArrayToObject(o, "landmarks");
    for (int i = 0; i < FACE_POINTS; i++) {
        const double p[2] = {tenth(f->landmarks.points[i].x), tenth(f->landmarks.points[i].y)};
        cJSON_AddItemToArray(points, numbers(p, 2));
    }
    struct head_angles head = head_angles_from_rotation(&f->head);
    cJSON *h = cJSON_AddObjectToObject(o, "head");
    cJSON_AddNumberToObject(h, "yaw", degrees(head.yaw_rad));
    cJSON_AddNumberToObject(h, "pitch", degrees(head.pitch_rad));
    cJSON_AddNumberToObject(h, "roll", degrees(head.roll_rad));
    const double origin[3] = {tenth(f->origin_mm.x), tenth(f->origin_mm.y), tenth(f->origin_mm.z)};
    cJSON_AddItemToObject(o, "origin_mm", numbers(origin, 3));
    if (f->has_gaze) {
        add_angles(o, "gaze", gaze_to_angles(f->gaze.gaze));
        const double v[3] = {round(f->gaze.gaze.x * 1e5) / 1e5, round(f->gaze.gaze.y * 1e5) / 1e5,
                             round(f->gaze.gaze.z * 1e5) / 1e5};
        cJSON_AddItemToObject(cJSON_GetObjectItem(o, "gaze"), "vector", numbers(v, 3));
        add_angles(o, "gaze_normalised", f->gaze.normalised);
        cJSON_AddNumberToObject(o, "sigma_deg", degrees(f->gaze.sigma_rad));
    } else {
        cJSON_AddNullToObject(o, "gaze");
        cJSON_AddNullToObject(o, "gaze_normalised");
        cJSON_AddNullToObject(o, "sigma_deg");
    }
    cJSON *blink = cJSON_AddObjectToObject(o, "blink");
    cJSON_AddNumberToObject(blink, "left", round(f->landmarks.blink[1] * 1000) / 1000);
    cJSON_AddNumberToObject(blink, "right", round(f->landmarks.blink[0] * 1000) / 1000);
    char *text = cJSON_PrintUnformatted(o);
    puts(text ? text : "{}");
    free(text);
    cJSON_Delete(o);
}

static void print_text(const char *file, int number, const struct face_reading *f)
{
    struct head_angles head = head_angles_from_rotation(&f->head);
    printf("%s: face %d at %.0f,%.0f %.0fx%.0f score %.2f  head yaw %+.1f pitch %+.1f roll %+.1f", file, number,
           f->box.x, f->box.y, f->box.w, f->box.h, f->score, deg_from_rad(head.yaw_rad), deg_from_rad(head.pitch_rad),
           deg_from_rad(head.roll_rad));
    if (f->has_gaze) {
        struct angles g = gaze_to_angles(f->gaze.gaze);
        printf("  gaze yaw %+.1f pitch %+.1f (+-%.1f)", deg_from_rad(g.yaw_rad), deg_from_rad(g.pitch_rad),
               deg_from_rad(f->gaze.sigma_rad));
    } else {
        printf("  gaze unknown (profile)");
    }
    printf("  blink %.2f %.2f\n", f->landmarks.blink[1], f->landmarks.blink[0]);
}

// The picture with everything drawn in, small ones enlarged so that the drawing can be seen.
static int write_overlay(const struct options *o, const char *file, const struct image *picture,
                         const struct face_reading *faces, int count, char *message)
{
    int larger = picture->width > picture->height ? picture->width : picture->height;
    int scale = larger < 640 ? (640 + larger - 1) / larger : 1;
    struct image image = {0};
    int r = image_alloc(picture->width * scale, picture->height * scale, 3, &image);
    if (r >= 0)
        r = image_resize(picture, &image);
    for (int i = 0; i < count && r >= 0; i++) {
        char label[16];
        snprintf(label, sizeof(label), "%d", index_of(faces, &faces[i]));
        overlay_face(&image, scale, &faces[i], faces[i].has_gaze ? &faces[i].gaze.gaze : NULL, label);
    }
    const char *slash = strrchr(file, '/');
    char path[4096];
    if (r >= 0 &&
        snprintf(path, sizeof(path), "%s/%s.png", o->overlay_dir, slash ? slash + 1 : file) >= (int)sizeof(path))
        r = -ENAMETOOLONG;
    if (r >= 0)
        r = png_write(&image, path);
    if (r < 0)
        snprintf(message, IMAGE_MESSAGE_SIZE, "can't write the overlay: %s", strerror(-r));
    image_free(&image);
    return r;
}

static int analyse_picture(struct analysis *a, const char *file, const struct image *picture, char *message)
{
    struct camera camera;
    int r = camera_from_hfov(picture->width, picture->height, rad_from_deg(a->options->hfov_deg), &camera);
    struct face_reading faces[FACE_READER_MAX_FACES];
    if (r >= 0)
        r = face_reader_read(a->reader, picture, &camera, true, faces, 0, FACE_READER_MAX_FACES, NULL);
    if (r < 0) {
        snprintf(message, IMAGE_MESSAGE_SIZE, "can't be analysed: %s", strerror(-r));
        return r;
    }
    int count = r;
    for (int i = 0; i < count; i++)
        (a->options->json ? print_json : print_text)(file, i, &faces[i]);
    if (count == 0 && !a->options->json)
        printf("%s: no face\n", file);
    a->faces += count;
    return a->options->overlay_dir ? write_overlay(a->options, file, picture, faces, count, message) : 0;
}

static void analyse_file(struct analysis *a, const char *file)
{
    char message[IMAGE_MESSAGE_SIZE] = "";
    struct image picture = {0};
    int r = image_load(file, 3, &picture, message);
    if (r >= 0)
        r = analyse_picture(a, file, &picture, message);
    image_free(&picture);
    a->files++;
    fflush(stdout);
    if (r < 0) {
        fprintf(stderr, "gaze-analyze: %s: %s\n", file, message[0] ? message : strerror(-r));
        a->failures++;
    }
}

static int is_picture(const struct dirent *e)
{
    const char *dot = strrchr(e->d_name, '.');
    return dot && (!strcasecmp(dot, ".jpg") || !strcasecmp(dot, ".jpeg") || !strcasecmp(dot, ".png"));
}

static void analyse_path(struct analysis *a, const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
        analyse_file(a, path);
        return;
    }
    struct dirent **names;
    int n = scandir(path, &names, is_picture, alphasort);
    if (n <= 0) {
        fprintf(stderr, "gaze-analyze: %s: %s\n", path,
                n < 0 ? strerror(errno) : "no .jpg, .jpeg or .png in this folder");
        a->failures++;
    }
    for (int i = 0; i < n; i++) {
        char file[4096];
        if (i < FILES_MAX && snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name) < (int)sizeof(file))
            analyse_file(a, file);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
}

enum { EXIT_SOME_FAILED = 1, EXIT_USAGE = 2, EXIT_NO_DEVICE = 4 };

static int run(const struct options *o, char **paths)
{
    npu_ctx *ctx = NULL;
    npu_dev *dev = NULL;
    struct analysis a = {.options = o};
    char message[MODEL_MESSAGE_SIZE] = "";
    int r = npu_ctx_new(NULL, &ctx);
    if (r >= 0)
        r = npu_dev_open(ctx, o->device, &dev);
    if (r < 0)
        snprintf(message, sizeof(message), "no device: %s", ctx ? npu_ctx_error(ctx) : strerror(-r));
    if (r >= 0)
        r = face_reader_open(dev, o->model_dir, NULL, &a.reader, message);
    if (r >= 0)
        for (; *paths; paths++)
            analyse_path(&a, *paths);
    else
        fprintf(stderr, "gaze-analyze: %s\n", message[0] ? message : strerror(-r));
    face_reader_close(a.reader);
    npu_dev_close(dev);
    npu_ctx_free(ctx);
    if (r < 0)
        return EXIT_NO_DEVICE;
    return a.failures ? EXIT_SOME_FAILED : 0;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"json", no_argument, NULL, 'j'},         {"overlay", required_argument, NULL, 'o'},
        {"device", required_argument, NULL, 'd'}, {"model-dir", required_argument, NULL, 'm'},
        {"hfov", required_argument, NULL, 'f'},   {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},         {0},
    };
    struct config config = config_default();
    struct options o = {.device = "auto", .model_dir = config.model_dir, .hfov_deg = CAMERA_DEFAULT_HFOV_DEG};
    for (int c; (c = getopt_long(argc, argv, "h", long_options, NULL)) != -1;) {
        switch (c) {
        case 'j':
            o.json = true;
            break;
        case 'o':
            o.overlay_dir = optarg;
            break;
        case 'd':
            o.device = optarg;
            break;
        case 'm':
            o.model_dir = optarg;
            break;
        case 'f': {
            char *end;
            o.hfov_deg = strtod(optarg, &end);
            if (*end || !(o.hfov_deg >= 1 && o.hfov_deg < 180)) {
                fprintf(stderr, "gaze-analyze: --hfov takes degrees from 1 to 179, not '%s'\n", optarg);
                return EXIT_USAGE;
            }
            break;
        }
        case 'V':
            puts("gaze-analyze " GAZED_VERSION);
            return 0;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return EXIT_USAGE;
        }
    }
    if (optind == argc) {
        usage(stderr);
        return EXIT_USAGE;
    }
    if (o.overlay_dir && mkdir(o.overlay_dir, 0755) < 0 && errno != EEXIST) {
        fprintf(stderr, "gaze-analyze: can't make %s: %s\n", o.overlay_dir, strerror(errno));
        return EXIT_USAGE;
    }
    return run(&o, argv + optind);
}
