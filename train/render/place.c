// Places head, camera and eyes of a picture and derives its labels.
#include <errno.h>
#include <string.h>

#include "train/render/renderer.h"

// The turning eye's front stands this far before the head's own ball (cm).
#define EYE_FORWARD_CM 0.02f
// In 1,222 portraits of people who mostly look into the lens the iris stands 0.073 of the eye's width over the line of
// the corners, give or take 0.019, and about 0.02 over the middle of the lids. The model's own balls stand anywhere
// within 1.2 mm (one standard deviation), which would be six degrees of gaze: here they follow the corners, and the
// lids in part.
#define SEAT_OVER    0.066f // makes 0.021 of it in renders of a look into the lens
#define SEAT_BY_LIDS 0.4f

static const uint16_t upper_lid[2][EYE_LID_POINTS] = {{33, 246, 161, 160, 159, 158, 157, 173, 133},
                                                      {263, 466, 388, 387, 386, 385, 384, 398, 362}};
static const uint16_t lower_lid[2][EYE_LID_POINTS] = {{33, 7, 163, 144, 145, 153, 154, 155, 133},
                                                      {263, 249, 390, 373, 374, 380, 381, 382, 362}};

static v3 mesh_point(const struct renderer *r, int point)
{
    return r->vertex[r->setup->head->kit->mp[point]];
}

// Head frame of the labels (x image right, y down, z into the head), mm.
static struct vec3 to_head_mm(v3 p)
{
    return vec3_make(10 * (double)p.x, -10 * (double)p.y, -10 * (double)p.z);
}

static struct vec3 to_camera_mm(const struct renderer *r, v3 p)
{
    return vec3_add(mat3_apply(&r->scene.head, to_head_mm(p)), r->shift_mm);
}

v3 render_to_camera(const struct renderer *r, v3 p)
{
    struct vec3 c = to_camera_mm(r, p);
    return v3_make((float)c.x, (float)c.y, (float)c.z);
}

// Mean of the eyes' corner midpoints and the mouth's corners (vision/face_shape.h).
static v3 face_origin(const struct renderer *r)
{
    v3 right = v3_mix(mesh_point(r, 33), mesh_point(r, 133), 0.5f),
       left = v3_mix(mesh_point(r, 263), mesh_point(r, 362), 0.5f);
    return v3_mul(v3_add(v3_add(right, left), v3_add(mesh_point(r, 61), mesh_point(r, 291))), 0.25f);
}

void render_seat_eyes(struct renderer *r, const v3 *vertex)
{
    const int32_t *mp = r->setup->head->kit->mp;
    const float above = (float)rad_from_deg((double)EYE_PRIMARY_DEG);

    for (int side = 0; side < 2; side++) {
        const uint16_t *upper = upper_lid[side], *lower = lower_lid[side];
        v3 high = v3_mix(vertex[mp[upper[3]]], vertex[mp[upper[5]]], 0.5f);
        v3 low = v3_mix(vertex[mp[lower[3]]], vertex[mp[lower[5]]], 0.5f), middle = v3_mix(high, low, 0.5f);
        v3 outer = vertex[mp[upper[0]]], inner = vertex[mp[upper[8]]];
        v3 seat = v3_mix(v3_mix(outer, inner, 0.5f), middle, SEAT_BY_LIDS);
        float z = r->shape.ball_centre[side].z + r->shape.ball_radius[side] + EYE_FORWARD_CM - r->person.ball_radius;
        // seen from where the eye at rest looks, iris and ball's centre are in one line
        r->seat_y[side] =
            seat.y + (SEAT_OVER * v3_length(v3_sub(outer, inner)) + (z - seat.z) * sinf(above)) / cosf(above);
    }
}

v3 render_ball_centre(const struct renderer *r, int side)
{
    const struct person *p = &r->person;
    v3 c = r->shape.ball_centre[side];

    c.z += r->shape.ball_radius[side] + EYE_FORWARD_CM - p->ball_radius;
    c.x += side ? p->temporal_shift[1] : -p->temporal_shift[0];
    c.y = r->seat_y[side] + p->vertical_shift[side];
    return c;
}

// Focal length and principal point that put the mesh points' box where the scene wants it.
static int place_camera(struct renderer *r, struct camera *ret_camera)
{
    double x0 = 1e9, x1 = -1e9, y0 = 1e9, y1 = -1e9, side = r->setup->side, f;

    for (int i = 0; i < MP_MESH_POINTS; i++) {
        struct vec3 c = to_camera_mm(r, mesh_point(r, i));
        if (c.z < 20)
            return -EDOM;
        x0 = fmin(x0, c.x / c.z);
        x1 = fmax(x1, c.x / c.z);
        y0 = fmin(y0, c.y / c.z);
        y1 = fmax(y1, c.y / c.z);
    }
    f = (double)r->scene.box_share * side / fmax(x1 - x0, y1 - y0);
    *ret_camera = (struct camera){f, f, (double)r->scene.box_x * side - f * 0.5 * (x0 + x1),
                                  (double)r->scene.box_y * side - f * 0.5 * (y0 + y1)};
    return 0;
}

static struct vec3 to_head_turn(const struct renderer *r, struct vec3 direction)
{
    return mat3_apply_transposed(&r->scene.head, direction);
}

// Eye in head by side, degrees from its primary position.
static void eye_angles(const struct renderer *r, const struct labels *l, float pitch[2], float yaw[2])
{
    for (int side = 0; side < 2; side++) {
        struct angles a = gaze_to_angles(to_head_turn(r, l->sight[side]));
        pitch[side] = (float)deg_from_rad(a.pitch_rad) - EYE_PRIMARY_DEG;
        yaw[side] = (float)deg_from_rad(a.yaw_rad);
    }
}

static struct point project(const struct camera *c, struct vec3 p)
{
    return (struct point){(float)(c->fx * p.x / p.z + c->cx), (float)(c->fy * p.y / p.z + c->cy)};
}

// The eye's optical axis: the line of sight turned outward and up by kappa, in the head's frame.
static void place_eye(struct renderer *r, struct labels *l, int side)
{
    const struct person *p = &r->person;
    struct angles a = gaze_to_angles(to_head_turn(r, l->sight[side]));
    struct vec3 axis, c = l->eye_mm[side], x = mat3_column(&r->scene.head, 0), y = mat3_column(&r->scene.head, 1);
    struct vec3 middle, across[2];
    struct eye *eye = &r->eye[side];
    struct point *iris = l->iris + (side ? 5 : 0);

    a.yaw_rad += rad_from_deg((double)(side ? -p->kappa_out_deg[side] : p->kappa_out_deg[side]));
    a.pitch_rad += rad_from_deg((double)p->kappa_up_deg[side]);
    axis = mat3_apply(&r->scene.head, gaze_from_angles(a));
    eye_init(eye, p, v3_make((float)c.x, (float)c.y, (float)c.z), v3_make((float)axis.x, (float)axis.y, (float)axis.z),
             r->scene.pupil_cm);
    eye->big = render_to_camera(r, r->shape.ball_centre[side]);
    eye->big_r = 10 * r->shape.ball_radius[side];
    eye->lighting = &r->scene.lighting;
    middle = vec3_add(c, vec3_scale(axis, (double)eye->limbus_at));
    across[0] = vec3_unit(vec3_sub(x, vec3_scale(axis, vec3_dot(x, axis))));
    across[1] = vec3_unit(vec3_sub(y, vec3_scale(axis, vec3_dot(y, axis))));
    iris[0] = project(&l->camera, middle);
    for (int k = 0; k < 4; k++) { // image right, top, left, bottom
        double sign = k == 0 || k == 3 ? 1 : -1;
        iris[1 + k] = project(&l->camera, vec3_add(middle, vec3_scale(across[k & 1], sign * (double)eye->iris_r)));
    }
    for (int k = 0; k < EYE_LID_POINTS; k++) {
        struct point u = project(&l->camera, to_camera_mm(r, mesh_point(r, upper_lid[side][k])));
        struct point d = project(&l->camera, to_camera_mm(r, mesh_point(r, lower_lid[side][k])));
        eye->upper[k][0] = RENDER_OVERSAMPLING * u.x;
        eye->upper[k][1] = RENDER_OVERSAMPLING * u.y;
        eye->lower[k][0] = RENDER_OVERSAMPLING * d.x;
        eye->lower[k][1] = RENDER_OVERSAMPLING * d.y;
    }
    eye->px_per_mm = RENDER_OVERSAMPLING * (float)(l->camera.fx / c.z);
}

static void label_points(const struct renderer *r, struct labels *l)
{
    float x0 = 1e9f, x1 = -1e9f, y0 = 1e9f, y1 = -1e9f;

    for (int i = 0; i < MP_MESH_POINTS; i++) {
        struct point p = l->mesh[i] = project(&l->camera, to_camera_mm(r, mesh_point(r, i)));
        x0 = minf(x0, p.x);
        x1 = maxf(x1, p.x);
        y0 = minf(y0, p.y);
        y1 = maxf(y1, p.y);
    }
    for (int i = 0; i < FACE_LANDMARKS; i++)
        l->landmark[i] = l->mesh[mp68[i]];
    l->box[0] = x0;
    l->box[1] = y0;
    l->box[2] = x1 - x0;
    l->box[3] = y1 - y0;
    for (int side = 0; side < 2; side++) {
        v3 gap = v3_sub(mesh_point(r, upper_lid[side][4]), mesh_point(r, lower_lid[side][4]));
        l->opening_mm[side] = 10 * maxf(0, gap.y);
    }
}

// The face origin where the photograph has it, after the picture's roll.
static struct vec3 photo_face(const struct renderer *r)
{
    const struct photo_fit *fit = &r->view.fit;
    struct vec3 c = vec3_add(mat3_apply(&fit->head, to_head_mm(face_origin(r))), fit->shift_mm);
    struct mat3 roll = rotation_from_vector(vec3_make(0, 0, r->view.roll_rad));
    return mat3_apply(&roll, c);
}

static void make_vertices(struct renderer *r, const float weights[FK_EXPRESSIONS])
{
    head_add_expression(r->setup->head, &r->shape, weights, r->vertex);
    if (r->is_photo)
        for (uint32_t v = 0; v < r->setup->head->vertices; v++)
            r->vertex[v] = v3_add(r->vertex[v], r->view.pull[v]);
}

int render_place(struct renderer *r, struct labels *l)
{
    const struct render_setup *s = r->setup;
    float weights[FK_EXPRESSIONS] = {0}, pitch[2], yaw[2];
    struct vec3 between;
    int e;

    if (r->is_photo)
        memcpy(weights, r->view.fit.expression, sizeof(weights));
    e = r->is_photo ? 0 : expression_weights(s->head->kit, &r->scene.expression, weights);
    if (e < 0)
        return e;
    make_vertices(r, weights);
    if (r->is_photo)
        r->scene.face_mm = photo_face(r);
    r->shift_mm = vec3_sub(r->scene.face_mm, mat3_apply(&r->scene.head, to_head_mm(face_origin(r))));
    if (r->scene.given)
        l->camera = r->scene.given->camera;
    else
        e = place_camera(r, &l->camera);
    if (e < 0)
        return e;
    l->head = r->scene.head;
    for (int side = 0; side < 2; side++)
        l->eye_mm[side] = to_camera_mm(r, render_ball_centre(r, side));
    between = vec3_scale(vec3_add(l->eye_mm[0], l->eye_mm[1]), 0.5);
    l->target_mm = r->scene.given ? r->scene.given->target_mm
                                  : scene_draw_target(s->seed, r->scene.index, &r->scene.head, between);
    l->face_mm = r->scene.face_mm;
    e = labels_derive(l);
    if (e < 0)
        return e;
    eye_angles(r, l, pitch, yaw);
    e = r->is_photo ? render_photo_lids(r, pitch, yaw, weights)
                    : lids_weights(s->head->kit, &r->scene.lids, pitch, yaw, weights);
    if (e < 0)
        return e;
    make_vertices(r, weights);
    l->face_mm = to_camera_mm(r, face_origin(r)); // the lids' corners have moved a little
    e = labels_derive(l);
    if (e < 0)
        return e;
    for (int side = 0; side < 2; side++)
        place_eye(r, l, side);
    label_points(r, l);
    l->expression = r->scene.expression;
    memcpy(l->blink, r->scene.lids.blink, sizeof(l->blink));
    return 0;
}

void render_project(struct renderer *r, const struct camera *camera)
{
    const struct mat3 *m = &r->scene.head;
    float k = RENDER_OVERSAMPLING, fx = k * (float)camera->fx, fy = k * (float)camera->fy;
    float cx = k * (float)camera->cx, cy = k * (float)camera->cy, t[3];
    const float *c = r->to_camera;

    for (int i = 0; i < 3; i++) {
        r->to_camera[3 * i] = (float)m->m[i][0];
        r->to_camera[3 * i + 1] = -(float)m->m[i][1];
        r->to_camera[3 * i + 2] = -(float)m->m[i][2];
    }
    t[0] = (float)r->shift_mm.x;
    t[1] = (float)r->shift_mm.y;
    t[2] = (float)r->shift_mm.z;
    for (uint32_t v = 0; v < r->setup->head->kit->vertices; v++) {
        v3 p = v3_mul(v3_add(r->vertex[v], r->hair[v]), 10), q;
        q = v3_make(c[0] * p.x + c[1] * p.y + c[2] * p.z + t[0], c[3] * p.x + c[4] * p.y + c[5] * p.z + t[1],
                    c[6] * p.x + c[7] * p.y + c[8] * p.z + t[2]);
        r->camera[v] = q;
        r->screen[v] = q.z > 20 ? v3_make(fx * q.x / q.z + cx, fy * q.y / q.z + cy, 1 / q.z) : v3_make(0, 0, -1);
    }
}
