// Loads the portraits' landmarks; the pictures themselves are read when they are needed.
#include "train/render/photo.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/fold.h"
#include "train/mp68.h"
#include "train/render/tensors.h"

#define MESH_POINTS  478 // of the landmark file: mesh and irises
#define LINE_BYTES   4096
#define PULL_NEAR_CM 0.7f // how local the pull is
#define PULL_FADE_CM 3.0f // beyond this from every point a vertex stays

static void read_point(const uint16_t *half, float ret_point[2])
{
    for (int k = 0; k < 2; k++) {
        uint16_t h;
        memcpy(&h, half + k, sizeof(h));
        ret_point[k] = float_from_half(h);
    }
}

// One line of NAME.jsonl; 1 when the picture may be used.
static int read_line(const char *dir, const char *name, const char *line, const struct tensor *landmarks, size_t row,
                     struct photo *out)
{
    cJSON *json = cJSON_Parse(line);
    const char *id = cJSON_GetStringValue(cJSON_GetObjectItem(json, "id"));
    double scale = cJSON_GetNumberValue(cJSON_GetObjectItem(json, "scale"));
    const uint16_t *half = (const uint16_t *)landmarks->data + row * MESH_POINTS * 3;
    int used = 0;

    if (id && strlen(id) < 32 && scale > 0 && !fold_is_held_out(id)) {
        snprintf(out->path, sizeof(out->path), "%s/%s/%s.jpg", dir, name, id);
        strcpy(out->id, id);
        out->scale = (float)scale;
        out->grey = cJSON_IsTrue(cJSON_GetObjectItem(json, "grey"));
        for (int p = 0; p < PHOTO_POINTS; p++)
            read_point(half + 3 * p, out->point[p]);
        read_point(half + 3 * MP_IRIS_RIGHT, out->iris[0]);
        read_point(half + 3 * MP_IRIS_LEFT, out->iris[1]);
        used = 1;
    }
    cJSON_Delete(json);
    return id ? used : -EBADMSG;
}

static int load_folder(const char *dir, const char *name, struct photo_set *set)
{
    char path[4096], line[LINE_BYTES];
    struct tensors *t = NULL;
    struct tensor landmarks;
    struct photo *grown;
    size_t row = 0;
    FILE *f;
    int r;

    snprintf(path, sizeof(path), "%s/%s.safetensors", dir, name);
    r = tensors_open(path, &t);
    r = r < 0 ? r : tensors_find(t, "landmarks", &landmarks);
    if (r == 0 && (landmarks.dims != 3 || landmarks.shape[1] != MESH_POINTS || landmarks.shape[2] != 3 ||
                   strcmp(landmarks.dtype, "F16") != 0))
        r = -EBADMSG;
    snprintf(path, sizeof(path), "%s/%s.jsonl", dir, name);
    f = r < 0 ? NULL : fopen(path, "re");
    if (!f) {
        r = r < 0 ? r : -errno;
        tensors_close(t);
        return r;
    }
    grown = realloc(set->photo, (set->count + landmarks.shape[0]) * sizeof(*grown));
    r = grown ? 0 : -ENOMEM;
    set->photo = grown ? grown : set->photo;
    while (r >= 0 && row < landmarks.shape[0] && fgets(line, sizeof(line), f)) {
        r = read_line(dir, name, line, &landmarks, row++, &set->photo[set->count]);
        if (r > 0)
            set->count++;
    }
    if (r >= 0 && row != landmarks.shape[0])
        r = -EBADMSG;
    fclose(f);
    tensors_close(t);
    return r < 0 ? r : 0;
}

static void make_pull(const struct head *head, uint32_t v, struct photo_pull *out)
{
    const struct facekit *kit = head->kit;
    float near[PHOTO_NEIGHBOURS], sum = 0, fade;

    for (int k = 0; k < PHOTO_NEIGHBOURS; k++)
        near[k] = 1e9f;
    for (int p = 0; p < PHOTO_POINTS; p++) {
        v3 gap = v3_sub(kit->neutral[v], kit->neutral[kit->mp[p]]);
        float d = v3_dot(gap, gap);
        int k = PHOTO_NEIGHBOURS - 1;
        if (d >= near[k])
            continue;
        for (; k > 0 && near[k - 1] > d; k--) {
            near[k] = near[k - 1];
            out->point[k] = out->point[k - 1];
        }
        near[k] = d;
        out->point[k] = (uint16_t)p;
    }
    fade = expf(-near[0] / (PULL_FADE_CM * PULL_FADE_CM));
    for (int k = 0; k < PHOTO_NEIGHBOURS; k++) {
        out->weight[k] =
            1 / (near[k] + 0.02f * PULL_NEAR_CM) * expf(-(near[k] - near[0]) / (2 * PULL_NEAR_CM * PULL_NEAR_CM));
        sum += out->weight[k];
    }
    for (int k = 0; k < PHOTO_NEIGHBOURS; k++)
        out->weight[k] *= fade / sum;
}

int photo_set_load(const char *dir, const struct head *head, struct photo_set *ret_set)
{
    struct photo_set set = {0};
    int r = load_folder(dir, "portraits", &set);

    if (r == 0) {
        r = load_folder(dir, "portraits_hd", &set);
        r = r == -ENOENT ? 0 : r;
    }
    if (r == 0 && set.count == 0)
        r = -ENODATA;
    if (r == 0) {
        set.pull = malloc(head->vertices * sizeof(*set.pull));
        r = set.pull ? 0 : -ENOMEM;
    }
    if (r < 0) {
        photo_set_free(&set);
        return r;
    }
    for (uint32_t v = 0; v < head->vertices; v++)
        make_pull(head, v, &set.pull[v]);
    *ret_set = set;
    return 0;
}

void photo_set_free(struct photo_set *set)
{
    free(set->photo);
    free(set->pull);
    memset(set, 0, sizeof(*set));
}
