// Skin, lips, brows, beard and hair painted on the head's texture, once a person.
#pragma once

#include "train/render/head.h"
#include "train/render/person.h"

#define SKIN_FACE_SIDE  512
#define SKIN_SCALP_SIDE 256
#define NOISE_SIDE      512

// What is known of a texture's point before any person: where it lies on the neutral head.
struct skin_texel {
    uint32_t at; // index into the texture
    v3 pos;
    float around;                     // cylindrical coordinate about the head, cm; pos.y is the other
    float lip, brow, brow_along, eye; // lips 0..1; brow: distance from its middle line in half widths (large = far),
                                      // along 0 inner .. 1 outer; eye: cm from the lid margin
};

struct skin_map {
    size_t count;
    struct skin_texel *texel;
};

struct skin_atlas {
    struct skin_map face, scalp;
    int8_t *noise; // NOISE_SIDE^2, smooth, 8 texels a cell, periodic
};

// Textures of one person: RGBA, linear reflectance stored as its square root, A = gloss.
struct skin {
    uint8_t (*face)[4];  // SKIN_FACE_SIDE^2
    uint8_t (*scalp)[4]; // SKIN_SCALP_SIDE^2
    float level;         // the skin's mean reflectance
};

// -ENOMEM.
int skin_atlas_init(struct skin_atlas *atlas, const struct head *head);
void skin_atlas_free(struct skin_atlas *atlas);
int skin_init(struct skin *skin);
void skin_free(struct skin *skin);
void skin_paint(const struct skin_atlas *atlas, const struct person *p, struct skin *skin);
// 0..1: how much hair grows at this place of the neutral head.
float skin_hair_at(const struct person *p, v3 pos);
// Smooth noise in about -1..1; u, v in cells.
float skin_noise(const struct skin_atlas *atlas, float u, float v);
