// Expressions as FACS action units: intensities drawn with realistic company, and turned into the head's shapes.
#pragma once

#include "train/render/facekit.h"
#include "train/render/rng.h"

#define EXPRESSION_AUS 24

// FACS numbers of the units drawn, ascending; 45 (blink) is last.
extern const int expression_au_number[EXPRESSION_AUS];

// Intensity 0..5 by unit (order of expression_au_number) and side: 0 the subject's right, 1 left. Units without sides
// in the head (17, 18, 22, 26, 27, 28) have the same value twice.
struct expression {
    float au[EXPRESSION_AUS][2];
};

// Index into expression_au_number, or -1.
int expression_au_index(int number);
// Most faces mild, a few strong; the eyelid units 5, 7 and 45 are drawn too, lid following is not (lids.h).
void expression_draw(struct rng *rng, struct expression *ret_expression);
// Adds the units' shapes to weights (AU45 too); -ENOENT when the model lacks a shape.
int expression_weights(const struct facekit *kit, const struct expression *e, float weights[FK_EXPRESSIONS]);
// The way back, for fitted weights: roughly, and shapes that several units share go to the first of them.
void expression_from_weights(const struct facekit *kit, const float weights[FK_EXPRESSIONS],
                             struct expression *ret_expression);
