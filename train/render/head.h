// The head as triangles: topology once, shape per identity, expression per picture.
#pragma once

#include "train/render/facekit.h"

enum head_material {
    HEAD_FACE,
    HEAD_SCALP, // head, neck and shoulders
    HEAD_MOUTH,
    HEAD_SOCKET,
    HEAD_GUMS,
    HEAD_TEETH,
};

// Directional visibility of a vertex: spherical harmonics to order 2.
#define HEAD_SH 9

struct head {
    const struct facekit *kit;
    uint32_t triangles;      // of the opaque parts
    uint32_t (*triangle)[3]; // vertex indices
    uint32_t (*triangle_uv)[3];
    uint8_t *material;            // enum head_material by triangle
    uint32_t vertices;            // drawn vertices are below this
    uint32_t face_end;            // triangles before this are the face part
    uint32_t inside_from;         // gums, tongue and teeth from here on
    float (*visibility)[HEAD_SH]; // by vertex, of the neutral head
    float *open;                  // by vertex: share of the cosine-weighted sky that is not hidden by the head itself
};

// Builds the topology and casts the neutral head's visibility (about half a second). kit must outlive the head.
int head_init(struct head *head, const struct facekit *kit);
void head_free(struct head *head);

// What an identity is before any expression; eyes: 0 the subject's right, 1 left.
struct head_shape {
    v3 *vertex; // [kit->vertices]
    v3 ball_centre[2];
    float ball_radius[2];
};

// shape->vertex must be allocated with kit->vertices entries.
void head_make_identity(const struct head *head, const float weights[FK_IDENTITIES], struct head_shape *shape);
// out[kit->vertices] = shape + expressions.
void head_add_expression(const struct head *head, const struct head_shape *shape, const float weights[FK_EXPRESSIONS],
                         v3 *out);
// Unit normals of the drawn vertices, outward.
void head_normals(const struct head *head, const v3 *vertex, v3 *ret_normal);
// Real spherical harmonics to order 2 of a unit direction.
void head_sh(v3 direction, float ret_y[HEAD_SH]);
