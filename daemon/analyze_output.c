// Output of gaze-analyze.
#include "daemon/analyze_output.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <cjson/cJSON.h>

static double rounded(double v, double unit)
{
    return round(v / unit) * unit;
}

static double degrees(double rad)
{
    return round(deg_from_rad(rad) * 100) / 100;
}

static void add_numbers(cJSON *o, const char *name, const double *v, int n)
{
    cJSON_AddItemToObject(o, name, cJSON_CreateDoubleArray(v, n));
}

static cJSON *add_angles(cJSON *o, const char *name, struct angles a)
{
    cJSON *x = cJSON_AddObjectToObject(o, name);
    cJSON_AddNumberToObject(x, "yaw", degrees(a.yaw_rad));
    cJSON_AddNumberToObject(x, "pitch", degrees(a.pitch_rad));
    return x;
}

static void add_gaze(cJSON *o, const struct analyzed_face *face)
{
    const struct gaze_estimate *g = &face->reading->gaze;
    if (!face->reading->has_gaze) {
        cJSON_AddNullToObject(o, "gaze");
        cJSON_AddNullToObject(o, "gaze_normalised");
        cJSON_AddNullToObject(o, "sigma_deg");
        return;
    }
    struct vec3 v = gaze_from_angles(face->gaze);
    const double vector[3] = {rounded(v.x, 1e-5), rounded(v.y, 1e-5), rounded(v.z, 1e-5)};
    add_numbers(add_angles(o, "gaze", face->gaze), "vector", vector, 3);
    add_angles(o, "gaze_normalised", g->normalised);
    cJSON_AddNumberToObject(o, "sigma_deg", degrees(g->sigma_rad));
}

// What a face of a clip has besides.
static void add_of_clip(cJSON *o, const struct analyzed_face *face)
{
    cJSON_AddNumberToObject(o, "frame", (double)face->frame);
    cJSON_AddNumberToObject(o, "id", (double)face->id);
    if (face->reading->has_gaze)
        add_angles(o, "gaze_raw", gaze_to_angles(face->reading->gaze.gaze));
    else
        cJSON_AddNullToObject(o, "gaze_raw");
}

void analyze_print_json(const struct analyzed_face *face)
{
    const struct face_reading *f = face->reading;
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "file", face->file);
    cJSON_AddNumberToObject(o, "face", face->index);
    const double box[4] = {rounded(f->box.x, 0.1), rounded(f->box.y, 0.1), rounded(f->box.w, 0.1),
                           rounded(f->box.h, 0.1)};
    add_numbers(o, "box", box, 4);
    cJSON_AddNumberToObject(o, "score", rounded(f->score, 1e-3));
    cJSON *points = cJSON_AddArrayToObject(o, "landmarks");
    for (int i = 0; i < FACE_POINTS; i++) {
        const double p[2] = {rounded(f->landmarks.points[i].x, 0.1), rounded(f->landmarks.points[i].y, 0.1)};
        cJSON_AddItemToArray(points, cJSON_CreateDoubleArray(p, 2));
    }
    struct head_angles head = head_angles_from_rotation(&f->head);
    cJSON *h = cJSON_AddObjectToObject(o, "head");
    cJSON_AddNumberToObject(h, "yaw", degrees(head.yaw_rad));
    cJSON_AddNumberToObject(h, "pitch", degrees(head.pitch_rad));
    cJSON_AddNumberToObject(h, "roll", degrees(head.roll_rad));
    add_gaze(o, face);
    cJSON *blink = cJSON_AddObjectToObject(o, "blink");
    cJSON_AddNumberToObject(blink, "left", rounded(f->landmarks.blink[1], 1e-3));
    cJSON_AddNumberToObject(blink, "right", rounded(f->landmarks.blink[0], 1e-3));
    const double origin[3] = {rounded(f->origin_mm.x, 0.1), rounded(f->origin_mm.y, 0.1), rounded(f->origin_mm.z, 0.1)};
    add_numbers(o, "origin_mm", origin, 3);
    if (face->frame >= 0)
        add_of_clip(o, face);
    char *text = cJSON_PrintUnformatted(o);
    if (text)
        puts(text);
    free(text);
    cJSON_Delete(o);
}

void analyze_print_text(const struct analyzed_face *face)
{
    const struct face_reading *f = face->reading;
    struct head_angles head = head_angles_from_rotation(&f->head);
    printf("%s: ", face->file);
    if (face->frame >= 0)
        printf("frame %ld id %ld", face->frame, face->id);
    else
        printf("face %d", face->index);
    printf(" at %.0f,%.0f %.0fx%.0f score %.2f  head yaw %+.1f pitch %+.1f roll %+.1f", f->box.x, f->box.y, f->box.w,
           f->box.h, f->score, deg_from_rad(head.yaw_rad), deg_from_rad(head.pitch_rad), deg_from_rad(head.roll_rad));
    if (f->has_gaze)
        printf("  gaze yaw %+.1f pitch %+.1f (+-%.1f)", deg_from_rad(face->gaze.yaw_rad),
               deg_from_rad(face->gaze.pitch_rad), deg_from_rad(f->gaze.sigma_rad));
    else
        printf("  gaze unknown (profile)");
    printf("  blink %.2f %.2f\n", f->landmarks.blink[1], f->landmarks.blink[0]);
}
