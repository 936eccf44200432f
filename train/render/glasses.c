// Builds a pair of glasses on a face.
#include "train/render/glasses.h"

// Lenses bend back to the sides: z falls by this times the square of the distance from the nose (cm).
#define WRAP_BEND    0.02f
#define RIDGE_GAP_CM 0.25f
#define EAR_BACK_CM  3.5f
#define EAR_OUT_CM   0.45f

struct builder {
    struct glasses *g;
    uint32_t vertices, triangles;
};

static uint32_t add_vertex(struct builder *b, v3 p, v3 n)
{
    b->g->vertex[b->vertices] = p;
    b->g->normal[b->vertices] = n;
    return b->vertices++;
}

static void add_triangle(struct builder *b, uint32_t i, uint32_t j, uint32_t k)
{
    uint32_t *t = b->g->triangle[b->triangles++];
    t[0] = i;
    t[1] = j;
    t[2] = k;
}

static void add_band(struct builder *b, v3 from, v3 to, float width, v3 normal)
{
    v3 half = v3_make(0, 0.5f * width, 0);
    uint32_t i = add_vertex(b, v3_add(from, half), normal);

    add_vertex(b, v3_sub(from, half), normal);
    add_vertex(b, v3_add(to, half), normal);
    add_vertex(b, v3_sub(to, half), normal);
    add_triangle(b, i, i + 1, i + 2);
    add_triangle(b, i + 2, i + 1, i + 3);
}

// A point of a superellipse about (0, 0).
static v3 outline(const struct person *p, float turn, float grow)
{
    float c = cosf(turn), s = sinf(turn), e = 2 / p->frame_round;
    return v3_make((0.5f * p->frame_width + grow) * copysignf(powf(fabsf(c), e), c),
                   (0.5f * p->frame_height + grow) * copysignf(powf(fabsf(s), e), s), 0);
}

static v3 on_front(v3 p, float front)
{
    p.z = front - WRAP_BEND * p.x * p.x;
    return p;
}

void glasses_build(const struct person *p, const struct glasses_seat *seat, struct glasses *ret_glasses)
{
    struct builder b = {ret_glasses, 0, 0};
    float front = seat->ridge.z + RIDGE_GAP_CM, apart = 0.5f * (seat->eye[1].x - seat->eye[0].x);
    float half = 0.5f * p->frame_width, y = 0.5f * (seat->eye[0].y + seat->eye[1].y) - p->frame_down, x;
    uint32_t ring[2], centre[2];

    apart = maxf(apart, half + 0.7f);
    for (int side = 0; side < 2; side++) {
        v3 middle = v3_make(side ? apart : -apart, y, 0), n;
        ring[side] = b.vertices;
        for (uint32_t i = 0; i < GLASSES_SEGMENTS; i++) {
            float turn = 6.2831853f * (float)i / GLASSES_SEGMENTS;
            for (int outer = 0; outer < 2; outer++) {
                v3 at = on_front(v3_add(middle, outline(p, turn, outer ? 0 : -p->frame_thick)), front);
                n = v3_unit(v3_make(4 * WRAP_BEND * at.x, 0.12f * (at.y - y), 1));
                add_vertex(&b, at, n);
            }
        }
        centre[side] = add_vertex(&b, on_front(middle, front), v3_unit(v3_make(4 * WRAP_BEND * middle.x, 0, 1)));
        for (uint32_t i = 0; i < GLASSES_SEGMENTS; i++) {
            uint32_t a = ring[side] + 2 * i, c = ring[side] + 2 * ((i + 1) % GLASSES_SEGMENTS);
            add_triangle(&b, a, a + 1, c);
            add_triangle(&b, c, a + 1, c + 1);
        }
    }
    x = apart - half;
    add_band(&b, on_front(v3_make(-x, y + 0.2f * p->frame_height, 0), front),
             on_front(v3_make(x, y + 0.2f * p->frame_height, 0), front), maxf(0.1f, p->frame_thick), v3_make(0, 0, 1));
    for (int side = 0; side < 2; side++) {
        float sign = side ? 1 : -1;
        v3 hinge = on_front(v3_make(sign * (apart + half), y + 0.25f * p->frame_height, 0), front);
        v3 ear = v3_make(seat->temple[side].x + sign * EAR_OUT_CM, seat->eye[side].y + 0.3f,
                         seat->temple[side].z - EAR_BACK_CM);
        add_band(&b, hinge, ear, maxf(0.12f, p->frame_thick), v3_make(sign, 0, 0.2f));
    }
    for (int side = 0; side < 2; side++)
        for (uint32_t i = 0; i < GLASSES_SEGMENTS; i++)
            add_triangle(&b, centre[side], ring[side] + 2 * i, ring[side] + 2 * ((i + 1) % GLASSES_SEGMENTS));
}
