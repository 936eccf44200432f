// Writes what gaze-eval measured.
#include "train/eval_report.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vision/draw.h"
#include "vision/png.h"

#define WORST_SIDE 4
#define WORST      (WORST_SIDE * WORST_SIDE)
#define TILE_PX    256
#define SHUT       0.6f // eyes shut further have no gaze to see

// What each figure must reach; those not named here are reported only.
static const struct {
    const char *name;
    double low, high;
} goals[] = {
    {"real.faces_found_percent", 99, INFINITY},
    {"real.false_boxes_per_100", -INFINITY, 1},
    {"real.nme_percent", -INFINITY, 5},
    {"scenes.recall_percent", 95, INFINITY},
    {"scenes.precision_percent", 95, INFINITY},
    {"real.gaze_yaw_median_deg", -2, 2},
    {"real.gaze_pitch_median_deg", -4, 4},
    {"rendered.gaze_mean_deg", -INFINITY, 5},
    {"rendered.head_rotation_mean_deg", -INFINITY, 4},
    {"rendered.gain_eye_yaw", 0.9, 1.1},
    {"rendered.gain_eye_pitch", 0.9, 1.1},
    {"rendered.gain_head_yaw", 0.9, 1.1},
    {"rendered.gain_head_pitch", 0.9, 1.1},
};

int eval_write_json(const struct figures *const *parts, int count, FILE *f)
{
    const char *before = "{\n";
    for (int p = 0; p < count; p++)
        for (int i = 0; i < parts[p]->count; i++) {
            const struct figure *g = &parts[p]->list[i];
            fprintf(f, "%s  \"%s\": ", before, g->name);
            if (isfinite(g->value))
                fprintf(f, "%.5g", g->value);
            else
                fputs("null", f);
            before = ",\n";
        }
    fprintf(f, "%s}\n", *before == ',' ? "\n" : before);
    return ferror(f) ? -EIO : 0;
}

static void write_goal(const struct figure *g, FILE *f)
{
    for (size_t i = 0; i < sizeof(goals) / sizeof(*goals); i++) {
        if (strcmp(goals[i].name, g->name))
            continue;
        if (isinf(goals[i].low))
            fprintf(f, "<= %g", goals[i].high);
        else if (isinf(goals[i].high))
            fprintf(f, ">= %g", goals[i].low);
        else
            fprintf(f, "%g to %g", goals[i].low, goals[i].high);
        fprintf(f, " | %s |\n", g->value >= goals[i].low && g->value <= goals[i].high ? "yes" : "**no**");
        return;
    }
    fprintf(f, " | |\n");
}

int eval_write_markdown(const struct figures *const *parts, int count, FILE *f)
{
    fprintf(f, "| figure | measured | goal | reached |\n|---|---|---|---|\n");
    for (int p = 0; p < count; p++)
        for (int i = 0; i < parts[p]->count; i++) {
            fprintf(f, "| %s | %.2f | ", parts[p]->list[i].name, parts[p]->list[i].value);
            write_goal(&parts[p]->list[i], f);
        }
    return ferror(f) ? -EIO : 0;
}

int eval_write_sweep(const struct judge_sweep *sweep, FILE *f)
{
    int chosen = judge_sweep_choose(sweep);
    fprintf(
        f,
        "| threshold | found %% | false boxes per 100 | scenes: recall %% | precision %% |\n|---|---|---|---|---|\n");
    for (int i = 0; i < sweep->count; i++) {
        const struct judge_tally *p = &sweep->photographs[i], *s = &sweep->scenes[i];
        fprintf(f, "| %g%s | %.2f | %.2f | %.2f | %.2f |\n", (double)p->threshold, i == chosen ? " (chosen)" : "",
                judge_found_percent(p), judge_false_per_100(p), judge_found_percent(s), judge_precision_percent(s));
    }
    if (chosen < 0)
        fputs("No threshold finds 99 % of the faces in photographs and 95 % of those in scenes.\n", f);
    return ferror(f) ? -EIO : 0;
}

int eval_write_file(const struct figures *const *parts, int count, const char *path, eval_write_fn *write)
{
    FILE *f = fopen(path, "we");
    if (!f)
        return -errno;
    int r = write(parts, count, f);
    return fclose(f) < 0 ? -errno : r;
}

int eval_write_faces(const struct face_set *set, const struct face_landmarks *found, const struct gaze_estimate *gaze,
                     const char *path)
{
    FILE *f = fopen(path, "we");
    if (!f)
        return -errno;
    for (int i = 0; i < set->count; i++) {
        const struct face_sample *s = &set->samples[i];
        double error = judge_gaze_error(s, &gaze[i]);
        fprintf(f, "{\"id\":\"%s\",\"found\":%s", s->id, found[i].score > 0 ? "true" : "false");
        if (error >= 0) {
            struct angles label = gaze_to_angles(s->gaze), out = gaze_to_angles(gaze[i].gaze);
            fprintf(f, ",\"gaze_error_deg\":%.3f,\"label_deg\":[%.3f,%.3f],\"gaze_deg\":[%.3f,%.3f],\"sigma_deg\":%.3f",
                    deg_from_rad(error), deg_from_rad(label.yaw_rad), deg_from_rad(label.pitch_rad),
                    deg_from_rad(out.yaw_rad), deg_from_rad(out.pitch_rad), deg_from_rad((double)gaze[i].sigma_rad));
            struct head_angles given = head_angles_from_rotation(&s->head),
                               head = head_angles_from_rotation(&found[i].head);
            fprintf(f, ",\"head_label_deg\":[%.3f,%.3f,%.3f],\"head_deg\":[%.3f,%.3f,%.3f]",
                    deg_from_rad(given.yaw_rad), deg_from_rad(given.pitch_rad), deg_from_rad(given.roll_rad),
                    deg_from_rad(head.yaw_rad), deg_from_rad(head.pitch_rad), deg_from_rad(head.roll_rad));
            fprintf(f, ",\"head_error_deg\":%.3f,\"px_per_strip_px\":%.3f,\"blink\":[%.3f,%.3f]",
                    deg_from_rad(rotation_distance(&found[i].head, &s->head)), (double)gaze[i].frame_px_per_strip_px,
                    (double)s->blink[0], (double)s->blink[1]);
        }
        fputs("}\n", f);
    }
    int r = ferror(f) ? -EIO : 0;
    return fclose(f) < 0 ? -errno : r;
}

struct worst {
    double error;
    int index;
};

static int by_error(const void *a, const void *b)
{
    double x = ((const struct worst *)a)->error, y = ((const struct worst *)b)->error;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void arrow(struct image *tile, const struct face_sample *s, struct vec3 gaze, double scale, struct colour colour)
{
    struct point from;
    if (camera_project(&s->camera, s->origin_mm, &from) < 0)
        return;
    from.x *= (float)scale;
    from.y *= (float)scale;
    struct point to = {from.x + 110 * (float)gaze.x, from.y + 110 * (float)gaze.y};
    draw_arrow(tile, from, to, 2, colour);
}

static int draw_tile(struct image *sheet, int place, const struct face_sample *s, const struct gaze_estimate *gaze,
                     double error)
{
    static const struct colour green = {60, 220, 60}, red = {255, 60, 60}, white = {255, 255, 255};
    struct image rgb = {0}, tile;
    int r = image_crop_view(sheet, place % WORST_SIDE * TILE_PX, place / WORST_SIDE * TILE_PX, TILE_PX, TILE_PX, &tile);
    if (r >= 0)
        r = image_alloc(s->image.width, s->image.height, 3, &rgb);
    if (r >= 0)
        r = image_copy(&s->image, &rgb);
    if (r >= 0)
        r = image_resize(&rgb, &tile);
    image_free(&rgb);
    if (r < 0)
        return r;
    double scale = (double)TILE_PX / s->image.width;
    char text[64];
    arrow(&tile, s, s->gaze, scale, green);
    arrow(&tile, s, gaze->gaze, scale, red);
    snprintf(text, sizeof(text), "%.20s %.1f deg", s->id, deg_from_rad(error));
    draw_text(&tile, (struct point){4, 4}, 1, white, text);
    return 0;
}

int eval_write_worst(const struct face_set *set, const struct gaze_estimate *gaze, const char *path)
{
    struct worst *list = calloc((size_t)set->count + 1, sizeof(*list));
    struct image sheet = {0};
    int n = 0, r = list ? image_alloc(WORST_SIDE * TILE_PX, WORST_SIDE * TILE_PX, 3, &sheet) : -ENOMEM;
    for (int i = 0; r >= 0 && i < set->count; i++) {
        const float *blink = set->samples[i].blink;
        double e = judge_gaze_error(&set->samples[i], &gaze[i]);
        if (e >= 0 && fmaxf(blink[0], blink[1]) <= SHUT)
            list[n++] = (struct worst){e, i};
    }
    if (r >= 0)
        qsort(list, (size_t)n, sizeof(*list), by_error);
    for (int i = 0; r >= 0 && i < n && i < WORST; i++)
        r = draw_tile(&sheet, i, &set->samples[list[i].index], &gaze[list[i].index], list[i].error);
    if (r >= 0)
        r = png_write(&sheet, path);
    image_free(&sheet);
    free(list);
    return r;
}
