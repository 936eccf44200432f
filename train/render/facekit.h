// The morphable head (ICT Face Model Light) in memory. Frame: x the subject's left, y up, z out of the face, cm.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "train/render/v3.h"

#define FK_IDENTITIES  100
#define FK_EXPRESSIONS 57
#define FK_MP_POINTS   468

// Vertices [first, end) and polygons [first, end).
struct fk_part {
    uint32_t vertex, vertex_end, polygon, polygon_end;
};

enum fk_part_id {
    FK_FACE,
    FK_HEAD,
    FK_MOUTH,
    FK_SOCKET_LEFT,
    FK_SOCKET_RIGHT,
    FK_GUMS,
    FK_TEETH,
    FK_EYEBALL_LEFT,
    FK_EYEBALL_RIGHT,
    FK_LASHES_LEFT,
    FK_LASHES_RIGHT,
    FK_PARTS,
};

// A shape that moves few vertices.
struct fk_shape {
    size_t count;
    uint32_t *vertex;
    v3 *delta;
};

// How the ball behind the lids follows the identity: centre and radius, and their change a unit of each mode.
struct fk_ball {
    v3 centre, centre_mode[FK_IDENTITIES];
    float radius, radius_mode[FK_IDENTITIES];
};

struct facekit {
    size_t vertices, quads, uvs;
    v3 *neutral;     // [vertices]
    float *identity; // [FK_IDENTITIES][vertices][3]
    struct fk_shape expression[FK_EXPRESSIONS];
    char expression_name[FK_EXPRESSIONS][24];
    int32_t (*quad)[4]; // vertex indices, -1 in the last place of a triangle
    int32_t (*uv_quad)[4];
    float (*uv)[2];
    int32_t mp[FK_MP_POINTS]; // vertex of each MediaPipe mesh point, corrected (facekit_points.c)
    float mp_spread[FK_MP_POINTS];
    struct fk_part part[FK_PARTS];
    struct fk_ball ball[2]; // 0 the subject's right eye, 1 left
};

// dir holds facekit.safetensors and facekit.json. -errno of the files; -EBADMSG when they are not this model's.
int facekit_load(const char *dir, struct facekit **ret_kit);
// Accepts NULL; returns NULL.
struct facekit *facekit_free(struct facekit *kit);
// The index of an expression shape, or -ENOENT.
int facekit_expression(const struct facekit *kit, const char *name);
// Replaces the file's measured vertices of the MediaPipe points that it marks as uncertain.
void facekit_correct_points(int32_t mp[FK_MP_POINTS]);
// Lifts the neutral face about the eyes, and the balls, to where people's lids are.
void facekit_lift_lids(struct facekit *kit);
