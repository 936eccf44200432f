// Reads what gaze-render wrote: one JSON line and one picture a face (train/render/labels.c has the format).
#include <cjson/cJSON.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/face_set.h"
#include "vision/image_file.h"

#define MAX_THREADS 16

static const cJSON *member(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static double number_of(const cJSON *object, const char *key)
{
    const cJSON *v = member(object, key);
    return cJSON_IsNumber(v) ? v->valuedouble : NAN;
}

// An array of exactly `count` numbers; false if it is not.
static bool read_numbers(const cJSON *array, double *values, int count)
{
    if (cJSON_GetArraySize(array) != count)
        return false;
    const cJSON *v = array->child;
    for (int i = 0; i < count; i++, v = v->next) {
        if (!cJSON_IsNumber(v))
            return false;
        values[i] = v->valuedouble;
    }
    return true;
}

static bool read_points(const cJSON *array, struct point *points, int count)
{
    if (cJSON_GetArraySize(array) != count)
        return false;
    const cJSON *v = array->child;
    for (int i = 0; i < count; i++, v = v->next) {
        double xy[2];
        if (!read_numbers(v, xy, 2))
            return false;
        points[i] = (struct point){(float)xy[0], (float)xy[1]};
    }
    return true;
}

static bool read_vector(const cJSON *array, struct vec3 *v)
{
    double x[3];
    bool good = read_numbers(array, x, 3);
    if (good)
        *v = vec3_make(x[0], x[1], x[2]);
    return good;
}

static int read_labels(const cJSON *line, struct face_sample *s)
{
    const cJSON *file = member(line, "file"), *camera = member(line, "camera"), *blink = member(line, "blink");
    const cJSON *visible = member(line, "landmarks_visible");
    double box[4], head[9], seen[FACE_LANDMARKS];
    bool good = cJSON_IsString(file) && read_numbers(member(line, "box"), box, 4) &&
                read_numbers(member(member(line, "head"), "R"), head, 9) &&
                read_points(member(line, "landmarks"), s->points, FACE_LANDMARKS) &&
                read_points(member(line, "iris"), s->points + FACE_LANDMARKS, FACE_IRIS) &&
                read_numbers(visible, seen, FACE_LANDMARKS) &&
                read_vector(member(line, "face_origin_mm"), &s->origin_mm) &&
                read_vector(member(member(line, "gaze"), "vector"), &s->gaze);
    s->camera = (struct camera){number_of(camera, "fx"), number_of(camera, "fy"), number_of(camera, "cx"),
                                number_of(camera, "cy")};
    s->blink[0] = (float)number_of(blink, "right");
    s->blink[1] = (float)number_of(blink, "left");
    double identity = number_of(line, "identity");
    if (!good || !(identity >= 0 && identity <= INT_MAX) || !(s->camera.fx > 0) || !(s->camera.fy > 0) ||
        !(s->blink[0] + s->blink[1] >= 0))
        return -EBADMSG;
    s->identity = (int)identity;
    s->box = (struct box){(float)box[0], (float)box[1], (float)box[2], (float)box[3]};
    for (int i = 0; i < 9; i++)
        s->head.m[i / 3][i % 3] = head[i];
    // Irises have no visibility of their own: they are hidden with their eye's corners.
    for (int i = 0; i < FACE_LANDMARKS; i++)
        s->seen[i] = (float)seen[i];
    for (int side = 0; side < 2; side++) {
        int corner = side ? FACE_LEFT_EYE_INNER : FACE_RIGHT_EYE_OUTER;
        bool open = s->seen[corner] > 0 && s->seen[corner + 3] > 0 && s->blink[side] < 0.7f;
        for (int i = 0; i < 5; i++)
            s->seen[FACE_RIGHT_IRIS + 5 * side + i] = open ? 1 : 0;
    }
    return 0;
}

// The pictures of the samples from number `from` on.
struct file_names {
    char **name;
    int from, count, room;
};

static int add_name(struct file_names *files, const char *name)
{
    if (files->count == files->room) {
        int room = files->room ? 2 * files->room : 256;
        char **grown = realloc(files->name, (size_t)room * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        files->name = grown;
        files->room = room;
    }
    files->name[files->count] = strdup(name);
    return files->name[files->count] ? (files->count++, 0) : -ENOMEM;
}

static void clear_names(struct file_names *files)
{
    for (int i = 0; i < files->count; i++)
        free(files->name[i]);
    free(files->name);
}

// The id that a picture's name gives its sample.
static void name_sample(struct face_sample *s, const char *file)
{
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file, *dot = strrchr(name, '.');
    size_t n = dot && dot > name ? (size_t)(dot - name) : strlen(name);
    snprintf(s->id, sizeof(s->id), "%.*s", (int)(n < sizeof(s->id) ? n : sizeof(s->id) - 1), name);
}

struct decode_job {
    struct face_set *set;
    const struct file_names *files;
    const char *folder;
    atomic_int next, status;
    atomic_flag told; // the message is written: by the first that fails
    char *message;
};

static int decode_one(struct decode_job *job, int index)
{
    char path[PATH_MAX], why[IMAGE_MESSAGE_SIZE] = "";
    int r = -ENAMETOOLONG;
    if (snprintf(path, sizeof(path), "%s/%s", job->folder, job->files->name[index]) < PATH_MAX)
        r = image_load(path, 1, &job->set->samples[job->files->from + index].image, why);
    if (r < 0 && !atomic_flag_test_and_set(&job->told))
        snprintf(job->message, FACE_SET_MESSAGE_SIZE, "%.150s: %.200s", path, *why ? why : strerror(-r));
    return r;
}

static void *decode(void *arg)
{
    struct decode_job *job = arg;
    for (int i; job->status >= 0 && (i = atomic_fetch_add(&job->next, 1)) < job->files->count;) {
        int r = decode_one(job, i);
        if (r < 0)
            job->status = r;
    }
    return NULL;
}

static int decode_all(struct face_set *set, const struct file_names *files, const char *folder, int threads,
                      char *message)
{
    struct decode_job job = {
        .set = set, .files = files, .folder = folder, .told = ATOMIC_FLAG_INIT, .message = message};
    pthread_t thread[MAX_THREADS];
    int started = 0;
    threads = threads < 1 ? 1 : threads > MAX_THREADS ? MAX_THREADS : threads;
    while (started < threads - 1 && pthread_create(&thread[started], NULL, decode, &job) == 0)
        started++;
    decode(&job);
    for (int i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    return job.status;
}

static int read_lines(FILE *file, struct face_set *set, int limit, struct file_names *files, char *message)
{
    char *text = NULL;
    size_t room = 0;
    int r = 0;
    for (int row = 0; r >= 0 && (limit <= 0 || row < limit) && getline(&text, &room, file) > 0; row++) {
        cJSON *line = cJSON_Parse(text);
        struct face_sample *s = face_set_append(set);
        r = !s ? -ENOMEM : line ? read_labels(line, s) : -EBADMSG;
        if (r >= 0) {
            const char *name = member(line, "file")->valuestring;
            name_sample(s, name);
            r = add_name(files, name);
        }
        if (r < 0)
            snprintf(message, FACE_SET_MESSAGE_SIZE, "labels.jsonl, line %d: %s", row + 1,
                     r == -EBADMSG ? "not a line that gaze-render wrote" : strerror(-r));
        cJSON_Delete(line);
    }
    free(text);
    return r;
}

int face_set_add_renders(struct face_set *set, const char *folder, int limit, int threads, char *message)
{
    char path[PATH_MAX];
    struct file_names files = {.from = set->count};
    if (snprintf(path, sizeof(path), "%s/labels.jsonl", folder) >= PATH_MAX) {
        snprintf(message, FACE_SET_MESSAGE_SIZE, "%.300s...: %s", folder, strerror(ENAMETOOLONG));
        return -ENAMETOOLONG;
    }
    FILE *file = fopen(path, "re");
    if (!file) {
        int r = -errno;
        snprintf(message, FACE_SET_MESSAGE_SIZE, "%.300s: %s", path, strerror(-r));
        return r;
    }
    int r = read_lines(file, set, limit, &files, message);
    fclose(file);
    if (r >= 0)
        r = decode_all(set, &files, folder, threads, message);
    clear_names(&files);
    return r;
}
