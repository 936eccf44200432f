// Loads the morphable head: tensors, part ranges, sparse expressions, and how the eyeballs follow the identity.
#include "train/render/facekit.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/render/tensors.h"

#define JSON_MAX_BYTES (4 << 20)
// Displacements below this (cm) are float16 noise.
#define DELTA_MIN_CM 1e-4f

static const char *const part_names[FK_PARTS] = {
    [FK_FACE] = "Face",
    [FK_HEAD] = "Head and Neck",
    [FK_MOUTH] = "Mouth socket",
    [FK_SOCKET_LEFT] = "Eye socket left",
    [FK_SOCKET_RIGHT] = "Eye socket right",
    [FK_GUMS] = "Gums and tongue",
    [FK_TEETH] = "Teeth",
    [FK_EYEBALL_LEFT] = "Eyeball left",
    [FK_EYEBALL_RIGHT] = "Eyeball right",
    [FK_LASHES_LEFT] = "Eyelashes left",
    [FK_LASHES_RIGHT] = "Eyelashes right",
};

static int json_load(const char *path, cJSON **ret_json)
{
    FILE *f = fopen(path, "re");
    char *text;
    size_t n;

    if (!f)
        return -errno;
    text = malloc(JSON_MAX_BYTES);
    if (!text) {
        fclose(f);
        return -ENOMEM;
    }
    n = fread(text, 1, JSON_MAX_BYTES, f);
    fclose(f);
    *ret_json = cJSON_ParseWithLength(text, n);
    free(text);
    return *ret_json ? 0 : -EBADMSG;
}

// A [first, end) pair within `limit`.
static int json_range(const cJSON *range, size_t limit, uint32_t *ret_first, uint32_t *ret_end)
{
    double first = cJSON_GetNumberValue(cJSON_GetArrayItem(range, 0));
    double end = cJSON_GetNumberValue(cJSON_GetArrayItem(range, 1));

    if (!(first >= 0 && end > first && end <= (double)limit))
        return -EBADMSG;
    *ret_first = (uint32_t)first;
    *ret_end = (uint32_t)end;
    return 0;
}

static int read_json(struct facekit *kit, const cJSON *json)
{
    const cJSON *counts = cJSON_GetObjectItem(json, "counts"), *parts = cJSON_GetObjectItem(json, "parts"), *part;
    const cJSON *names = cJSON_GetObjectItem(json, "expression_names");
    double vertices = cJSON_GetNumberValue(cJSON_GetObjectItem(counts, "vertices"));
    double quads = cJSON_GetNumberValue(cJSON_GetObjectItem(counts, "polygons"));
    double uvs = cJSON_GetNumberValue(cJSON_GetObjectItem(counts, "uv"));
    int found = 0;

    if (!(vertices > 0 && vertices < 1e6 && quads > 0 && quads < 1e6 && uvs > 0 && uvs < 1e6))
        return -EBADMSG;
    if (cJSON_GetArraySize(names) != FK_EXPRESSIONS)
        return -EBADMSG;
    kit->vertices = (size_t)vertices;
    kit->quads = (size_t)quads;
    kit->uvs = (size_t)uvs;
    for (int i = 0; i < FK_EXPRESSIONS; i++) {
        const char *name = cJSON_GetStringValue(cJSON_GetArrayItem(names, i));
        if (!name || strlen(name) >= sizeof(kit->expression_name[i]))
            return -EBADMSG;
        strcpy(kit->expression_name[i], name);
    }
    cJSON_ArrayForEach(part, parts)
    {
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItem(part, "name"));
        for (int p = 0; name && p < FK_PARTS; p++) {
            struct fk_part *dst = &kit->part[p];
            if (strcmp(name, part_names[p]) != 0)
                continue;
            if (json_range(cJSON_GetObjectItem(part, "vertices"), kit->vertices, &dst->vertex, &dst->vertex_end) < 0 ||
                json_range(cJSON_GetObjectItem(part, "polygons"), kit->quads, &dst->polygon, &dst->polygon_end) < 0)
                return -EBADMSG;
            found |= 1 << p;
        }
    }
    return found == (1 << FK_PARTS) - 1 ? 0 : -EBADMSG;
}

static int check_indices(const int32_t *index, size_t count, size_t limit, int32_t low)
{
    for (size_t i = 0; i < count; i++)
        if (index[i] < low || index[i] >= (int64_t)limit)
            return -EBADMSG;
    return 0;
}

static int read_tensors(struct facekit *kit, const struct tensors *t)
{
    float *neutral = NULL, *uv = NULL;
    int32_t *mp = NULL, *quad = NULL, *uv_quad = NULL;
    float *spread = NULL;
    int r = tensors_floats(t, "neutral", kit->vertices * 3, &neutral);

    kit->neutral = (v3 *)neutral;
    r = r < 0 ? r : tensors_floats(t, "identity", FK_IDENTITIES * kit->vertices * 3, &kit->identity);
    r = r < 0 ? r : tensors_ints(t, "quads", kit->quads * 4, &quad);
    kit->quad = (int32_t(*)[4])quad;
    r = r < 0 ? r : tensors_ints(t, "uv_quads", kit->quads * 4, &uv_quad);
    kit->uv_quad = (int32_t(*)[4])uv_quad;
    r = r < 0 ? r : tensors_floats(t, "uv", kit->uvs * 2, &uv);
    kit->uv = (float(*)[2])uv;
    r = r < 0 ? r : tensors_ints(t, "mediapipe468", FK_MP_POINTS, &mp);
    r = r < 0 ? r : tensors_floats(t, "mediapipe468_spread", FK_MP_POINTS, &spread);
    r = r < 0 ? r : check_indices(quad, kit->quads * 4, kit->vertices, -1);
    r = r < 0 ? r : check_indices(uv_quad, kit->quads * 4, kit->uvs, -1);
    r = r < 0 ? r : check_indices(mp, FK_MP_POINTS, kit->part[FK_FACE].vertex_end, 0);
    if (r == 0) {
        memcpy(kit->mp, mp, sizeof(kit->mp));
        memcpy(kit->mp_spread, spread, sizeof(kit->mp_spread));
        facekit_correct_points(kit->mp);
    }
    free(mp);
    free(spread);
    return r;
}

// Keeps of each expression the vertices that it moves.
static int make_sparse(struct facekit *kit, const float *dense)
{
    for (int e = 0; e < FK_EXPRESSIONS; e++) {
        const v3 *delta = (const v3 *)dense + (size_t)e * kit->vertices;
        struct fk_shape *shape = &kit->expression[e];
        size_t count = 0, n = 0;

        for (size_t v = 0; v < kit->vertices; v++)
            count += v3_dot(delta[v], delta[v]) > DELTA_MIN_CM * DELTA_MIN_CM;
        shape->vertex = malloc((count + 1) * sizeof(*shape->vertex));
        shape->delta = malloc((count + 1) * sizeof(*shape->delta));
        if (!shape->vertex || !shape->delta)
            return -ENOMEM;
        for (size_t v = 0; v < kit->vertices; v++) {
            if (v3_dot(delta[v], delta[v]) > DELTA_MIN_CM * DELTA_MIN_CM) {
                shape->vertex[n] = (uint32_t)v;
                shape->delta[n++] = delta[v];
            }
        }
        shape->count = count;
    }
    return 0;
}

// The rear half of the sclera is a sphere (the data's README); it moves with the mean of its vertices and grows with
// their mean radial displacement.
static void make_ball(struct facekit *kit, int side)
{
    const struct fk_part *p = &kit->part[side ? FK_EYEBALL_LEFT : FK_EYEBALL_RIGHT];
    struct fk_ball *b = &kit->ball[side];
    uint32_t end = p->vertex + (p->vertex_end - p->vertex) / 2; // sclera first, then iris
    int count = 0;

    b->centre = v3_make(side ? 3.10058625f : -3.10058625f, 3.60121674f, 7.86187355f);
    b->radius = 1.5187f;
    for (uint32_t v = p->vertex; v < end; v++)
        count += kit->neutral[v].z < b->centre.z;
    for (int m = 0; m < FK_IDENTITIES; m++) {
        const v3 *delta = (const v3 *)kit->identity + (size_t)m * kit->vertices;
        v3 sum = {0, 0, 0};
        float radial = 0;
        for (uint32_t v = p->vertex; v < end; v++)
            if (kit->neutral[v].z < b->centre.z)
                sum = v3_add(sum, delta[v]);
        sum = v3_mul(sum, 1.0f / (float)(count ? count : 1));
        for (uint32_t v = p->vertex; v < end; v++)
            if (kit->neutral[v].z < b->centre.z)
                radial += v3_dot(v3_sub(delta[v], sum), v3_unit(v3_sub(kit->neutral[v], b->centre)));
        b->centre_mode[m] = sum;
        b->radius_mode[m] = radial / (float)(count ? count : 1);
    }
}

int facekit_load(const char *dir, struct facekit **ret_kit)
{
    struct facekit *kit = calloc(1, sizeof(*kit));
    struct tensors *t = NULL;
    cJSON *json = NULL;
    float *dense = NULL;
    char path[4096];
    int r = -ENOMEM;

    if (!kit)
        return r;
    snprintf(path, sizeof(path), "%s/facekit.json", dir);
    r = json_load(path, &json);
    r = r < 0 ? r : read_json(kit, json);
    snprintf(path, sizeof(path), "%s/facekit.safetensors", dir);
    r = r < 0 ? r : tensors_open(path, &t);
    r = r < 0 ? r : read_tensors(kit, t);
    r = r < 0 ? r : tensors_floats(t, "expression", FK_EXPRESSIONS * kit->vertices * 3, &dense);
    r = r < 0 ? r : make_sparse(kit, dense);
    if (r == 0) {
        make_ball(kit, 0);
        make_ball(kit, 1);
        facekit_lift_lids(kit);
        *ret_kit = kit;
    } else {
        facekit_free(kit);
    }
    free(dense);
    cJSON_Delete(json);
    tensors_close(t);
    return r;
}

struct facekit *facekit_free(struct facekit *kit)
{
    if (kit) {
        for (int e = 0; e < FK_EXPRESSIONS; e++) {
            free(kit->expression[e].vertex);
            free(kit->expression[e].delta);
        }
        free(kit->neutral);
        free(kit->identity);
        free(kit->quad);
        free(kit->uv_quad);
        free(kit->uv);
        free(kit);
    }
    return NULL;
}

int facekit_expression(const struct facekit *kit, const char *name)
{
    for (int i = 0; i < FK_EXPRESSIONS; i++)
        if (!strcmp(kit->expression_name[i], name))
            return i;
    return -ENOENT;
}
