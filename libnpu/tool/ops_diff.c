/* ops_diff.c - gradients against finite differences: along directions where the result is smooth, in single elements
 * where it has kinks. What f32 leaves of noise is bounded by the size of the sum's terms.
 */
#include "libnpu/tool/ops_diff.h"

#include <stdlib.h>

#include "libnpu/rng.h"

enum { DIRECTIONS = 3, ELEMENTS = 4, SAMPLES = 32, SAMPLES_LARGE = 8, SLOPED = 8, STEPS = 3 };

int ops_diff_fail(struct ops_diff *d, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(d->why, sizeof d->why, fmt, ap);
    va_end(ap);
    return -EBADE;
}

static const char *name_of(const struct ops_diff *d, npu_val x)
{
    return npu_value_of(d->ref->graph, x)->name;
}

/* y for these n elements of x, to be freed; NULL with the reason written. */
static float *y_at(struct ops_diff *d, npu_val x, const float *xs, int64_t n)
{
    int64_t n_y;
    float *y;
    int r = ops_fill(d->ref);

    if (r == 0)
        r = npu_plan_write_val(d->ref, x, xs, (size_t)n * sizeof *xs);
    if (r == 0)
        r = npu_plan_run(d->ref);
    y = r == 0 ? ops_read(d->ref, d->y, &n_y) : NULL;
    if (!y)
        ops_diff_fail(d, "run: %s", r < 0 ? npu_plan_error(d->ref) : "the result can't be read");
    return y;
}

/* ---- smooth results ---- */

/* sum(proj y) with x = x0 + h dir, in double; *ret_size: sum |proj y|. */
static int loss_at(struct ops_diff *d, npu_val x, const float *x0, const float *dir, int64_t n, double h,
                   double *ret_loss, double *ret_size)
{
    float *xs = malloc((size_t)(n + 1) * sizeof *xs), *y;

    if (!xs)
        return ops_diff_fail(d, "out of memory");
    for (int64_t i = 0; i < n; i++)
        xs[i] = (float)(x0[i] + h * (double)dir[i]);
    y = y_at(d, x, xs, n);
    free(xs);
    if (!y)
        return -EBADE;
    *ret_loss = *ret_size = 0.0;
    for (int64_t i = 0; i < d->n_y; i++) {
        *ret_loss += (double)y[i] * d->proj[i];
        *ret_size += fabs((double)y[i] * d->proj[i]);
    }
    free(y);
    return 0;
}

/* <grad, dir> against differences along dir. floor: below which size of derivative an error means nothing. */
static int check_direction(struct ops_diff *d, npu_val x, const float *x0, const float *grad, const float *dir,
                           int64_t n, double floor_size, const char *what)
{
    const double h[2] = {8e-3, 4e-3};
    double fd[2] = {0}, plus = 0.0, minus = 0.0, size = 0.0, exact = 0.0, est, bound, noise = 0.0;

    for (int64_t i = 0; i < n; i++)
        exact += (double)grad[i] * dir[i];
    for (int k = 0; k < 2; k++) {
        int r = loss_at(d, x, x0, dir, n, h[k], &plus, &size);
        if (r == 0)
            r = loss_at(d, x, x0, dir, n, -h[k], &minus, &size);
        if (r < 0)
            return r;
        fd[k] = (plus - minus) / (2.0 * h[k]);
        noise = d->eps * size / h[k];
    }
    est = (4.0 * fd[1] - fd[0]) / 3.0;
    bound = 5e-3 * fmax(fmax(fabs(exact), fabs(est)), floor_size) + noise + 1e-5;
    if (fabs(est - exact) <= bound)
        return 0;
    return ops_diff_fail(d, "gradient of %s along %s is %.6g, finite differences say %.6g (bound %.2g)", name_of(d, x),
                         what, exact, est, bound);
}

static int check_smooth(struct ops_diff *d, npu_val x, const float *x0, const float *grad, int64_t n, double most)
{
    uint64_t key = npu_rng_key(7, name_of(d, x));
    const bool large = n > 20000 || d->n_y > 20000; /* the reference is slow */
    float *dir = calloc((size_t)n + 1, sizeof *dir);
    double norm = 0.0;
    char what[64];
    int r = 0;

    if (!dir)
        return ops_diff_fail(d, "out of memory");
    for (int64_t i = 0; i < n; i++)
        norm += (double)grad[i] * grad[i];
    for (int k = 0; k < (large ? 1 : DIRECTIONS) && r == 0; k++) {
        for (int64_t i = 0; i < n; i++)
            dir[i] = npu_rng_u64(key + (uint64_t)k, (uint64_t)i) >> 63 ? 1.0f : -1.0f;
        snprintf(what, sizeof what, "random direction %d", k);
        r = check_direction(d, x, x0, grad, dir, n, sqrt(norm), what);
    }
    for (int k = 0; k < (large ? 1 : ELEMENTS) && r == 0 && n > 0; k++) {
        int64_t at = (int64_t)(npu_rng_u64(key + 99, (uint64_t)k) % (uint64_t)n);

        memset(dir, 0, (size_t)n * sizeof *dir);
        dir[at] = 1.0f;
        snprintf(what, sizeof what, "element %lld", (long long)at);
        r = check_direction(d, x, x0, grad, dir, n, 0.02 * most, what);
    }
    free(dir);
    return r;
}

/* ---- results with kinks ---- */

/* sum(proj (b - a)), in double: elements that stay add no noise; *ret_size: sum |proj b| of the others. */
static double change(const struct ops_diff *d, const float *a, const float *b, double *ret_size)
{
    double sum = 0.0;

    *ret_size = 0.0;
    for (int64_t i = 0; i < d->n_y; i++)
        if (a[i] != b[i]) {
            sum += ((double)b[i] - a[i]) * d->proj[i];
            *ret_size += fabs((double)b[i] * d->proj[i]);
        }
    return sum;
}

/* The slope of the loss from xs[at] to xs[at] + h; xs is as it was afterwards. y0: the result at xs. */
static int slope_at(struct ops_diff *d, npu_val x, float *xs, int64_t n, int64_t at, float h, const float *y0,
                    double *ret_slope, double *ret_size)
{
    const float was = xs[at], to = was + h;
    float *y;

    xs[at] = to;
    y = y_at(d, x, xs, n);
    xs[at] = was;
    if (!y)
        return -EBADE;
    *ret_slope = change(d, y0, y, ret_size) / ((double)to - was);
    free(y);
    return 0;
}

/* One element: 1 compared, 0 no step without a kink and above the noise. most: the largest gradient. */
static int check_element(struct ops_diff *d, npu_val x, float *xs, const float *y0, const float *grad, int64_t n,
                         int64_t at, double most, bool *ret_sloped)
{
    float h = d->step;

    for (int k = 0; k < STEPS; k++, h /= 8) {
        double right = 0.0, left = 0.0, size[2] = {0}, est, noise, scale;
        int r = slope_at(d, x, xs, n, at, h, y0, &right, &size[0]);

        if (r == 0)
            r = slope_at(d, x, xs, n, at, -h, y0, &left, &size[1]);
        if (r < 0)
            return r;
        noise = d->eps * fmax(size[0], size[1]) / (double)h;
        if (!(noise <= 0.1 * most))
            return 0;
        scale = fmax(fabs(left), fabs(right));
        if (fabs(right - left) > 5e-3 * scale + noise)
            continue;
        est = 0.5 * (left + right);
        *ret_sloped |= fabs(est) > noise;
        if (fabs(est - (double)grad[at]) <= 5e-3 * fmax(scale, fabs((double)grad[at])) + noise + 1e-6 * most)
            return 1;
        return ops_diff_fail(d, "element %lld of the gradient of %s is %.6g, finite differences say %.6g",
                             (long long)at, name_of(d, x), (double)grad[at], est);
    }
    return 0;
}

/* Sample k: all elements if they are few, else one by chance, every other time the next one with a gradient. */
static int64_t sample(const float *grad, int64_t n, uint64_t key, int k)
{
    int64_t at;

    if (n <= SAMPLES)
        return k;
    at = (int64_t)(npu_rng_u64(key, (uint64_t)k) % (uint64_t)n);
    for (int64_t i = 0; k % 2 && i < n; i++)
        if (grad[(at + i) % n] != 0.0f)
            return (at + i) % n;
    return at;
}

static int check_kinked(struct ops_diff *d, npu_val x, float *xs, const float *grad, int64_t n, double most)
{
    const uint64_t key = npu_rng_key(8, name_of(d, x));
    const bool large = n > 20000 || d->n_y > 20000;
    const int tried = n <= SAMPLES ? (int)n : large ? SAMPLES_LARGE : SAMPLES;
    int met = 0, r = 0;
    bool sloped = false;
    float *y0;

    if (n == 0)
        return 0;
    y0 = y_at(d, x, xs, n);
    if (!y0)
        return -EBADE;
    for (int k = 0; k < tried && r >= 0; k++) {
        r = check_element(d, x, xs, y0, grad, n, sample(grad, n, key, k), most, &sloped);
        met += r > 0;
    }
    free(y0);
    d->met += met;
    d->tried += tried;
    if (r < 0)
        return r;
    if (4 * met < 3 * tried)
        return ops_diff_fail(d, "gradient of %s: only %d of %d elements could be compared with finite differences",
                             name_of(d, x), met, tried);
    if (tried >= SLOPED && !sloped)
        return ops_diff_fail(d, "gradient of %s: the result depends on none of %d elements", name_of(d, x), tried);
    return 0;
}

int ops_diff_check(struct ops_diff *d, npu_val x, const float *grad, int64_t n)
{
    double most = 0.0;
    int64_t n_x;
    float *x0;
    int r = ops_fill(d->ref);

    if (r < 0)
        return ops_diff_fail(d, "inputs: %s", npu_plan_error(d->ref));
    x0 = ops_read(d->ref, x, &n_x);
    if (!x0)
        return ops_diff_fail(d, "out of memory");
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)grad[i]));
    r = d->kinks ? check_kinked(d, x, x0, grad, n, most) : check_smooth(d, x, x0, grad, n, most);
    free(x0);
    return r;
}
