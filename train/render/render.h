// Renders one picture with its labels: a pure function of (seed, index), whatever thread draws it.
#pragma once

#include "train/render/eye.h"
#include "train/render/glasses.h"
#include "train/render/labels.h"
#include "train/render/photo.h"
#include "train/render/picture.h"
#include "train/render/raster.h"
#include "train/render/skin.h"

#define RENDER_OVERSAMPLING 2

enum render_mode { RENDER_PLAIN, RENDER_PHOTO, RENDER_MIX };

// Read-only and shared by all workers.
struct render_setup {
    const struct head *head;
    const struct skin_atlas *atlas;
    const struct photo_set *photos; // may be NULL: no photographs
    uint64_t seed;
    int side; // pixels
    enum render_mode mode;
    uint32_t pictures_per_identity, identities; // identity = index / pictures_per_identity % identities
    struct scene_limits limits;
};

// One worker's buffers and the person it drew last.
struct renderer;

// -ENOMEM. setup must outlive it.
int renderer_new(const struct render_setup *setup, struct renderer **ret_renderer);
// Accepts NULL; returns NULL.
struct renderer *renderer_free(struct renderer *r);
// Draws picture `index` into an RGB image of setup->side, allocated by the caller. labels->file is left empty.
// -EDOM when no pose of the draw puts the face before the camera.
int renderer_draw(struct renderer *r, uint64_t index, struct image *rgb, struct labels *ret_labels);
