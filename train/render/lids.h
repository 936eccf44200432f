// Eyelids: they follow the gaze, loosely, and add blink, squint and the person's resting height.
#pragma once

#include "train/render/facekit.h"

// A person's and a moment's lids.
struct lids {
    float rest;     // resting height, share of a blink; negative: wider
    float gain;     // of following the gaze, about 1
    float blink[2]; // 0..1 by side (0 the subject's right)
};

// Adds eyeLook*, eyeBlink and eyeSquint weights; those of AU5, 7 must be in already, eyeBlink is overwritten. pitch,
// yaw: eye in head, degrees (positive up, positive toward the image's left = the subject's right), by side. -ENOENT
// when the model lacks a shape.
int lids_weights(const struct facekit *kit, const struct lids *lids, const float pitch_deg[2], const float yaw_deg[2],
                 float weights[FK_EXPRESSIONS]);
