// Head pose from landmarks: see pnp.h.
#include "vision/pnp.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define MAX_ITERATIONS      30
#define DEFAULT_HUBER       1.5
#define DEFAULT_NOISE_SHARE 0.04
// Nearer than this to the camera's plane a point has no image.
#define MIN_DEPTH_MM 1.0

struct pose {
    struct mat3 rotation;
    struct vec3 translation;
};

// The points that take part. `dims` is 6 (translation, then rotation about the camera's axes) or 3 (translation alone).
struct problem {
    const struct camera *camera;
    struct vec3 model[PNP_MAX_POINTS];
    struct point image[PNP_MAX_POINTS];
    double weight[PNP_MAX_POINTS];
    int count, dims;
    double noise_px, huber;
    const struct pnp_prior *prior;
};

struct normal_equations {
    double a[6][6], b[6]; // J^T W J and -J^T W r
    double cost;          // robust, with the prior; infinite when a point is behind the camera
    double squares_px, weights;
};

static int problem_make(const struct camera *camera, const struct vec3 *model_mm, const struct point *points_px,
                        const float *confidence, int count, const struct pnp_options *options, int dims,
                        struct problem *p)
{
    if (count < 0 || count > PNP_MAX_POINTS || !(options->noise_px > 0) || !(options->huber >= 0) ||
        !(camera->fx > 0) || !(camera->fy > 0) || (options->prior && !(options->prior->sigma_rad > 0)))
        return -EINVAL;
    p->camera = camera;
    p->count = 0;
    p->dims = dims;
    p->noise_px = options->noise_px;
    p->huber = options->huber > 0 ? options->huber : DEFAULT_HUBER;
    p->prior = dims == 6 ? options->prior : NULL;
    for (int i = 0; i < count; i++) {
        double weight = confidence ? confidence[i] : 1;
        if (!(weight > 0) || !isfinite(weight) || !isfinite(points_px[i].x) || !isfinite(points_px[i].y))
            continue;
        p->model[p->count] = model_mm[i];
        p->image[p->count] = points_px[i];
        p->weight[p->count++] = weight;
    }
    int needed = dims == 3 ? 2 : p->prior ? 3 : 4;
    return p->count < needed ? -ENODATA : 0;
}

// Adds one residual with its row of the Jacobian.
static void add_row(struct normal_equations *n, int dims, const double *row, double residual, double weight)
{
    for (int i = 0; i < dims; i++) {
        for (int j = 0; j < dims; j++)
            n->a[i][j] += weight * row[i] * row[j];
        n->b[i] -= weight * row[i] * residual;
    }
}

static void add_prior(const struct problem *p, const struct pose *pose, struct normal_equations *n)
{
    struct mat3 known = mat3_transpose(&p->prior->rotation);
    struct mat3 turn = mat3_mul(&pose->rotation, &known);
    struct vec3 v = rotation_to_vector(&turn);
    double off[3] = {v.x, v.y, v.z}, weight = 1 / (p->prior->sigma_rad * p->prior->sigma_rad);
    for (int i = 0; i < 3; i++) {
        double row[6] = {0};
        row[3 + i] = 1; // near the prior the turn adds up to first order
        add_row(n, 6, row, off[i], weight);
        n->cost += 0.5 * weight * off[i] * off[i];
    }
}

// Cost and normal equations at a pose. Residuals are in units of the noise; a Huber weight lowers those beyond `huber`.
static void build(const struct problem *p, const struct pose *pose, struct normal_equations *n)
{
    memset(n, 0, sizeof(*n));
    for (int i = 0; i < p->count; i++) {
        struct vec3 turned = mat3_apply(&pose->rotation, p->model[i]);
        struct vec3 q = vec3_add(turned, pose->translation);
        if (!(q.z > MIN_DEPTH_MM)) {
            n->cost = INFINITY;
            return;
        }
        double ex = p->camera->fx * q.x / q.z + p->camera->cx - p->image[i].x;
        double ey = p->camera->fy * q.y / q.z + p->camera->cy - p->image[i].y;
        double size = hypot(ex, ey) / p->noise_px;
        double robust = size <= p->huber ? 1 : p->huber / size;
        double loss = size <= p->huber ? 0.5 * size * size : p->huber * (size - 0.5 * p->huber);
        double weight = p->weight[i] * robust / (p->noise_px * p->noise_px);
        double gx = p->camera->fx / q.z, gy = p->camera->fy / q.z;
        // d(image)/dq times dq/d(t, w): dq/dt = I, dq/dw = -[turned]x.
        double hx = -gx * q.x / q.z, hy = -gy * q.y / q.z;
        double row_x[6] = {gx, 0, hx, hx * turned.y, gx * turned.z - hx * turned.x, -gx * turned.y};
        double row_y[6] = {0, gy, hy, hy * turned.y - gy * turned.z, -hy * turned.x, gy * turned.x};
        add_row(n, p->dims, row_x, ex, weight);
        add_row(n, p->dims, row_y, ey, weight);
        n->cost += p->weight[i] * loss;
        n->squares_px += p->weight[i] * (ex * ex + ey * ey);
        n->weights += p->weight[i];
    }
    if (p->prior)
        add_prior(p, pose, n);
}

// Cholesky of the leading dims x dims block into `l` (lower); false when it is not positive definite.
static bool factorise(const double a[6][6], int dims, double l[6][6])
{
    for (int i = 0; i < dims; i++)
        for (int j = 0; j <= i; j++) {
            double sum = a[i][j];
            for (int k = 0; k < j; k++)
                sum -= l[i][k] * l[j][k];
            if (i == j && !(sum > 0))
                return false;
            l[i][j] = i == j ? sqrt(sum) : sum / l[j][j];
        }
    return true;
}

static void solve_factored(const double l[6][6], int dims, const double *b, double *x)
{
    for (int i = 0; i < dims; i++) {
        x[i] = b[i];
        for (int k = 0; k < i; k++)
            x[i] -= l[i][k] * x[k];
        x[i] /= l[i][i];
    }
    for (int i = dims - 1; i >= 0; i--) {
        for (int k = i + 1; k < dims; k++)
            x[i] -= l[k][i] * x[k];
        x[i] /= l[i][i];
    }
}

static struct pose stepped(const struct pose *pose, const double *step, int dims)
{
    struct pose next = *pose;
    next.translation = vec3_add(pose->translation, vec3_make(step[0], step[1], step[2]));
    if (dims == 6) {
        struct mat3 turn = rotation_from_vector(vec3_make(step[3], step[4], step[5]));
        next.rotation = mat3_mul(&turn, &pose->rotation);
    }
    return next;
}

// Levenberg-Marquardt from `pose`; returns the iterations used and leaves the normal equations of the final pose in
// `n`.
static int refine(const struct problem *p, struct pose *pose, struct normal_equations *n)
{
    double damping = 1e-3;
    int iteration = 0;
    build(p, pose, n);
    for (; iteration < MAX_ITERATIONS && isfinite(n->cost) && damping < 1e9; iteration++) {
        double damped[6][6], l[6][6] = {{0}}, step[6] = {0};
        memcpy(damped, n->a, sizeof(damped));
        for (int i = 0; i < p->dims; i++)
            damped[i][i] += damping * n->a[i][i] + 1e-12;
        if (!factorise(damped, p->dims, l)) {
            damping *= 10;
            continue;
        }
        solve_factored(l, p->dims, n->b, step);
        struct pose next = stepped(pose, step, p->dims);
        struct normal_equations there;
        build(p, &next, &there);
        if (!(there.cost < n->cost)) {
            if (fabs(there.cost - n->cost) <= 1e-12 * n->cost)
                break;
            damping *= 10;
            continue;
        }
        double gain = n->cost - there.cost;
        *pose = next;
        *n = there;
        damping = fmax(damping / 10, 1e-9);
        if (gain < 1e-10 * n->cost)
            break;
    }
    return iteration;
}

// Translation for a rotation by scaled orthography: the ratio of spreads gives the depth, which is positive for any
// input.
static bool place(const struct problem *p, const struct mat3 *rotation, struct vec3 *ret_translation)
{
    double sum = 0, mx = 0, my = 0, mz = 0, ix = 0, iy = 0, model_spread = 0, image_spread = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < p->count; i++) {
            struct vec3 q = mat3_apply(rotation, p->model[i]);
            double w = p->weight[i];
            double x = (p->image[i].x - p->camera->cx) / p->camera->fx;
            double y = (p->image[i].y - p->camera->cy) / p->camera->fy;
            if (pass == 0) {
                sum += w;
                mx += w * q.x;
                my += w * q.y;
                mz += w * q.z;
                ix += w * x;
                iy += w * y;
                continue;
            }
            model_spread += w * ((q.x - mx / sum) * (q.x - mx / sum) + (q.y - my / sum) * (q.y - my / sum));
            image_spread += w * ((x - ix / sum) * (x - ix / sum) + (y - iy / sum) * (y - iy / sum));
        }
    double depth = sqrt(model_spread / image_spread);
    if (!isfinite(depth) || !(depth > 0))
        return false;
    *ret_translation = vec3_make(ix / sum * depth - mx / sum, iy / sum * depth - my / sum, depth - mz / sum);
    return true;
}

// Rotation by scaled orthography (POS, DeMenthon and Davis 1995): the affine map from model to image by least squares,
// its two rows made orthonormal. False for a flat or degenerate model.
static bool orthographic_rotation(const struct problem *p, struct mat3 *ret_rotation)
{
    struct vec3 mean = {0, 0, 0};
    double sum = 0, ix = 0, iy = 0;
    for (int i = 0; i < p->count; i++) {
        double w = p->weight[i];
        sum += w;
        mean = vec3_add(mean, vec3_scale(p->model[i], w));
        ix += w * p->image[i].x;
        iy += w * p->image[i].y;
    }
    mean = vec3_scale(mean, 1 / sum);
    struct mat3 moments = {0}, inverse;
    struct vec3 bx = {0, 0, 0}, by = {0, 0, 0};
    for (int i = 0; i < p->count; i++) {
        struct vec3 q = vec3_sub(p->model[i], mean);
        double e[3] = {q.x, q.y, q.z}, w = p->weight[i];
        for (int j = 0; j < 9; j++)
            moments.m[j / 3][j % 3] += w * e[j / 3] * e[j % 3];
        bx = vec3_add(bx, vec3_scale(q, w * (p->image[i].x - ix / sum) / p->camera->fx));
        by = vec3_add(by, vec3_scale(q, w * (p->image[i].y - iy / sum) / p->camera->fy));
    }
    if (mat3_invert(&moments, &inverse) < 0)
        return false;
    struct vec3 r0 = vec3_unit(mat3_apply(&inverse, bx)), r1 = vec3_unit(mat3_apply(&inverse, by));
    struct vec3 normal = vec3_cross(r0, r1);
    if (!(vec3_length(normal) > 1e-3))
        return false;
    // Symmetric: both rows give way by the same angle.
    struct vec3 half = vec3_unit(vec3_add(r0, r1)), side = vec3_unit(vec3_sub(r0, r1));
    r0 = vec3_unit(vec3_add(half, side));
    r1 = vec3_unit(vec3_sub(half, side));
    *ret_rotation = mat3_from_rows(r0, r1, vec3_cross(r0, r1));
    return true;
}

// Standard deviations of the six parameters: the diagonal of the inverse information. When the points fit worse than
// their noise says (reduced chi-square above 1), they know that much less; the prior stays what it is.
static void find_sigmas(const struct problem *p, const struct normal_equations *n, double sigma[6])
{
    double known = p->prior ? 1 / (p->prior->sigma_rad * p->prior->sigma_rad) : 0;
    double freedom = fmax(2 * p->count + (p->prior ? 3 : 0) - p->dims, 1);
    double excess = fmax(1, n->squares_px / (p->noise_px * p->noise_px) / freedom);
    double information[6][6], l[6][6] = {{0}};
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++) {
            double prior = i == j && i >= 3 ? known : 0;
            information[i][j] = (n->a[i][j] - prior) / excess + prior;
        }
    bool fixed = factorise(information, p->dims, l);
    for (int i = 0; i < 6; i++) {
        double unit[6] = {0}, column[6];
        sigma[i] = i < p->dims ? INFINITY : 0;
        if (!fixed || i >= p->dims)
            continue;
        unit[i] = 1;
        solve_factored(l, p->dims, unit, column);
        sigma[i] = sqrt(column[i]);
    }
}

static void fill_result(const struct problem *p, const struct pose *pose, const struct normal_equations *n,
                        int iterations, struct pnp_result *ret_result)
{
    double sigma[6];
    find_sigmas(p, n, sigma);
    *ret_result = (struct pnp_result){
        .rotation = pose->rotation,
        .translation_mm = pose->translation,
        .rms_px = sqrt(n->squares_px / n->weights),
        .rotation_sigma = vec3_make(sigma[3], sigma[4], sigma[5]),
        .translation_sigma_mm = vec3_make(sigma[0], sigma[1], sigma[2]),
        .iterations = iterations,
    };
}

int pnp_solve(const struct camera *camera, const struct vec3 *model_mm, const struct point *points_px,
              const float *confidence, int count, const struct pnp_options *options, struct pnp_result *ret_result)
{
    struct problem p;
    int r = problem_make(camera, model_mm, points_px, confidence, count, options, 6, &p);
    if (r < 0)
        return r;
    struct mat3 starts[3] = {mat3_identity()};
    int n_starts = 1, iterations = 0;
    if (orthographic_rotation(&p, &starts[n_starts]))
        n_starts++;
    if (p.prior)
        starts[n_starts++] = p.prior->rotation;
    struct normal_equations best = {.cost = INFINITY};
    struct pose best_pose = {0};
    for (int i = 0; i < n_starts; i++) {
        struct pose pose = {.rotation = starts[i]};
        struct normal_equations n;
        if (!place(&p, &pose.rotation, &pose.translation))
            continue;
        iterations += refine(&p, &pose, &n);
        if (n.cost < best.cost) {
            best = n;
            best_pose = pose;
        }
    }
    if (!isfinite(best.cost))
        return -EDOM;
    fill_result(&p, &best_pose, &best, iterations, ret_result);
    return 0;
}

int pnp_solve_translation(const struct camera *camera, const struct vec3 *model_mm, const struct point *points_px,
                          const float *confidence, int count, const struct mat3 *rotation,
                          const struct pnp_options *options, struct pnp_result *ret_result)
{
    struct problem p;
    struct normal_equations n;
    struct pose pose = {.rotation = *rotation};
    int r = problem_make(camera, model_mm, points_px, confidence, count, options, 3, &p);
    if (r < 0)
        return r;
    if (!place(&p, rotation, &pose.translation))
        return -EDOM;
    int iterations = refine(&p, &pose, &n);
    if (!isfinite(n.cost))
        return -EDOM;
    fill_result(&p, &pose, &n, iterations, ret_result);
    return 0;
}

// The caller's confidences times the rigid weights, and the noise in pixels.
static int face_options(const struct point landmarks[FACE_LANDMARKS], const float *confidence, double noise_share,
                        float weights[FACE_LANDMARKS], struct pnp_options *options)
{
    double interocular = face_interocular_px(landmarks);
    if (!(noise_share >= 0))
        return -EINVAL;
    if (!(interocular > 0) || !isfinite(interocular))
        return -EDOM;
    for (int i = 0; i < FACE_LANDMARKS; i++)
        weights[i] = face_rigid_weight[i] * (confidence ? confidence[i] : 1);
    options->noise_px = interocular * (noise_share > 0 ? noise_share : DEFAULT_NOISE_SHARE);
    return 0;
}

int pnp_face(const struct camera *camera, const struct point landmarks[FACE_LANDMARKS], const float *confidence,
             double noise_share, const struct pnp_prior *prior, struct pnp_result *ret_result)
{
    float weights[FACE_LANDMARKS];
    struct pnp_options options = {.prior = prior};
    int r = face_options(landmarks, confidence, noise_share, weights, &options);
    if (r < 0)
        return r;
    return pnp_solve(camera, face_shape_mm, landmarks, weights, FACE_LANDMARKS, &options, ret_result);
}

int pnp_face_translation(const struct camera *camera, const struct point landmarks[FACE_LANDMARKS],
                         const float *confidence, double noise_share, const struct mat3 *rotation,
                         struct pnp_result *ret_result)
{
    float weights[FACE_LANDMARKS];
    struct pnp_options options = {0};
    int r = face_options(landmarks, confidence, noise_share, weights, &options);
    if (r < 0)
        return r;
    return pnp_solve_translation(camera, face_shape_mm, landmarks, weights, FACE_LANDMARKS, rotation, &options,
                                 ret_result);
}
