// Warps by a homography: see warp.h.
#include "vision/warp.h"

#include <errno.h>
#include <math.h>

#define CHUNK_PX 256
// Largest shrink by boxes: a chunk's frame columns fit a buffer.
#define MAX_BOX_PX 8

// How a patch is sampled: frame_from_patch and the grid of samples in a patch pixel. `boxes`: upright and shrinking, so
// each patch pixel is a rectangle of the frame whose exact average is cheaper than samples.
struct plan {
    struct mat3 h;
    int samples_x, samples_y;
    bool boxes;
};

// Lengths of the steps in the frame that one patch pixel in x and in y makes at (x, y).
static void local_steps(const struct mat3 *h, double x, double y, double *ret_step_x, double *ret_step_y)
{
    struct vec3 v = mat3_apply(h, vec3_make(x, y, 1));
    double u = v.x / v.z, w = v.y / v.z;
    *ret_step_x = hypot(h->m[0][0] - u * h->m[2][0], h->m[1][0] - w * h->m[2][0]) / v.z;
    *ret_step_y = hypot(h->m[0][1] - u * h->m[2][1], h->m[1][1] - w * h->m[2][1]) / v.z;
}

// Samples about a frame pixel apart (1.2 at most): bilinear samples are two pixels wide, so nothing falls between.
static int samples_for(double step)
{
    double n = ceil(step - 0.2);
    return n < 1 ? 1 : n > WARP_MAX_SAMPLES ? WARP_MAX_SAMPLES : (int)n;
}

static int plan_make(const struct mat3 *patch_from_frame, int width, int height, struct plan *ret_plan)
{
    struct plan p;
    int r = mat3_invert(patch_from_frame, &p.h);
    if (r < 0)
        return r;
    // A homography is known up to its sign and scale: w = 1 at the patch's middle.
    double w_mid = p.h.m[2][0] * width / 2.0 + p.h.m[2][1] * height / 2.0 + p.h.m[2][2];
    double step_x = 0, step_y = 0;
    for (int i = 0; i < 9; i++)
        p.h.m[i / 3][i % 3] /= w_mid;
    for (int corner = 0; corner < 4; corner++) {
        double x = corner & 1 ? width : 0, y = corner & 2 ? height : 0, sx, sy;
        if (!(p.h.m[2][0] * x + p.h.m[2][1] * y + p.h.m[2][2] > 1e-9))
            return -EDOM;
        local_steps(&p.h, x, y, &sx, &sy);
        if (!isfinite(sx) || !isfinite(sy))
            return -EDOM;
        step_x = fmax(step_x, sx);
        step_y = fmax(step_y, sy);
    }
    p.samples_x = samples_for(step_x);
    p.samples_y = samples_for(step_y);
    bool affine = p.h.m[2][0] == 0 && p.h.m[2][1] == 0, upright = p.h.m[0][1] == 0 && p.h.m[1][0] == 0;
    double dx = p.h.m[0][0], dy = p.h.m[1][1];
    p.boxes = affine && upright && fmin(dx, dy) >= 1.2 && fmax(dx, dy) <= MAX_BOX_PX;
    *ret_plan = p;
    return 0;
}

// Where n samples lie, from patch position (x, y) on in steps of a pixel: byte offset of the top left neighbour and the
// share of the right and lower ones.
struct places {
    int offset[CHUNK_PX];
    float right[CHUNK_PX], lower[CHUNK_PX];
};

static void locate(const struct mat3 *h, double x, double y, int n, const struct image *frame, struct places *places)
{
    float u0 = (float)(h->m[0][0] * x + h->m[0][1] * y + h->m[0][2]), du = (float)h->m[0][0];
    float v0 = (float)(h->m[1][0] * x + h->m[1][1] * y + h->m[1][2]), dv = (float)h->m[1][0];
    float w0 = (float)(h->m[2][0] * x + h->m[2][1] * y + h->m[2][2]), dw = (float)h->m[2][0];
    float u_max = (float)(frame->width - 1), v_max = (float)(frame->height - 1);
    // The top left neighbour stays one short of the border (its right one then has share 1), except in a 1-pixel image.
    int ix_max = frame->width > 1 ? frame->width - 2 : 0, iy_max = frame->height > 1 ? frame->height - 2 : 0;
    for (int i = 0; i < n; i++) {
        float w = 1 / (w0 + dw * (float)i);
        float u = (u0 + du * (float)i) * w - 0.5f, v = (v0 + dv * (float)i) * w - 0.5f;
        u = u > 0 ? u : 0;
        u = u < u_max ? u : u_max;
        v = v > 0 ? v : 0;
        v = v < v_max ? v : v_max;
        int ix = (int)u, iy = (int)v;
        ix = ix < ix_max ? ix : ix_max;
        iy = iy < iy_max ? iy : iy_max;
        places->offset[i] = iy * frame->stride + ix * frame->channels;
        places->right[i] = u - (float)ix;
        places->lower[i] = v - (float)iy;
    }
}

static inline float blend(const uint8_t *p, int dx, int dy, float right, float lower)
{
    float top = p[0] + right * (float)(p[dx] - p[0]);
    float bottom = p[dy] + right * (float)(p[dy + dx] - p[dy]);
    return top + lower * (bottom - top);
}

static void gather_grey(const struct image *frame, const struct places *places, int n, float *restrict sum)
{
    int dx = frame->width > 1 ? 1 : 0, dy = frame->height > 1 ? frame->stride : 0;
    for (int i = 0; i < n; i++)
        sum[i] += blend(frame->data + places->offset[i], dx, dy, places->right[i], places->lower[i]);
}

static void gather_rgb(const struct image *frame, const struct places *places, int n, float *restrict sum)
{
    int dx = frame->width > 1 ? 3 : 0, dy = frame->height > 1 ? frame->stride : 0;
    for (int i = 0; i < n; i++) {
        const uint8_t *p = frame->data + places->offset[i];
        for (int c = 0; c < 3; c++)
            // NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): the caller zeroed 3 n
            sum[3 * i + c] += blend(p + c, dx, dy, places->right[i], places->lower[i]);
    }
}

static void add_row(float *restrict sum, const uint8_t *restrict row, float weight, int n)
{
    for (int i = 0; i < n; i++)
        sum[i] += weight * row[i];
}

static int clamped(int v, int limit)
{
    return v < 0 ? 0 : v < limit ? v : limit - 1;
}

// Share of the pixel [i, i + 1) that lies in [begin, end).
static double overlap(int i, double begin, double end)
{
    return fmin(i + 1, end) - fmax(i, begin);
}

// The same by boxes: frame rows are summed with their shares first, then columns. Positions here are frame pixel edges,
// limited to the reach of an int; beyond the frame the border repeats.
static void average_chunk(const struct image *frame, const struct plan *plan, int x, int y, int n, float *out)
{
    float columns[(CHUNK_PX * MAX_BOX_PX + 2) * 3];
    double limit = 1e8, step = plan->h.m[0][0], left = fmin(fmax(step * x + plan->h.m[0][2], -limit), limit);
    double top = fmin(fmax(plan->h.m[1][1] * y + plan->h.m[1][2], -limit), limit), bottom = top + plan->h.m[1][1];
    int ch = frame->channels, first = (int)floor(left), span = (int)floor(left + step * n) - first + 1;
    int begin = clamped(first, frame->width), end = clamped(first + span - 1, frame->width) + 1;
    // What is inside the frame, at its place in `columns`; the rest repeats the first and last column.
    int inside = begin > first ? begin - first : 0;
    inside = inside < span ? inside : span - 1;
    int count = end - begin < span - inside ? end - begin : span - inside;
    float *sum = columns + inside * ch;
    for (int i = 0; i < count * ch; i++)
        sum[i] = 0;
    for (int v = (int)floor(top); v < bottom; v++) {
        const uint8_t *row = frame->data + (size_t)clamped(v, frame->height) * (size_t)frame->stride;
        add_row(sum, row + begin * ch, (float)(overlap(v, top, bottom) / (bottom - top)), count * ch);
    }
    for (int i = inside - 1; i >= 0; i--)
        for (int c = 0; c < ch; c++)
            columns[i * ch + c] = columns[(i + 1) * ch + c];
    for (int i = inside + count; i < span; i++)
        for (int c = 0; c < ch; c++)
            columns[i * ch + c] = columns[(i - 1) * ch + c];
    for (int i = 0; i < n; i++) {
        double from = left - first + step * i, to = from + step;
        int k0 = (int)from, k1 = (int)to < span - 1 ? (int)to : span - 1;
        float head = (float)(k0 + 1 - from), tail = (float)(to - k1), scale = (float)(1 / step);
        for (int c = 0; c < ch; c++) {
            float value = head * columns[k0 * ch + c] + tail * columns[k1 * ch + c];
            for (int k = k0 + 1; k < k1; k++)
                value += columns[k * ch + c];
            out[i * ch + c] = value * scale;
        }
    }
}

// Averages of `n` patch pixels from (x, y) on, in the frame's channels.
static void sample_chunk(const struct image *frame, const struct plan *plan, int x, int y, int n, float *sum)
{
    struct places places;
    if (plan->boxes) {
        average_chunk(frame, plan, x, y, n, sum);
        return;
    }
    for (int i = 0; i < n * frame->channels; i++)
        sum[i] = 0;
    for (int j = 0; j < plan->samples_y; j++)
        for (int i = 0; i < plan->samples_x; i++) {
            double sx = x + (i + 0.5) / plan->samples_x, sy = y + (j + 0.5) / plan->samples_y;
            locate(&plan->h, sx, sy, n, frame, &places);
            if (frame->channels == 1)
                gather_grey(frame, &places, n, sum);
            else
                gather_rgb(frame, &places, n, sum);
        }
    float scale = 1.0f / (float)(plan->samples_x * plan->samples_y);
    for (int i = 0; i < n * frame->channels; i++)
        sum[i] *= scale;
}

// n pixels from `from` channels to `to` channels.
static const float *convert_channels(const float *in, int from, int to, int n, float *out)
{
    if (from == to)
        return in;
    for (int i = 0; i < n; i++) {
        if (to == 1)
            // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): 3 n values when `from` is 3
            out[i] = 0.299f * in[3 * i] + 0.587f * in[3 * i + 1] + 0.114f * in[3 * i + 2];
        else
            out[3 * i] = out[3 * i + 1] = out[3 * i + 2] = in[i];
    }
    return out;
}

int warp_to_u8(const struct image *frame, const struct mat3 *patch_from_frame, struct image *patch)
{
    float sum[CHUNK_PX * 3], converted[CHUNK_PX * 3];
    struct plan plan;
    if (image_check(frame) < 0 || image_check(patch) < 0)
        return -EINVAL;
    int r = plan_make(patch_from_frame, patch->width, patch->height, &plan);
    if (r < 0)
        return r;
    for (int y = 0; y < patch->height; y++)
        for (int x = 0; x < patch->width; x += CHUNK_PX) {
            int n = patch->width - x < CHUNK_PX ? patch->width - x : CHUNK_PX;
            sample_chunk(frame, &plan, x, y, n, sum);
            const float *v = convert_channels(sum, frame->channels, patch->channels, n, converted);
            uint8_t *d = patch->data + (size_t)y * (size_t)patch->stride + (size_t)x * (size_t)patch->channels;
            for (int i = 0; i < n * patch->channels; i++)
                d[i] = (uint8_t)(v[i] < 254.5f ? v[i] + 0.5f : 255);
        }
    return 0;
}

int warp_to_f32(const struct image *frame, const struct mat3 *patch_from_frame, int width_px, int height_px,
                int channels, const struct warp_norm *norm, float *patch)
{
    float sum[CHUNK_PX * 3], converted[CHUNK_PX * 3];
    struct plan plan;
    if (image_check(frame) < 0 || width_px < 1 || height_px < 1 || width_px > IMAGE_MAX_SIDE_PX ||
        height_px > IMAGE_MAX_SIDE_PX || (channels != 1 && channels != 3))
        return -EINVAL;
    int r = plan_make(patch_from_frame, width_px, height_px, &plan);
    if (r < 0)
        return r;
    for (int y = 0; y < height_px; y++)
        for (int x = 0; x < width_px; x += CHUNK_PX) {
            int n = width_px - x < CHUNK_PX ? width_px - x : CHUNK_PX;
            sample_chunk(frame, &plan, x, y, n, sum);
            const float *v = convert_channels(sum, frame->channels, channels, n, converted);
            float *d = patch + ((size_t)y * (size_t)width_px + (size_t)x) * (size_t)channels;
            for (int i = 0; i < n; i++)
                for (int c = 0; c < channels; c++)
                    d[i * channels + c] = (v[i * channels + c] - norm->mean[c]) * norm->scale[c];
        }
    return 0;
}

void warp_standardise(float *values, size_t count, float min_deviation)
{
    double sum = 0, squares = 0;
    if (count == 0)
        return;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    double mean = sum / (double)count;
    for (size_t i = 0; i < count; i++)
        squares += (values[i] - mean) * (values[i] - mean);
    float scale = (float)(1 / fmax(sqrt(squares / (double)count), min_deviation));
    for (size_t i = 0; i < count; i++)
        values[i] = (values[i] - (float)mean) * scale;
}
