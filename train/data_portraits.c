// Reads the portrait sets: one JSON line, one row of tensors and one JPEG a picture (see ../shared/data/README.md).
#include <cjson/cJSON.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/face_set.h"
#include "train/fold.h"
#include "train/mp68.h"
#include "train/render/tensors.h"
#include "vision/image_file.h"

#define MESH_POINTS    478
#define BLENDSHAPES    52
#define BLINK_LEFT     9 // MediaPipe's order of blendshapes
#define BLINK_RIGHT    10
#define LINE_MAX_BYTES 8192

struct reader {
    const char *folder, *name;
    enum face_set_fold fold;
    struct tensor landmarks, blendshapes;
    char *message;
};

static void read_points(const struct reader *reader, int row, struct face_sample *s)
{
    const uint16_t *mesh = (const uint16_t *)reader->landmarks.data + (size_t)row * MESH_POINTS * 3;
    for (int i = 0; i < FACE_POINTS; i++) {
        int p = i < FACE_LANDMARKS ? mp68[i] : MP_IRIS_RIGHT + i - FACE_LANDMARKS;
        s->points[i].x = float_from_half(mesh[3 * p]);
        s->points[i].y = float_from_half(mesh[3 * p + 1]);
        s->seen[i] = 1;
    }
    const uint16_t *shapes = (const uint16_t *)reader->blendshapes.data + (size_t)row * BLENDSHAPES;
    s->blink[0] = float_from_half(shapes[BLINK_RIGHT]);
    s->blink[1] = float_from_half(shapes[BLINK_LEFT]);
}

static double number_of(const cJSON *object, const char *key)
{
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsNumber(v) ? v->valuedouble : 0;
}

static int read_one(const struct reader *reader, const cJSON *line, int row, struct face_sample *s)
{
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(line, "id");
    const cJSON *box = cJSON_GetObjectItemCaseSensitive(line, "box");
    if (!cJSON_IsString(id) || cJSON_GetArraySize(box) != 4)
        return -EBADMSG;
    snprintf(s->id, sizeof(s->id), "%s", id->valuestring);
    float *edge[4] = {&s->box.x, &s->box.y, &s->box.w, &s->box.h};
    for (int i = 0; i < 4; i++)
        *edge[i] = (float)cJSON_GetArrayItem(box, i)->valuedouble;
    s->real = true;
    s->identity = -1;
    s->yaw_deg = (float)number_of(line, "yaw");
    s->head = mat3_identity();
    read_points(reader, row, s);
    char path[PATH_MAX], why[IMAGE_MESSAGE_SIZE] = "";
    if (snprintf(path, sizeof(path), "%s/%s/%s.jpg", reader->folder, reader->name, s->id) >= PATH_MAX)
        return -ENAMETOOLONG;
    int r = image_load(path, 1, &s->image, why);
    if (r < 0) {
        snprintf(reader->message, FACE_SET_MESSAGE_SIZE, "%.150s: %.200s", path, why);
        return r;
    }
    return camera_from_hfov(s->image.width, s->image.height, rad_from_deg(CAMERA_DEFAULT_HFOV_DEG), &s->camera);
}

// Whether this line's picture is wanted.
static bool wanted(const struct reader *reader, const cJSON *line)
{
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(line, "id");
    if (reader->fold == FACE_SET_ALL || !cJSON_IsString(id))
        return true;
    return fold_is_held_out(id->valuestring) == (reader->fold == FACE_SET_JUDGES);
}

static int read_lines(const struct reader *reader, FILE *file, struct face_set *set)
{
    char *text = malloc(LINE_MAX_BYTES);
    int r = text ? 0 : -ENOMEM;
    size_t rows = reader->landmarks.shape[0];
    for (int row = 0; r >= 0 && fgets(text, LINE_MAX_BYTES, file); row++) {
        cJSON *line = cJSON_Parse(text);
        if (!line || (size_t)row >= rows) {
            snprintf(reader->message, FACE_SET_MESSAGE_SIZE, "%s.jsonl, line %d: not JSON, or more lines than tensors",
                     reader->name, row + 1);
            r = -EBADMSG;
        } else if (wanted(reader, line)) {
            struct face_sample *s = face_set_append(set);
            r = s ? read_one(reader, line, row, s) : -ENOMEM;
            if (r == -EBADMSG && !*reader->message)
                snprintf(reader->message, FACE_SET_MESSAGE_SIZE, "%s.jsonl, line %d: has no id, or no box of 4 numbers",
                         reader->name, row + 1);
        }
        cJSON_Delete(line);
    }
    free(text);
    return r;
}

static int check_tensor(const struct tensor *t, size_t columns, const char *dtype)
{
    return strcmp(t->dtype, dtype) == 0 && t->dims >= 2 && t->count == t->shape[0] * columns ? 0 : -EBADMSG;
}

int face_set_add_portraits(struct face_set *set, const char *folder, const char *name, enum face_set_fold fold,
                           char *message)
{
    struct reader reader = {.folder = folder, .name = name, .fold = fold, .message = message};
    struct tensors *tensors = NULL;
    char path[PATH_MAX];
    *message = 0;
    if (snprintf(path, sizeof(path), "%s/%s.safetensors", folder, name) >= PATH_MAX)
        return -ENAMETOOLONG;
    int r = tensors_open(path, &tensors);
    if (r >= 0)
        r = tensors_find(tensors, "landmarks", &reader.landmarks);
    if (r >= 0)
        r = check_tensor(&reader.landmarks, MESH_POINTS * 3, "F16");
    if (r >= 0)
        r = tensors_find(tensors, "blendshapes", &reader.blendshapes);
    if (r >= 0)
        r = check_tensor(&reader.blendshapes, BLENDSHAPES, "F16");
    FILE *file = NULL;
    if (r >= 0) {
        snprintf(path, sizeof(path), "%.4000s/%s.jsonl", folder, name);
        file = fopen(path, "re");
        r = file ? 0 : -errno;
    }
    if (r >= 0)
        r = read_lines(&reader, file, set);
    if (file)
        fclose(file);
    tensors_close(tensors);
    if (r < 0 && !*message)
        snprintf(message, FACE_SET_MESSAGE_SIZE, "%.300s: %s", path, strerror(-r));
    return r;
}
