// Fits the head to a photograph's mesh points: pose by Gauss-Newton, then identity and expression by regularised least
// squares on the linearised projection, in turns. 3D morphable model fitting after Blanz and Vetter (SIGGRAPH 1999).
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "train/render/photo.h"

#define MODES        40 // identity modes that 468 points can tell
#define SHAPES_MAX   48
#define UNKNOWNS     (MODES + SHAPES_MAX)
#define ROUNDS       5
#define POSE_STEPS   6
#define NOISE_CM     0.10f // of a good point
#define SHAPE_SD     0.30f // of expression weights
#define FACE_WIDE_MM 145.0 // extent of the mesh points on a mean face
#define FACE_TALL_MM 165.0

struct fit {
    const struct head *head;
    const struct photo *photo;
    struct photo_fit *out;
    float weight[PHOTO_POINTS]; // of a point
    v3 position[PHOTO_POINTS];  // FaceKit frame, cm
    int shapes, shape[SHAPES_MAX];
    v3 delta[SHAPES_MAX][PHOTO_POINTS];
    double normal[UNKNOWNS][UNKNOWNS], right[UNKNOWNS];
};

// Solves a symmetric positive definite system in place; the solution replaces b. -EDOM when it is not.
static int solve(double *a, double *b, int n, int stride)
{
    for (int j = 0; j < n; j++) {
        for (int k = 0; k < j; k++)
            a[j * stride + j] -= a[j * stride + k] * a[j * stride + k];
        if (!(a[j * stride + j] > 1e-12))
            return -EDOM;
        a[j * stride + j] = sqrt(a[j * stride + j]);
        for (int i = j + 1; i < n; i++) {
            for (int k = 0; k < j; k++)
                a[i * stride + j] -= a[i * stride + k] * a[j * stride + k];
            a[i * stride + j] /= a[j * stride + j];
        }
    }
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < i; k++)
            b[i] -= a[i * stride + k] * b[k];
        b[i] /= a[i * stride + i];
    }
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++)
            b[i] -= a[k * stride + i] * b[k];
        b[i] /= a[i * stride + i];
    }
    return 0;
}

static struct vec3 turned(const struct fit *f, v3 p)
{
    return mat3_apply(&f->out->head, vec3_make(10 * (double)p.x, -10 * (double)p.y, -10 * (double)p.z));
}

static int compare_u32(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

// Shapes that a still face's points can tell from identity and pose.
static void choose_shapes(struct fit *f)
{
    static const char *const left_out[] = {"eyeLook", "Pupil", "cheekRaiser", "cheekPuff", "jawForward", "noseSneer"};
    const struct facekit *kit = f->head->kit;

    for (int e = 0; e < FK_EXPRESSIONS && f->shapes < SHAPES_MAX; e++) {
        const struct fk_shape *s = &kit->expression[e];
        int keep = 1;
        for (size_t k = 0; k < sizeof(left_out) / sizeof(*left_out); k++)
            keep &= strncmp(kit->expression_name[e], left_out[k], strlen(left_out[k])) != 0;
        if (!keep)
            continue;
        for (int p = 0; p < PHOTO_POINTS; p++) {
            uint32_t vertex = (uint32_t)kit->mp[p];
            const uint32_t *at = s->count ? bsearch(&vertex, s->vertex, s->count, sizeof(vertex), compare_u32) : NULL;
            if (at)
                f->delta[f->shapes][p] = s->delta[at - s->vertex];
        }
        f->shape[f->shapes++] = e;
    }
}

static v3 mode_delta(const struct fit *f, int mode, int point)
{
    const struct facekit *kit = f->head->kit;
    return ((const v3 *)kit->identity)[(size_t)mode * kit->vertices + (size_t)kit->mp[point]];
}

static void update_positions(struct fit *f)
{
    for (int p = 0; p < PHOTO_POINTS; p++) {
        v3 x = f->head->kit->neutral[f->head->kit->mp[p]];
        for (int m = 0; m < MODES; m++)
            x = v3_mad(x, mode_delta(f, m, p), f->out->identity[m]);
        for (int s = 0; s < f->shapes; s++)
            x = v3_mad(x, f->delta[s][p], f->out->expression[f->shape[s]]);
        f->position[p] = x;
    }
}

// Residual of a point in pixels; -EDOM behind the camera.
static int residual(const struct fit *f, int p, struct vec3 *ret_camera, double ret_px[2])
{
    struct vec3 c = vec3_add(turned(f, f->position[p]), f->out->shift_mm);

    if (c.z < 50)
        return -EDOM;
    ret_px[0] = (double)f->photo->point[p][0] - (f->out->camera.fx * c.x / c.z + f->out->camera.cx);
    ret_px[1] = (double)f->photo->point[p][1] - (f->out->camera.fy * c.y / c.z + f->out->camera.cy);
    *ret_camera = c;
    return 0;
}

static int step_pose(struct fit *f)
{
    double normal[6][6] = {{0}}, right[6] = {0};
    struct mat3 turn;
    int r;

    for (int p = 0; p < PHOTO_POINTS; p++) {
        struct vec3 c, q = turned(f, f->position[p]);
        double px[2], j[2][6], k, w = (double)f->weight[p];
        r = residual(f, p, &c, px);
        if (r < 0)
            return r;
        k = f->out->camera.fx / c.z;
        // d(u, v) / d camera point, times d point / d (turn, shift): d point = turn x q + shift
        for (int axis = 0; axis < 2; axis++) {
            struct vec3 g = axis ? vec3_make(0, k, -k * c.y / c.z) : vec3_make(k, 0, -k * c.x / c.z);
            struct vec3 t = vec3_cross(q, g);
            double row[6] = {t.x, t.y, t.z, g.x, g.y, g.z};
            memcpy(j[axis], row, sizeof(row));
        }
        for (int axis = 0; axis < 2; axis++)
            for (int a = 0; a < 6; a++) {
                right[a] += w * j[axis][a] * px[axis];
                for (int b = 0; b < 6; b++)
                    normal[a][b] += w * j[axis][a] * j[axis][b];
            }
    }
    r = solve(&normal[0][0], right, 6, 6);
    if (r < 0)
        return r;
    turn = rotation_from_vector(vec3_make(right[0], right[1], right[2]));
    f->out->head = mat3_mul(&turn, &f->out->head);
    f->out->shift_mm = vec3_add(f->out->shift_mm, vec3_make(right[3], right[4], right[5]));
    return 0;
}

static void add_rows(struct fit *f, int p, int n)
{
    float column[UNKNOWNS][2];
    struct vec3 c;
    double px[2], k, w;

    if (f->weight[p] == 0 || residual(f, p, &c, px) < 0)
        return;
    k = 10 * f->out->camera.fx / c.z; // pixels per cm
    w = (double)f->weight[p] / (k * k * (double)NOISE_CM * (double)NOISE_CM);
    for (int i = 0; i < n; i++) {
        v3 d = i < MODES ? mode_delta(f, i, p) : f->delta[i - MODES][p];
        struct vec3 q = vec3_scale(turned(f, d), 0.1);
        column[i][0] = (float)(k * (q.x - q.z * c.x / c.z));
        column[i][1] = (float)(k * (q.y - q.z * c.y / c.z));
    }
    for (int i = 0; i < n; i++) {
        double a = w * (double)column[i][0], b = w * (double)column[i][1];
        f->right[i] += a * px[0] + b * px[1];
        for (int j = 0; j <= i; j++)
            f->normal[i][j] += a * (double)column[j][0] + b * (double)column[j][1];
    }
}

static int step_shape(struct fit *f)
{
    int n = MODES + f->shapes, r;

    memset(f->normal, 0, sizeof(f->normal));
    memset(f->right, 0, sizeof(f->right));
    for (int p = 0; p < PHOTO_POINTS; p++)
        add_rows(f, p, n);
    for (int i = 0; i < n; i++) {
        double now = (double)(i < MODES ? f->out->identity[i] : f->out->expression[f->shape[i - MODES]]);
        double tight = i < MODES ? 1 : 1 / ((double)SHAPE_SD * (double)SHAPE_SD);
        f->normal[i][i] += tight;
        f->right[i] -= tight * now;
    }
    r = solve(&f->normal[0][0], f->right, n, UNKNOWNS);
    if (r < 0)
        return r;
    for (int i = 0; i < n; i++) {
        float *w = i < MODES ? &f->out->identity[i] : &f->out->expression[f->shape[i - MODES]];
        *w = clampf(*w + (float)f->right[i], i < MODES ? -3 : -0.15f, i < MODES ? 3 : 1);
    }
    return 0;
}

// What is left, as displacements across the line of sight at the point's depth.
static int keep_residual(struct fit *f)
{
    double sum = 0, weight = 0;

    for (int p = 0; p < PHOTO_POINTS; p++) {
        struct vec3 c, d;
        double px[2];
        if (residual(f, p, &c, px) < 0)
            return -EDOM;
        d = vec3_make(px[0] * c.z / f->out->camera.fx, px[1] * c.z / f->out->camera.fy, 0);
        d = mat3_apply_transposed(&f->out->head, d);
        f->out->residual[p] = v3_make((float)d.x / 10, -(float)d.y / 10, -(float)d.z / 10);
        sum += (double)f->weight[p] * (px[0] * px[0] + px[1] * px[1]);
        weight += (double)f->weight[p];
    }
    f->out->rms_px = (float)sqrt(sum / weight);
    return 0;
}

static void first_guess(struct fit *f, int width, int height, double distance_mm, const double off_axis[2])
{
    float x0 = 1e9f, x1 = -1e9f, y0 = 1e9f, y1 = -1e9f;
    double px_per_mm, focal;

    for (int p = 0; p < PHOTO_POINTS; p++) {
        x0 = minf(x0, f->photo->point[p][0]);
        x1 = maxf(x1, f->photo->point[p][0]);
        y0 = minf(y0, f->photo->point[p][1]);
        y1 = maxf(y1, f->photo->point[p][1]);
        // silhouette points are no true surface points (facekit_points.c)
        f->weight[p] = f->head->kit->mp_spread[p] < 0.2f ? 1 : f->head->kit->mp_spread[p] < 0.35f ? 0.6f : 0.15f;
    }
    px_per_mm = fmax((double)(x1 - x0) / FACE_WIDE_MM, (double)(y1 - y0) / FACE_TALL_MM);
    focal = px_per_mm * distance_mm;
    f->out->camera =
        (struct camera){focal, focal, 0.5 * width - off_axis[0] * focal, 0.5 * height - off_axis[1] * focal};
    f->out->head = mat3_identity();
    // the head's origin lies some 100 mm behind the face
    f->out->shift_mm =
        vec3_scale(camera_ray(&f->out->camera, (struct point){0.5f * (x0 + x1), 0.5f * (y0 + y1)}), distance_mm + 100);
}

int photo_fit(const struct head *head, const struct photo *photo, int width, int height, double distance_mm,
              const double off_axis[2], struct photo_fit *ret_fit)
{
    struct fit *f = calloc(1, sizeof(*f));
    int r = 0;

    if (!f)
        return -ENOMEM;
    memset(ret_fit, 0, sizeof(*ret_fit));
    f->head = head;
    f->photo = photo;
    f->out = ret_fit;
    choose_shapes(f);
    first_guess(f, width, height, distance_mm, off_axis);
    update_positions(f);
    for (int round = 0; round < ROUNDS && r == 0; round++) {
        for (int i = 0; i < POSE_STEPS && r == 0; i++)
            r = step_pose(f);
        r = r < 0 ? r : step_shape(f);
        update_positions(f);
    }
    for (int i = 0; i < POSE_STEPS && r == 0; i++)
        r = step_pose(f);
    r = r < 0 ? r : keep_residual(f);
    free(f);
    return r;
}
