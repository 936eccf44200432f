// Tells faces from their parts by boxes and scores: see face_parts.h.
#include "models/face_parts.h"

#include <math.h>

static bool is_part_of(const struct face_reading *part, const struct face_reading *whole)
{
    const struct box *a = &part->box, *b = &whole->box;
    float w = fminf(a->x + a->w, b->x + b->w) - fmaxf(a->x, b->x);
    float h = fminf(a->y + a->h, b->y + b->h) - fmaxf(a->y, b->y);
    return w > 0 && h > 0 && a->w * a->h < b->w * b->h && part->score <= whole->score &&
           w * h > FACE_PART_SHARE * a->w * a->h;
}

int face_parts_drop(struct face_reading *faces, int count, int *from)
{
    bool part[FACE_READER_MAX_FACES] = {false};
    for (int i = 0; i < count; i++)
        for (int k = 0; k < count; k++)
            part[i] = part[i] || (k != i && is_part_of(&faces[i], &faces[k]));
    int kept = 0;
    for (int i = 0; i < count; i++) {
        if (part[i])
            continue;
        faces[kept] = faces[i];
        from[kept++] = from[i];
    }
    return kept;
}
