// Truth of a clip.
#include "daemon/analyze_truth.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

static int parse_line(const char *line, struct vec3 *ret_gaze)
{
    cJSON *o = cJSON_Parse(line);
    const cJSON *v = cJSON_GetObjectItem(cJSON_GetObjectItem(o, "gaze"), "vector");
    double x[3] = {0};
    int n = 0;
    const cJSON *e;
    cJSON_ArrayForEach(e, v) if (n < 3 && cJSON_IsNumber(e)) x[n++] = e->valuedouble;
    cJSON_Delete(o);
    struct vec3 g = {x[0], x[1], x[2]};
    if (n != 3 || !(fabs(vec3_length(g) - 1) < 0.01))
        return -EBADMSG;
    *ret_gaze = g;
    return 0;
}

int analyze_truth_load(const char *path, struct analyze_truth *ret_truth, char *message)
{
    struct analyze_truth t = {0};
    FILE *f = fopen(path, "r");
    if (!f) {
        snprintf(message, 240, "can't read %s: %s", path, strerror(errno));
        return -errno;
    }
    char *line = NULL;
    size_t cap = 0;
    int r = 0;
    while (r >= 0 && t.count < ANALYZE_TRUTH_FRAMES && getline(&line, &cap, f) > 0) {
        if ((t.count & 255) == 0) {
            struct vec3 *grown = reallocarray(t.gaze, t.count + 256, sizeof(*grown));
            if (!grown) {
                r = -ENOMEM;
                break;
            }
            t.gaze = grown;
        }
        r = parse_line(line, &t.gaze[t.count]);
        if (r < 0)
            snprintf(message, 240, "%s:%zu: no \"gaze\": {\"vector\": [x, y, z]} of length 1", path, t.count + 1);
        else
            t.count++;
    }
    free(line);
    fclose(f);
    t.error_rad = calloc(t.count + 1, sizeof(double));
    t.raw_error_rad = calloc(t.count + 1, sizeof(double));
    if (r >= 0 && (!t.error_rad || !t.raw_error_rad))
        r = -ENOMEM;
    if (r < 0) {
        analyze_truth_clear(&t);
        return r;
    }
    *ret_truth = t;
    return 0;
}

void analyze_truth_clear(struct analyze_truth *t)
{
    free(t->gaze);
    free(t->error_rad);
    free(t->raw_error_rad);
    *t = (struct analyze_truth){0};
}

void analyze_truth_score(struct analyze_truth *t, long frame, const struct angles *filtered, const struct angles *raw)
{
    if (frame < 0 || (size_t)frame >= t->count || t->scored + t->missed >= t->count)
        return;
    if (!filtered || !raw) {
        t->missed++;
        return;
    }
    t->error_rad[t->scored] = angle_between(gaze_from_angles(*filtered), t->gaze[frame]);
    t->raw_error_rad[t->scored++] = angle_between(gaze_from_angles(*raw), t->gaze[frame]);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double mean(const double *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += v[i];
    return n ? sum / (double)n : 0;
}

void analyze_truth_print(struct analyze_truth *t)
{
    if (!t->scored) {
        printf("against the clip's truth: no gaze was read in any of %zu frames\n", t->count);
        return;
    }
    double raw = mean(t->raw_error_rad, t->scored), filtered = mean(t->error_rad, t->scored);
    qsort(t->error_rad, t->scored, sizeof(double), by_size);
    printf(
        "against the clip's truth: mean angular error %.2f degrees (median %.2f, 95 %% below %.2f; unfiltered %.2f) in "
        "%zu frames, %zu without gaze\n",
        deg_from_rad(filtered), deg_from_rad(t->error_rad[t->scored / 2]),
        deg_from_rad(t->error_rad[t->scored * 95 / 100]), deg_from_rad(raw), t->scored, t->missed);
}
