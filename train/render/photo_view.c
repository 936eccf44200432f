// A photograph as a face: reads it, fits the head, measures its light, and draws its new pose.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "train/render/renderer.h"
#include "vision/image_file.h"

#define STREAM_PHOTO    6
#define STREAM_POSE     7
#define RMS_SHARE_MAX   0.06f // of the face's width: a fit worse than this is no fit
#define EYE_SAMPLES_MAX 4096
// How far out the balls stand in the portraits of the training folds, on the median.
#define USUAL_OUT_CM    0.20f
#define LENS_TRUST      0.8f
#define EYE_MOVE_MAX_CM 0.22f
#define INSET_CM        0.15f
#define INSET_REACH_CM  0.5f
// Of skin in linear light: prints are below, colour photographs above.
#define GREY_SATURATION   0.30f
#define COLOUR_SATURATION 0.55f
#define SCLERA_ALBEDO     0.59f
#define LID_SHADE         0.75f // what the lids leave of the light on average (eye.c)

static const uint16_t lid_ring[2][16] = {
    {33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7},
    {263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249}};

static v3 read_pixel(const struct image *image, int x, int y)
{
    const uint8_t *c;

    x = x < 0 ? 0 : x >= image->width ? image->width - 1 : x;
    y = y < 0 ? 0 : y >= image->height ? image->height - 1 : y;
    c = image->data + (size_t)y * (size_t)image->stride + 3 * x;
    return v3_make(powf((float)c[0] / 255, 2.2f), powf((float)c[1] / 255, 2.2f), powf((float)c[2] / 255, 2.2f));
}

static float level(v3 c)
{
    return 0.3f * c.x + 0.59f * c.y + 0.11f * c.z;
}

static int by_level(const void *a, const void *b)
{
    float x = level(*(const v3 *)a), y = level(*(const v3 *)b);
    return (x > y) - (x < y);
}

static int inside_ring(const struct photo *photo, const uint16_t ring[16], float x, float y)
{
    int inside = 0;

    for (int i = 0; i < 16; i++) {
        const float *a = photo->point[ring[i]], *b = photo->point[ring[(i + 1) % 16]];
        if ((a[1] > y) != (b[1] > y) && x < a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]))
            inside = !inside;
    }
    return inside;
}

// The white of an eye: its brighter pixels, glints left out.
static v3 measure_whites(const struct photo_view *view, int side, v3 skin)
{
    static const float from = 0.70f, to = 0.93f;
    v3 sample[EYE_SAMPLES_MAX] = {0}, sum = {0, 0, 0};
    int count = 0, used = 0;
    const float *a = view->photo->point[lid_ring[side][0]], *b = view->photo->point[lid_ring[side][8]];
    int x0 = (int)minf(a[0], b[0]), x1 = (int)maxf(a[0], b[0]) + 1, reach = (x1 - x0) / 2;
    int y0 = (int)(0.5f * (a[1] + b[1])) - reach;

    for (int y = y0; y <= y0 + 2 * reach; y++)
        for (int x = x0; x <= x1; x++)
            if (count < EYE_SAMPLES_MAX && inside_ring(view->photo, lid_ring[side], (float)x + 0.5f, (float)y + 0.5f))
                sample[count++] = read_pixel(&view->image, x, y);
    qsort(sample, (size_t)count, sizeof(*sample), by_level);
    for (int i = (int)(from * (float)count); i < (int)(to * (float)count); i++, used++)
        sum = v3_add(sum, sample[i]);
    if (!used)
        return skin;
    sum = v3_mul(sum, 1.15f / (float)used); // blur has mixed lid and iris into them
    return v3_mul(sum, clampf(level(sum), 0.2f * level(skin), 4 * level(skin)) / maxf(level(sum), 1e-4f));
}

// The cheek below an eye.
static v3 measure_skin(const struct photo_view *view, int side)
{
    static const uint16_t cheek[2][3] = {{50, 117, 101}, {280, 346, 330}};
    v3 sum = v3_make(.004f, .004f, .004f);

    for (int i = 0; i < 3; i++) {
        const float *p = view->photo->point[cheek[side][i]];
        sum = v3_mad(sum, read_pixel(&view->image, (int)p[0], (int)p[1]), 1 / 3.0f);
    }
    return sum;
}

static void pull_vertices(struct renderer *r)
{
    const struct photo_pull *pull = r->setup->photos->pull;

    for (uint32_t v = 0; v < r->setup->head->vertices; v++) {
        v3 sum = {0, 0, 0};
        for (int k = 0; k < PHOTO_NEIGHBOURS; k++)
            sum = v3_mad(sum, r->view.fit.residual[pull[v].point[k]], pull[v].weight[k]);
        r->view.pull[v] = sum;
    }
    for (int side = 0; side < 2; side++) { // the balls follow their lids
        v3 sum = {0, 0, 0};
        for (int k = 0; k < 16; k++)
            sum = v3_mad(sum, r->view.fit.residual[lid_ring[side][k]], 1 / 16.0f);
        r->shape.ball_centre[side] = v3_add(r->shape.ball_centre[side], sum);
    }
}

// Where each vertex is seen in the photograph.
static void find_vertices(struct renderer *r)
{
    const struct photo_fit *fit = &r->view.fit;
    const struct head *head = r->setup->head;

    head_add_expression(head, &r->shape, fit->expression, r->vertex);
    for (uint32_t v = 0; v < head->vertices; v++)
        r->vertex[v] = v3_add(r->vertex[v], r->view.pull[v]);
    head_normals(head, r->vertex, r->normal);
    for (uint32_t v = 0; v < head->vertices; v++) {
        v3 p = r->vertex[v], n = r->normal[v];
        struct vec3 c = vec3_make(10 * (double)p.x, -10 * (double)p.y, -10 * (double)p.z), d;
        c = vec3_add(mat3_apply(&fit->head, c), fit->shift_mm);
        d = mat3_apply(&fit->head, vec3_make((double)n.x, -(double)n.y, -(double)n.z));
        r->view.at[v][0] = (float)(fit->camera.fx * c.x / c.z + fit->camera.cx);
        r->view.at[v][1] = (float)(fit->camera.fy * c.y / c.z + fit->camera.cy);
        r->view.facing[v] = (float)(-vec3_dot(d, c) / vec3_length(c));
    }
}

static struct vec3 fitted(const struct photo_fit *fit, v3 p)
{
    struct vec3 c = vec3_make(10 * (double)p.x, -10 * (double)p.y, -10 * (double)p.z);
    return vec3_add(mat3_apply(&fit->head, c), fit->shift_mm);
}

// Where the iris' centre would be seen in a look into the lens, against where it is: cm outward and up in the head.
static void measure_offset(const struct renderer *r, int side, float ret_offset[2])
{
    const struct photo_fit *fit = &r->view.fit;
    const struct person *p = &r->person;
    struct vec3 eye = fitted(fit, render_ball_centre(r, side)), iris, gap;
    struct angles a = gaze_to_angles(mat3_apply_transposed(&fit->head, vec3_scale(eye, -1)));

    a.yaw_rad += rad_from_deg((double)(side ? -p->kappa_out_deg[side] : p->kappa_out_deg[side]));
    a.pitch_rad += rad_from_deg((double)p->kappa_up_deg[side]);
    iris = vec3_add(eye, vec3_scale(mat3_apply(&fit->head, gaze_from_angles(a)), 10 * (double)IRIS_AHEAD_CM));
    gap = vec3_make((double)r->view.photo->iris[side][0] * iris.z / fit->camera.fx -
                        fit->camera.cx * iris.z / fit->camera.fx - iris.x,
                    (double)r->view.photo->iris[side][1] * iris.z / fit->camera.fy -
                        fit->camera.cy * iris.z / fit->camera.fy - iris.y,
                    0);
    gap = mat3_apply_transposed(&fit->head, gap);
    ret_offset[0] = (float)(side ? gap.x : -gap.x) / 10;
    ret_offset[1] = -(float)gap.y / 10;
}

// The fitted head's pitch is uncertain by several degrees, and so would the new gaze be. Most sitters look into the
// lens (up to some turn of the head), so the balls are moved most of the way to where that is what the picture shows.
static void calibrate_eyes(struct renderer *r)
{
    struct head_angles a = head_angles_from_rotation(&r->view.fit.head);
    float yaw = (float)fabs(deg_from_rad(a.yaw_rad)), trust = LENS_TRUST * smoothstepf(25, 15, yaw), offset[2][2], up;

    for (int side = 0; side < 2; side++) {
        r->person.temporal_shift[side] = USUAL_OUT_CM;
        r->person.vertical_shift[side] = 0;
    }
    for (int side = 0; side < 2; side++)
        measure_offset(r, side, offset[side]);
    up = clampf(trust * 0.5f * (offset[0][1] + offset[1][1]), -EYE_MOVE_MAX_CM, EYE_MOVE_MAX_CM);
    for (int side = 0; side < 2; side++) {
        r->person.temporal_shift[side] += clampf(trust * offset[side][0], -EYE_MOVE_MAX_CM, EYE_MOVE_MAX_CM);
        r->person.vertical_shift[side] = up;
    }
}

// The mesh's lid margin lies on the eye's edge give or take a pixel: what grows out of it when the lid comes down must
// be lid, not the photograph's eye, so places near the margin are looked up a little farther out.
static void inset_lids(struct renderer *r)
{
    const struct facekit *kit = r->setup->head->kit;
    const struct fk_part *face = &kit->part[FK_FACE];

    for (int side = 0; side < 2; side++) {
        const float *a = r->view.photo->point[lid_ring[side][0]], *b = r->view.photo->point[lid_ring[side][8]];
        float middle[2] = {0.5f * (a[0] + b[0]), 0.5f * (a[1] + b[1])};
        float px_per_cm =
            hypotf(a[0] - b[0], a[1] - b[1]) /
            v3_length(v3_sub(kit->neutral[kit->mp[lid_ring[side][0]]], kit->neutral[kit->mp[lid_ring[side][8]]]));
        for (uint32_t v = face->vertex; v < face->vertex_end; v++) {
            float near = 1e9f, dx = r->view.at[v][0] - middle[0], dy = r->view.at[v][1] - middle[1],
                  length = hypotf(dx, dy);
            for (int k = 0; k < 16; k++) {
                v3 gap = v3_sub(kit->neutral[v], kit->neutral[kit->mp[lid_ring[side][k]]]);
                near = minf(near, v3_dot(gap, gap));
            }
            near = sqrtf(near);
            if (near >= INSET_REACH_CM || length < 1e-3f)
                continue;
            // up and down only: the corners stay
            r->view.at[v][1] += dy / length * INSET_CM * px_per_cm * (1 - near / INSET_REACH_CM);
        }
    }
}

static float saturation(v3 skin)
{
    float top = maxf(skin.x, maxf(skin.y, skin.z)), low = minf(skin.x, minf(skin.y, skin.z));
    return (top - low) / maxf(top, 1e-4f);
}

static v3 faded(v3 c, float keep)
{
    float grey = level(c);
    return v3_mix(v3_make(grey, grey, grey), c, keep);
}

// Eyes in a grey or sepia print have no colour of their own; skin tells which it is.
static void fade_colours(struct person *p, float skin_saturation)
{
    float keep = smoothstepf(GREY_SATURATION, COLOUR_SATURATION, skin_saturation);

    p->iris = faded(p->iris, keep);
    p->iris_inner = faded(p->iris_inner, keep);
    p->sclera = faded(v3_make(1.02f * SCLERA_ALBEDO, SCLERA_ALBEDO, 0.98f * SCLERA_ALBEDO), keep);
}

int render_take_photo(struct renderer *r, const struct photo *photo)
{
    struct photo_view *view = &r->view;
    struct rng rng = rng_make(r->setup->seed, STREAM_PHOTO, r->person.id);
    double distance = (double)rng_uniform(&rng, 700, 1500), off[2];
    float width = maxf(1, photo->point[454][0] - photo->point[234][0]);
    int e;

    off[0] = 0.09 * (double)clampf(rng_normal(&rng), -2.5f, 2.5f);
    off[1] = 0.07 * (double)clampf(rng_normal(&rng), -2.5f, 2.5f);
    image_free(&view->image);
    e = image_load(photo->path, 3, &view->image, NULL);
    if (e < 0)
        return e;
    view->photo = photo;
    e = photo_fit(r->setup->head, photo, view->image.width, view->image.height, distance, off, &view->fit);
    if (e < 0)
        return e;
    if (!(view->fit.rms_px < RMS_SHARE_MAX * width))
        return -EDOM;
    memcpy(r->person.identity, view->fit.identity, sizeof(r->person.identity));
    head_make_identity(r->setup->head, r->person.identity, &r->shape);
    pull_vertices(r);
    find_vertices(r);
    render_seat_eyes(r, r->vertex);
    calibrate_eyes(r);
    inset_lids(r);
    for (int side = 0; side < 2; side++)
        view->eye_light[side] =
            v3_mul(measure_whites(view, side, measure_skin(view, side)), 1 / (SCLERA_ALBEDO * LID_SHADE));
    fade_colours(&r->person, photo->grey ? 0 : saturation(v3_add(measure_skin(view, 0), measure_skin(view, 1))));
    return 0;
}

// Same picture, somewhat turned, moved and brought nearer; soft already, so spoilt less.
void render_pose_photo(struct renderer *r)
{
    struct rng rng = rng_make(r->setup->seed, STREAM_POSE, r->scene.index);
    const struct photo_fit *fit = &r->view.fit;
    struct scene *s = &r->scene;
    struct head_angles turn = {0, 0, 0};
    struct mat3 rel, roll;
    v3 both = v3_mix(r->view.eye_light[0], r->view.eye_light[1], 0.5f);
    float gain;

    if (!rng_chance(&rng, 0.4f)) {
        turn.yaw_rad = rad_from_deg((double)rng_uniform(&rng, -7, 7));
        turn.pitch_rad = rad_from_deg((double)rng_uniform(&rng, -5, 5));
    }
    r->view.roll_rad = rad_from_deg(4 * (double)clampf(rng_normal(&rng), -2.5f, 2.5f));
    rel = rotation_from_head_angles(turn);
    roll = rotation_from_vector(vec3_make(0, 0, r->view.roll_rad));
    s->head = mat3_mul(&fit->head, &rel);
    s->head = mat3_mul(&roll, &s->head);
    s->box_share = rng_uniform(&rng, 0.45f, 0.75f);
    s->lids.rest = 0.05f * rng_normal(&rng);
    if (rng_chance(&rng, 0.6f))
        s->spoil.resample = 1;
    s->spoil.blur_px *= rng_unit(&rng);
    s->spoil.infrared = false;
    s->spoil.grey |= r->view.photo->grey;
    s->glasses = s->glasses && rng_chance(&rng, 0.4f);
    expression_from_weights(r->setup->head->kit, fit->expression, &s->expression);
    for (int side = 0; side < 2; side++)
        s->expression.au[expression_au_index(45)][side] = 5 * s->lids.blink[side];
    // lamps as drawn, of the light's colour and as bright as the whites say
    gain = 1 / maxf(level(lighting_irradiance(&s->lighting, v3_make(0, 0, -1))), 1e-4f);
    for (int i = 0; i < s->lighting.count; i++)
        s->lighting.light[i].colour = v3_mul(both, level(s->lighting.light[i].colour) * gain);
    s->lighting.sky = v3_mul(both, level(s->lighting.sky) * gain);
    s->lighting.ground = v3_mul(both, level(s->lighting.ground) * gain);
    s->lighting.exposure = 1;
}

// The photograph's lids go with a look into its lens; they move by the difference to the new look.
int render_photo_lids(const struct renderer *r, const float pitch_deg[2], const float yaw_deg[2],
                      float weights[FK_EXPRESSIONS])
{
    const struct facekit *kit = r->setup->head->kit;
    struct lids still = {.gain = r->scene.lids.gain};
    float was[FK_EXPRESSIONS] = {0}, now[FK_EXPRESSIONS] = {0}, pitch[2], yaw[2];
    int e;

    for (int side = 0; side < 2; side++) {
        v3 p = render_ball_centre(r, side);
        struct vec3 eye = fitted(&r->view.fit, p);
        struct angles a;
        a = gaze_to_angles(mat3_apply_transposed(&r->view.fit.head, vec3_scale(eye, -1)));
        pitch[side] = (float)deg_from_rad(a.pitch_rad) - EYE_PRIMARY_DEG;
        yaw[side] = (float)deg_from_rad(a.yaw_rad);
    }
    e = lids_weights(kit, &still, pitch, yaw, was);
    e = e < 0 ? e : lids_weights(kit, &still, pitch_deg, yaw_deg, now);
    if (e < 0)
        return e;
    for (int i = 0; i < FK_EXPRESSIONS; i++)
        weights[i] += now[i] - was[i];
    for (int side = 0; side < 2; side++) {
        float blink = r->scene.lids.blink[side] + r->scene.lids.rest * (1 - r->scene.lids.blink[side]), *shut, *down;
        shut = &weights[facekit_expression(kit, side ? "eyeBlink_L" : "eyeBlink_R")];
        down = &weights[facekit_expression(kit, side ? "eyeLookDown_L" : "eyeLookDown_R")];
        *shut = clampf(*shut + blink * (1 - maxf(*shut, 0)), -0.25f, 1);
        *down = clampf(*down, -0.4f, maxf(0, 1 - maxf(*shut, 0)) / 0.62f);
    }
    return 0;
}
