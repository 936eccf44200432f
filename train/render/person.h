// What stays the same over all pictures of an identity: shape, skin, hair, eyes.
#pragma once

#include "train/render/facekit.h"
#include "train/render/rng.h"

enum person_beard { BEARD_NONE, BEARD_STUBBLE, BEARD_MOUSTACHE, BEARD_CHIN, BEARD_FULL };
enum person_glasses { GLASSES_NEVER, GLASSES_SOMETIMES, GLASSES_ALWAYS };

// Linear reflectances; lengths in cm of the head.
struct person {
    uint32_t id;
    float identity[FK_IDENTITIES];
    // skin
    v3 skin, lip;
    float redness, blotch, freckles, wrinkles, gloss, dark_circles, moles;
    float noise_at[4]; // offsets into the noise, cm
    // hair
    v3 hair, brow;
    float hairline, temples, hair_volume, hair_side, baldness, hair_grain;
    float brow_density, brow_width, brow_lift;
    enum person_beard beard;
    float beard_density, lash_density, eyeliner;
    v3 cloth;
    float cloth_line;
    // eyes; side 0 is the subject's right
    float ball_radius, iris_radius, pupil_bias, limbus_width;
    float kappa_out_deg[2], kappa_up_deg[2]; // optical axis against line of sight
    float temporal_shift, vertical_shift[2];
    v3 iris, iris_inner, sclera;
    float iris_grain;
    float lid_rest;
    // glasses
    enum person_glasses glasses;
    float frame_width, frame_height, frame_round, frame_thick, frame_down, lens_tint;
    v3 frame;
};

// A pure function of (seed, id).
void person_draw(uint64_t seed, uint32_t id, struct person *ret_person);
