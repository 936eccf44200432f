// What stays the same over all pictures of an identity: shape, skin, hair, eyes.
#pragma once

#include "train/render/facekit.h"
#include "train/render/rng.h"

// The iris' centre stands this far before the ball's.
#define IRIS_AHEAD_CM 1.045f
// People's zero is not the model's: heads fitted to the portraits, whose sitters mostly look straight into a lens at
// their eyes' height, are pitched by minus this in the median. Eyes that look so far up in the model's frame are at
// rest, and so are their lids.
#define EYE_PRIMARY_DEG 8.6f

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
    float recede, peak, sweep, hair_long, hair_cover; // hairline's shape; length below the nape and over the ears, 0..1
    float brow_density, brow_width, brow_lift;
    enum person_beard beard;
    float beard_density, lash_density, eyeliner;
    v3 cloth;
    float cloth_line;
    // eyes; side 0 is the subject's right
    float ball_radius, iris_radius, pupil_bias, limbus_width;
    float kappa_out_deg[2], kappa_up_deg[2];    // optical axis against line of sight
    float temporal_shift[2], vertical_shift[2]; // of the balls' centres, cm out and up from their seats (place.c)
    v3 iris, iris_inner, sclera;
    float iris_grain;
    float lid_rest, hood; // hood: how far the fold above hangs over the lid, 0..1 (hood.h)
    // glasses
    enum person_glasses glasses;
    float frame_width, frame_height, frame_round, frame_thick, frame_down, lens_tint;
    v3 frame;
};

// A pure function of (seed, id).
void person_draw(uint64_t seed, uint32_t id, struct person *ret_person);
