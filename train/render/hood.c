// Hooded eyes, and eyes without a crease, as a displacement of the skin between upper lid and brow.
#include "train/render/hood.h"

#define LID_POINTS   9
#define SINK_CM      0.42f // of a full hood: how far the fold comes down
#define BULGE_CM     0.16f // and forward, before the lid
#define FOLD_LOW_CM  0.04f // above the lid's margin the fold begins,
#define FOLD_FULL_CM 0.34f // is full,
#define FOLD_HIGH_CM 0.75f // and from here on
#define FOLD_END_CM  1.50f // it ends toward the brow

static const uint16_t lid[2][LID_POINTS] = {{33, 246, 161, 160, 159, 158, 157, 173, 133},
                                            {263, 466, 388, 387, 386, 385, 384, 398, 362}};

// Height of the neutral upper lid's margin at x, corner to corner from outside; ret_across 0 (outer) to 1 (inner
// corner).
static int lid_height(const struct facekit *kit, int side, float x, float *ret_y, float *ret_across)
{
    for (int i = 0; i + 1 < LID_POINTS; i++) {
        v3 a = kit->neutral[kit->mp[lid[side][i]]], b = kit->neutral[kit->mp[lid[side][i + 1]]];
        float t = (x - a.x) / (b.x - a.x);
        if (t < 0 || t > 1)
            continue;
        *ret_y = a.y + t * (b.y - a.y);
        *ret_across = ((float)i + t) / (LID_POINTS - 1);
        return 1;
    }
    return 0;
}

void hood_shape(const struct head *head, const struct person *p, struct head_shape *shape)
{
    const struct facekit *kit = head->kit;
    const struct fk_part *face = &kit->part[FK_FACE];

    if (p->hood == 0)
        return;
    for (uint32_t v = face->vertex; v < face->vertex_end; v++) {
        v3 q = kit->neutral[v];
        float y, across, above, weight;
        if (q.z < 7.5f || q.y < 3 || q.y > 6 || !lid_height(kit, q.x > 0, q.x, &y, &across))
            continue;
        above = q.y - y;
        weight = smoothstepf(FOLD_LOW_CM, FOLD_FULL_CM, above) * smoothstepf(FOLD_END_CM, FOLD_HIGH_CM, above) *
                 smoothstepf(0, 0.15f, across) * smoothstepf(1, 0.8f, across) * (1.1f - 0.4f * across) * p->hood;
        shape->vertex[v] = v3_add(shape->vertex[v], v3_make(0, -SINK_CM * weight, BULGE_CM * weight));
    }
}
