// gaze-analyze: the service's networks on pictures, without the service. One line a face, JSON or for people; overlays
// on request.
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "daemon/analyze_output.h"
#include "daemon/analyze_truth.h"
#include "daemon/clock.h"
#include "daemon/config.h"
#include "daemon/grey.h"
#include "daemon/overlay.h"
#include "daemon/pipeline.h"
#include "daemon/source_file.h"
#include "models/face_reader.h"
#include "models/model_file.h"
#include "vision/image_file.h"

struct options {
    bool json, profile;
    const char *overlay_dir, *device, *model_dir, *truth;
    double hfov_deg;
    long every;  // overlays of a clip: every so many frames
    long frames; // of a clip or camera: stop after so many; 0 = all
};

struct clip {
    const char *file;
    double fps;
    struct pipeline *pipeline;
    struct grey grey;
    struct frame frame; // the present one, and its number
    long number;
    long damaged; // frames that could not be decoded
};

struct analysis {
    const struct options *options;
    struct face_reader *reader;
    struct analyze_truth truth;
    int files, faces, failures;
    uint64_t decode_ns; // of clips
};

static void usage(FILE *out)
{
    fputs("usage: gaze-analyze [options] FILE|FOLDER|v4l2[:/dev/videoN]...\n"
          "Finds faces in pictures (JPEG, PNG), clips (MJPEG, Y4M) and cameras, and tells where they look.\n\n"
          "  --json            one JSON object a face\n"
          "  --overlay DIR     also write DIR/<name>.png with boxes, landmarks and gaze arrows\n"
          "  --every N         of a clip, an overlay of every Nth frame (default 30)\n"
          "  --frames N        of a clip or camera, stop after N frames (default: all; camera 30)\n"
          "  --truth FILE      a clip's labels from gaze-render: print the mean angular error at the end\n"
          "  --profile         of clips: print the mean time of each stage at the end, as JSON\n"
          "  --device D        ref, cl0, cpu, gpu, npu or auto (default auto; npu-info lists them)\n"
          "  --model-dir DIR   where the weights are\n"
          "  --hfov DEG        the camera's horizontal field of view (default 60)\n"
          "  --version, --help\n\n"
          "Angles are degrees: yaw > 0 looks to the picture's left, pitch > 0 up, (0, 0) into the camera.\n"
          "Exit code: 0 all pictures were read, 1 some were not or the output could not be written, 2 wrong usage,\n"
          "4 no device or no models.\n",
          out);
}

// A copy of the picture to draw on, small ones enlarged so that the drawing can be seen. Returns the scale or a
// negative status.
static int begin_overlay(const struct image *picture, struct image *ret_image)
{
    int larger = picture->width > picture->height ? picture->width : picture->height;
    int scale = larger < 640 ? (640 + larger - 1) / larger : 1;
    struct image rgb = {0};
    int r = image_alloc(picture->width, picture->height, 3, &rgb);
    if (r >= 0)
        r = image_copy(picture, &rgb);
    if (r >= 0)
        r = image_alloc(picture->width * scale, picture->height * scale, 3, ret_image);
    if (r >= 0)
        r = image_resize(&rgb, ret_image);
    image_free(&rgb);
    return r < 0 ? r : scale;
}

static int end_overlay(const struct options *o, const char *file, long frame, struct image *image, char *message)
{
    const char *slash = strrchr(file, '/');
    char path[4096], number[24] = "";
    if (frame >= 0)
        snprintf(number, sizeof(number), "-%05ld", frame);
    int n = snprintf(path, sizeof(path), "%s/%s%s.png", o->overlay_dir, slash ? slash + 1 : file, number);
    int r = n >= (int)sizeof(path) ? -ENAMETOOLONG : png_write(image, path);
    if (r < 0)
        snprintf(message, IMAGE_MESSAGE_SIZE, "can't write the overlay %.150s: %s", path, strerror(-r));
    return r;
}

static int write_overlay(const struct options *o, const struct image *picture, const struct analyzed_face *faces,
                         int count, const char *file, long frame, char *message)
{
    struct image image = {0};
    int scale = begin_overlay(picture, &image);
    for (int i = 0; i < count && scale > 0; i++) {
        struct vec3 gaze = gaze_from_angles(faces[i].gaze);
        char label[24];
        snprintf(label, sizeof(label), frame >= 0 ? "id %ld" : "%ld", frame >= 0 ? faces[i].id : faces[i].index);
        overlay_face(&image, scale, faces[i].reading, faces[i].reading->has_gaze ? &gaze : NULL, label);
    }
    int r = scale < 0 ? scale : end_overlay(o, file, frame, &image, message);
    image_free(&image);
    return r;
}

static void print_faces(struct analysis *a, const struct analyzed_face *faces, int count)
{
    for (int i = 0; i < count; i++)
        (a->options->json ? analyze_print_json : analyze_print_text)(&faces[i]);
    a->faces += count;
}

static int analyse_picture(struct analysis *a, const char *file, const struct image *picture, char *message)
{
    struct camera camera;
    static struct face_reading readings[FACE_READER_MAX_FACES]; // large
    int r = camera_from_hfov(picture->width, picture->height, rad_from_deg(a->options->hfov_deg), &camera);
    if (r >= 0)
        r = face_reader_read(a->reader, picture, &camera, true, readings, 0, FACE_READER_MAX_FACES, NULL);
    if (r < 0) {
        snprintf(message, IMAGE_MESSAGE_SIZE, "can't be analysed: %s", strerror(-r));
        return r;
    }
    struct analyzed_face faces[FACE_READER_MAX_FACES];
    for (int i = 0; i < r; i++) {
        struct angles gaze = readings[i].has_gaze ? gaze_to_angles(readings[i].gaze.gaze) : (struct angles){0};
        faces[i] = (struct analyzed_face){.file = file, .index = i, .frame = -1, .reading = &readings[i], .gaze = gaze};
    }
    print_faces(a, faces, r);
    if (r == 0 && !a->options->json)
        printf("%s: no face\n", file);
    return a->options->overlay_dir ? write_overlay(a->options, picture, faces, r, file, -1, message) : 0;
}

// The overlay of a clip's frame is in colour where the frame is: it is decoded once more.
static int write_frame_overlay(struct analysis *a, struct clip *clip, const struct image *image,
                               const struct analyzed_face *faces, int count, char *message)
{
    struct jpeg_frame decoded = {.image = *image};
    int r = 0;
    if (clip->frame.format == FRAME_JPEG)
        r = jpeg_decode(clip->grey.jpeg, clip->frame.data, clip->frame.size, 3, 0, 0, &decoded, message);
    return r < 0 ? r : write_overlay(a->options, &decoded.image, faces, count, clip->file, clip->number, message);
}

static int analyse_frame(struct analysis *a, struct clip *clip, const struct image *image, char *message)
{
    const struct pipeline_face *found;
    const char *file = clip->file;
    long frame = clip->number;
    int count = pipeline_frame(clip->pipeline, image, (int64_t)((double)frame / clip->fps * 1e9), &found);
    if (count < 0) {
        snprintf(message, IMAGE_MESSAGE_SIZE, "frame %ld can't be analysed: %s", frame, strerror(-count));
        return count;
    }
    struct analyzed_face faces[FACE_READER_MAX_FACES];
    for (int i = 0; i < count; i++)
        faces[i] = (struct analyzed_face){file, i, frame, found[i].id, found[i].reading, found[i].gaze};
    print_faces(a, faces, count);
    if (a->truth.count) {
        bool read = count > 0 && found[0].reading->has_gaze;
        struct angles raw = read ? gaze_to_angles(found[0].reading->gaze.gaze) : (struct angles){0};
        analyze_truth_score(&a->truth, frame, read ? &found[0].gaze : NULL, read ? &raw : NULL);
    }
    if (a->options->overlay_dir && frame % a->options->every == 0)
        return write_frame_overlay(a, clip, image, faces, count, message);
    return 0;
}

// Waits for the next frame: a camera's, at most 5 s.
static int next_frame(struct source *source, struct frame *ret_frame, char *message)
{
    int r;
    while ((r = source_next(source, (int64_t)clock_now_ns(), ret_frame)) == -EAGAIN) {
        struct pollfd p = {.fd = source->fd, .events = POLLIN};
        if (poll(&p, 1, 5000) == 0) {
            snprintf(message, SOURCE_MESSAGE_SIZE, "no frame for 5 s");
            return -ETIMEDOUT;
        }
    }
    if (r < 0 && source->why[0])
        snprintf(message, SOURCE_MESSAGE_SIZE, "%s", source->why);
    return r;
}

static int analyse_clip(struct analysis *a, const char *file, struct source *source, char *message)
{
    struct pipeline_settings settings = {
        .faces_max = FACE_READER_MAX_FACES, .hfov_deg = a->options->hfov_deg, .birth_hits = 1, .filter = ONE_EURO_GAZE};
    struct clip clip = {.file = file, .fps = source->info.fps};
    int r = pipeline_new(a->reader, &settings, &clip.pipeline);
    if (r >= 0)
        r = source_start(source, message);
    long last = a->options->frames ? a->options->frames : source->info.frames ? LONG_MAX : 30;
    while (r >= 0 && clip.number < last) {
        r = next_frame(source, &clip.frame, message);
        if (r < 0)
            break;
        struct image image;
        uint64_t start_ns = clock_now_ns();
        r = grey_from_frame(&clip.grey, &clip.frame, &image, message);
        a->decode_ns += clock_now_ns() - start_ns;
        if (r >= 0)
            r = analyse_frame(a, &clip, &image, message);
        else if (clip.damaged++ < 5)
            fprintf(stderr, "gaze-analyze: %s: frame %ld: %s\n", file, clip.number, message);
        if (r == -EBADMSG)
            r = 0; // the others may be whole
        source_release(source, &clip.frame);
        clip.number++;
    }
    pipeline_free(clip.pipeline);
    grey_clear(&clip.grey);
    if (clip.damaged && (r >= 0 || r == -ENODATA)) {
        snprintf(message, SOURCE_MESSAGE_SIZE, "%ld of %ld frames are damaged", clip.damaged, clip.number);
        return -EBADMSG;
    }
    return r == -ENODATA ? 0 : r;
}

static void analyse_file(struct analysis *a, const char *file)
{
    char message[SOURCE_MESSAGE_SIZE] = "";
    struct source_settings settings = {.fast = true};
    struct source *source = NULL;
    struct image picture = {0};
    bool camera = !strcmp(file, "v4l2") || !strncmp(file, "v4l2:", 5);
    int r =
        camera ? source_open(file, &settings, &source, message) : source_file_open(file, &settings, &source, message);
    bool clip = camera || (r >= 0 && (source->info.frames > 1 || !strcmp(source->info.format, "Y4M")));
    if (!camera)
        r = 0; // what a picture lacks, image_load tells better
    if (clip)
        r = r < 0 ? r : analyse_clip(a, file, source, message);
    else
        r = image_load(file, 3, &picture, message);
    if (!clip && r >= 0)
        r = analyse_picture(a, file, &picture, message);
    image_free(&picture);
    source_close(source);
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
        char *file = NULL;
        if (asprintf(&file, "%s/%s", path, names[i]->d_name) < 0) {
            fprintf(stderr, "gaze-analyze: %s/%s: %s\n", path, names[i]->d_name, strerror(ENOMEM));
            a->failures++;
        } else {
            analyse_file(a, file);
            free(file);
        }
        free(names[i]);
    }
    if (n >= 0)
        free(names);
}

static double mean_ms(int64_t sum_ns, long n)
{
    return n > 0 ? (double)sum_ns / 1e6 / (double)n : 0;
}

static void print_profile(const struct analysis *a)
{
    struct face_reader_times t = face_reader_get_times(a->reader);
    printf("{\"frames\":%ld,\"searches\":%ld,\"faces\":%ld,\"decode_ms\":%.3f,\"follow_ms\":%.3f,\"search_ms\":%.3f,"
           "\"pose_ms\":%.3f,\"gaze_ms\":%.3f}\n",
           t.frames, t.searches, t.faces, mean_ms((int64_t)a->decode_ns, t.frames), mean_ms(t.follow_ns, t.frames),
           mean_ms(t.search_ns, t.searches), mean_ms(t.pose_ns, t.frames), mean_ms(t.gaze_ns, t.frames));
}

enum { EXIT_SOME_FAILED = 1, EXIT_USAGE = 2, EXIT_NO_DEVICE = 4 };

static int run(const struct options *o, char **paths)
{
    npu_ctx *ctx = NULL;
    npu_dev *dev = NULL;
    struct analysis a = {.options = o};
    char message[MODEL_MESSAGE_SIZE] = "";
    int r = o->truth ? analyze_truth_load(o->truth, &a.truth, message) : 0;
    if (r < 0) {
        fprintf(stderr, "gaze-analyze: %s\n", message);
        return EXIT_USAGE;
    }
    r = npu_ctx_new(NULL, &ctx);
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
    if (o->truth && r >= 0)
        analyze_truth_print(&a.truth);
    if (o->profile && r >= 0)
        print_profile(&a);
    analyze_truth_clear(&a.truth);
    face_reader_close(a.reader);
    npu_dev_close(dev);
    npu_ctx_free(ctx);
    if (r < 0)
        return EXIT_NO_DEVICE;
    return a.failures ? EXIT_SOME_FAILED : 0;
}

static int bad_number(const char *option, const char *range, const char *text)
{
    fprintf(stderr, "gaze-analyze: --%s takes %s, not '%s'\n", option, range, text);
    return EXIT_USAGE;
}

// Returns -1 to go on, else the exit code.
static int parse_options(int argc, char **argv, struct options *o)
{
    static const struct option long_options[] = {
        {"json", no_argument, NULL, 'j'},         {"overlay", required_argument, NULL, 'o'},
        {"every", required_argument, NULL, 'e'},  {"truth", required_argument, NULL, 't'},
        {"profile", no_argument, NULL, 'p'},      {"frames", required_argument, NULL, 'n'},
        {"device", required_argument, NULL, 'd'}, {"model-dir", required_argument, NULL, 'm'},
        {"hfov", required_argument, NULL, 'f'},   {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},         {0},
    };
    for (int c; (c = getopt_long(argc, argv, "h", long_options, NULL)) != -1;) {
        char *end = NULL;
        if (c == 'j') {
            o->json = true;
        } else if (c == 'p') {
            o->profile = true;
        } else if (c == 'o') {
            o->overlay_dir = optarg;
        } else if (c == 't') {
            o->truth = optarg;
        } else if (c == 'd') {
            o->device = optarg;
        } else if (c == 'm') {
            o->model_dir = optarg;
        } else if (c == 'e') {
            o->every = strtol(optarg, &end, 10);
            if (*end || o->every < 1)
                return bad_number("every", "a number of frames from 1", optarg);
        } else if (c == 'n') {
            o->frames = strtol(optarg, &end, 10);
            if (*end || o->frames < 1)
                return bad_number("frames", "a number of frames from 1", optarg);
        } else if (c == 'f') {
            o->hfov_deg = strtod(optarg, &end);
            if (*end || !(o->hfov_deg >= 1 && o->hfov_deg < 180))
                return bad_number("hfov", "degrees from 1 to 179", optarg);
        } else if (c == 'V') {
            puts("gaze-analyze " GAZED_VERSION);
            return 0;
        } else {
            usage(c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : EXIT_USAGE;
        }
    }
    return -1;
}

static int analyse(int argc, char **argv)
{
    struct config config = config_default();
    struct options o = {
        .device = "auto", .model_dir = config.model_dir, .hfov_deg = CAMERA_DEFAULT_HFOV_DEG, .every = 30};
    int code = parse_options(argc, argv, &o);
    if (code >= 0)
        return code;
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

int main(int argc, char **argv)
{
    int code = analyse(argc, argv);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fprintf(stderr, "gaze-analyze: the output could not be written\n");
    return code ? code : EXIT_SOME_FAILED;
}
