// Labels of a rendered picture as JSON.
#include "train/render/labels.h"

#include <errno.h>

#include "vision/normalise.h"

int labels_derive(struct labels *l)
{
    struct mat3 rotation;
    int r = normalise_rotation(l->face_mm, mat3_column(&l->head, 0), &rotation);

    if (r < 0)
        return r;
    l->gaze = vec3_unit(vec3_sub(l->target_mm, l->face_mm));
    for (int side = 0; side < 2; side++)
        l->sight[side] = vec3_unit(vec3_sub(l->target_mm, l->eye_mm[side]));
    l->normalised = gaze_to_angles(mat3_apply(&rotation, l->gaze));
    return 0;
}

static void put_vec3(FILE *f, const char *name, struct vec3 v, const char *end)
{
    fprintf(f, "\"%s\":[%.6g,%.6g,%.6g]%s", name, v.x, v.y, v.z, end);
}

static void put_points(FILE *f, const char *name, const struct point *p, int count)
{
    fprintf(f, "\"%s\":[", name);
    for (int i = 0; i < count; i++)
        fprintf(f, "%s[%.2f,%.2f]", i ? "," : "", (double)p[i].x, (double)p[i].y);
    fputs("],", f);
}

static void put_spoil(FILE *f, const struct degradation *d)
{
    fprintf(
        f,
        "\"degradation\":{\"resample\":%.3f,\"blur_px\":%.3f,\"noise\":%.2f,\"grain\":%.2f,\"gamma\":%.3f,"
        "\"contrast\":%.3f,\"brightness\":%.3f,\"gradient\":%.3f,\"glare\":%.3f,\"quality\":%d,\"first_quality\":%d,"
        "\"infrared\":%s}",
        (double)d->resample, (double)d->blur_px, (double)d->noise, (double)d->grain, (double)d->gamma,
        (double)d->contrast, (double)d->brightness, (double)d->gradient, (double)d->glare, d->quality, d->first_quality,
        d->infrared ? "true" : "false");
}

static void put_gaze(FILE *f, const struct labels *l)
{
    struct angles a = gaze_to_angles(l->gaze);
    struct head_angles h = head_angles_from_rotation(&l->head);

    fputs("\"gaze\":{", f);
    put_vec3(f, "target_mm", l->target_mm, ",");
    put_vec3(f, "vector", l->gaze, ",");
    fprintf(f, "\"pitch_deg\":%.4f,\"yaw_deg\":%.4f,", deg_from_rad(a.pitch_rad), deg_from_rad(a.yaw_rad));
    put_vec3(f, "eye_left", l->sight[1], ",");
    put_vec3(f, "eye_right", l->sight[0], "},");
    fputs("\"gaze_normalised\":{", f);
    put_vec3(f, "vector", gaze_from_angles(l->normalised), ",");
    fprintf(f, "\"pitch_deg\":%.4f,\"yaw_deg\":%.4f},\"head\":{\"R\":[", deg_from_rad(l->normalised.pitch_rad),
            deg_from_rad(l->normalised.yaw_rad));
    for (int i = 0; i < 9; i++)
        fprintf(f, "%s%.7g", i ? "," : "", l->head.m[i / 3][i % 3]);
    fprintf(f, "],\"pitch_deg\":%.4f,\"yaw_deg\":%.4f,\"roll_deg\":%.4f},", deg_from_rad(h.pitch_rad),
            deg_from_rad(h.yaw_rad), deg_from_rad(h.roll_rad));
}

int labels_write(FILE *f, const struct labels *l, bool with_mesh)
{
    fprintf(f, "{\"file\":\"%s\",", l->file);
    return labels_write_rest(f, l, with_mesh);
}

int labels_write_rest(FILE *f, const struct labels *l, bool with_mesh)
{
    fprintf(f, "\"index\":%llu,\"identity\":%u,\"mode\":\"%s\",\"size\":[%d,%d],", (unsigned long long)l->index,
            l->identity, l->photo ? "photo" : "plain", l->width, l->height);
    if (l->photo)
        fprintf(f, "\"source\":\"%s\",", l->source);
    fprintf(f, "\"camera\":{\"fx\":%.6g,\"fy\":%.6g,\"cx\":%.6g,\"cy\":%.6g},", l->camera.fx, l->camera.fy,
            l->camera.cx, l->camera.cy);
    put_vec3(f, "face_origin_mm", l->face_mm, ",\"eye_origin_mm\":{");
    put_vec3(f, "left", l->eye_mm[1], ",");
    put_vec3(f, "right", l->eye_mm[0], "},");
    put_gaze(f, l);
    put_points(f, "landmarks", l->landmark, FACE_LANDMARKS);
    fputs("\"landmarks_visible\":[", f);
    for (int i = 0; i < FACE_LANDMARKS; i++)
        fprintf(f, "%s%d", i ? "," : "", l->visible[i]);
    fputs("],", f);
    put_points(f, "iris", l->iris, FACE_IRIS);
    if (with_mesh)
        put_points(f, "mp_landmarks", l->mesh, MP_MESH_POINTS);
    fprintf(f, "\"box\":[%.2f,%.2f,%.2f,%.2f],\"au\":{", (double)l->box[0], (double)l->box[1], (double)l->box[2],
            (double)l->box[3]);
    for (int i = 0; i < EXPRESSION_AUS; i++)
        fprintf(f, "%s\"%d\":{\"l\":%.2f,\"r\":%.2f}", i ? "," : "", expression_au_number[i],
                (double)l->expression.au[i][1], (double)l->expression.au[i][0]);
    fprintf(f,
            "},\"au_exact\":%s,\"blink\":{\"left\":%.3f,\"right\":%.3f},\"opening_mm\":{\"left\":%.2f,\"right\":%.2f},",
            l->photo ? "false" : "true", (double)l->blink[1], (double)l->blink[0], (double)l->opening_mm[1],
            (double)l->opening_mm[0]);
    fprintf(f, "\"glasses\":%s,\"grey\":%s,", l->glasses ? "true" : "false", l->spoil.grey ? "true" : "false");
    put_spoil(f, &l->spoil);
    fputs("}\n", f);
    return ferror(f) ? -EIO : 0;
}
