// The head as triangles: topology, identity, expression, normals, and how much of the sky each vertex sees.
#include "train/render/head.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "train/render/raster.h"

#define VIEWS        96
#define VIEW_SIDE_PX 192
#define VIEW_SPAN_CM 44.0f
#define VIEW_BIAS_CM 0.25f
#define GOLDEN_ANGLE 2.39996323f
#define SPHERE_AREA  12.5663706f

static const struct {
    enum fk_part_id part;
    enum head_material material;
} drawn[] = {
    {FK_FACE, HEAD_FACE},           {FK_HEAD, HEAD_SCALP}, {FK_MOUTH, HEAD_MOUTH}, {FK_SOCKET_LEFT, HEAD_SOCKET},
    {FK_SOCKET_RIGHT, HEAD_SOCKET}, {FK_GUMS, HEAD_GUMS},  {FK_TEETH, HEAD_TEETH},
};

void head_sh(v3 d, float ret_y[HEAD_SH])
{
    ret_y[0] = 0.282095f;
    ret_y[1] = 0.488603f * d.y;
    ret_y[2] = 0.488603f * d.z;
    ret_y[3] = 0.488603f * d.x;
    ret_y[4] = 1.092548f * d.x * d.y;
    ret_y[5] = 1.092548f * d.y * d.z;
    ret_y[6] = 0.315392f * (3.0f * d.z * d.z - 1.0f);
    ret_y[7] = 1.092548f * d.x * d.z;
    ret_y[8] = 0.546274f * (d.x * d.x - d.y * d.y);
}

static void add_triangles(struct head *head, uint32_t polygon, uint8_t material)
{
    const int32_t *q = head->kit->quad[polygon], *u = head->kit->uv_quad[polygon];

    for (int half = 0; half < (q[3] >= 0 ? 2 : 1); half++) {
        for (int c = 0; c < 3; c++) {
            int k = c == 0 ? 0 : c + half;
            head->triangle[head->triangles][c] = (uint32_t)q[k];
            head->triangle_uv[head->triangles][c] = (uint32_t)(u[k] >= 0 ? u[k] : 0);
            if ((uint32_t)q[k] >= head->vertices)
                head->vertices = (uint32_t)q[k] + 1;
        }
        head->material[head->triangles++] = material;
    }
}

static void look_around(struct head *head, struct raster *view, v3 *screen, const v3 *normal)
{
    float weight_sum = 0;

    for (int i = 0; i < VIEWS; i++) {
        float z = 1.0f - (2.0f * (float)i + 1.0f) / VIEWS, s = sqrtf(1.0f - z * z), turn = GOLDEN_ANGLE * (float)i;
        v3 d = v3_make(s * cosf(turn), s * sinf(turn), z);
        v3 side = v3_unit(v3_cross(fabsf(d.y) < 0.9f ? v3_make(0, 1, 0) : v3_make(1, 0, 0), d));
        v3 up = v3_cross(d, side);
        float y[HEAD_SH], scale = VIEW_SIDE_PX / VIEW_SPAN_CM;

        head_sh(d, y);
        for (uint32_t v = 0; v < head->vertices; v++) {
            v3 p = v3_sub(head->kit->neutral[v], v3_make(0, 0, 4));
            screen[v] = v3_make(VIEW_SIDE_PX * 0.5f + scale * v3_dot(p, side),
                                VIEW_SIDE_PX * 0.5f - scale * v3_dot(p, up), 100.0f + v3_dot(p, d));
        }
        raster_clear(view);
        raster_draw(view, screen, (const uint32_t(*)[3])head->triangle, 0, head->triangles, 1);
        for (uint32_t v = 0; v < head->vertices; v++) {
            float cosine = v3_dot(normal[v], d), seen = 0;
            int px = (int)screen[v].x, py = (int)screen[v].y;
            if (cosine > 0 && px >= 0 && py >= 0 && px < VIEW_SIDE_PX && py < VIEW_SIDE_PX) {
                float front = view->depth[py * VIEW_SIDE_PX + px];
                seen = 1.0f - smoothstepf(VIEW_BIAS_CM, 3 * VIEW_BIAS_CM, front - screen[v].z);
                head->open[v] += seen * cosine;
            }
            // below the horizon: the mirrored direction stands in, so that the fit has no cliff at the horizon
            for (int k = 0; k < HEAD_SH && cosine > 0; k++)
                head->visibility[v][k] += seen * y[k];
            if (cosine > 0) {
                float mirrored[HEAD_SH];
                head_sh(v3_mad(d, normal[v], -2.0f * cosine), mirrored);
                for (int k = 0; k < HEAD_SH; k++)
                    head->visibility[v][k] += seen * mirrored[k];
            }
        }
        weight_sum += maxf(0, z);
    }
    for (uint32_t v = 0; v < head->vertices; v++) {
        head->open[v] = clampf(head->open[v] / weight_sum, 0, 1);
        for (int k = 0; k < HEAD_SH; k++)
            head->visibility[v][k] *= SPHERE_AREA / VIEWS;
    }
}

int head_init(struct head *head, const struct facekit *kit)
{
    size_t limit = 2 * kit->quads;
    struct raster view = {0};
    v3 *screen = malloc(kit->vertices * sizeof(v3)), *normal = calloc(kit->vertices, sizeof(v3));
    int r = -ENOMEM;

    memset(head, 0, sizeof(*head));
    head->kit = kit;
    head->triangle = malloc(limit * sizeof(*head->triangle));
    head->triangle_uv = malloc(limit * sizeof(*head->triangle_uv));
    head->material = malloc(limit);
    head->visibility = calloc(kit->vertices, sizeof(*head->visibility));
    head->open = calloc(kit->vertices, sizeof(float));
    if (!screen || !normal || !head->triangle || !head->triangle_uv || !head->material || !head->visibility ||
        !head->open || raster_init(&view, VIEW_SIDE_PX, VIEW_SIDE_PX) < 0)
        goto out;
    for (size_t i = 0; i < sizeof(drawn) / sizeof(*drawn); i++) {
        const struct fk_part *part = &kit->part[drawn[i].part];
        if (drawn[i].part == FK_GUMS)
            head->inside_from = head->triangles;
        for (uint32_t p = part->polygon; p < part->polygon_end; p++)
            add_triangles(head, p, (uint8_t)drawn[i].material);
        if (drawn[i].part == FK_FACE)
            head->face_end = head->triangles;
    }
    head_normals(head, kit->neutral, normal);
    look_around(head, &view, screen, normal);
    r = 0;
out:
    raster_free(&view);
    free(screen);
    free(normal);
    if (r < 0)
        head_free(head);
    return r;
}

void head_free(struct head *head)
{
    free(head->triangle);
    free(head->triangle_uv);
    free(head->material);
    free(head->visibility);
    free(head->open);
    memset(head, 0, sizeof(*head));
}

void head_make_identity(const struct head *head, const float weights[FK_IDENTITIES], struct head_shape *shape)
{
    const struct facekit *kit = head->kit;
    size_t n = kit->vertices * 3;
    float *out = (float *)shape->vertex;

    memcpy(out, kit->neutral, n * sizeof(float));
    for (int m = 0; m < FK_IDENTITIES; m++) {
        const float *delta = kit->identity + (size_t)m * n;
        float w = weights[m];
        if (w == 0)
            continue;
        for (size_t i = 0; i < n; i++)
            out[i] += w * delta[i];
    }
    for (int side = 0; side < 2; side++) {
        shape->ball_centre[side] = kit->ball[side].centre;
        shape->ball_radius[side] = kit->ball[side].radius;
        for (int m = 0; m < FK_IDENTITIES; m++) {
            shape->ball_centre[side] = v3_mad(shape->ball_centre[side], kit->ball[side].centre_mode[m], weights[m]);
            shape->ball_radius[side] += weights[m] * kit->ball[side].radius_mode[m];
        }
    }
}

void head_add_expression(const struct head *head, const struct head_shape *shape, const float weights[FK_EXPRESSIONS],
                         v3 *out)
{
    memcpy(out, shape->vertex, head->kit->vertices * sizeof(v3));
    for (int e = 0; e < FK_EXPRESSIONS; e++) {
        const struct fk_shape *s = &head->kit->expression[e];
        float w = weights[e];
        if (w == 0)
            continue;
        for (size_t i = 0; i < s->count; i++)
            out[s->vertex[i]] = v3_mad(out[s->vertex[i]], s->delta[i], w);
    }
}

void head_normals(const struct head *head, const v3 *vertex, v3 *ret_normal)
{
    memset(ret_normal, 0, head->vertices * sizeof(v3));
    for (uint32_t i = 0; i < head->triangles; i++) {
        const uint32_t *t = head->triangle[i];
        v3 n = v3_cross(v3_sub(vertex[t[1]], vertex[t[0]]), v3_sub(vertex[t[2]], vertex[t[0]]));
        for (int c = 0; c < 3; c++)
            ret_normal[t[c]] = v3_add(ret_normal[t[c]], n);
    }
    for (uint32_t v = 0; v < head->vertices; v++)
        ret_normal[v] = v3_unit(ret_normal[v]);
}
