// Eyelids follow the gaze: full eyeLookDown at 38 degrees down, Up at 28, In and Out at 38.
#include "train/render/lids.h"

#include <errno.h>
#include <stdio.h>

// How much of a closure a full eyeLookDown and a full eyeSquint are; together with eyeBlink they stay below 1.
#define DOWN_CLOSES   0.62f
#define SQUINT_CLOSES 0.30f

int lids_weights(const struct facekit *kit, const struct lids *lids, const float pitch_deg[2], const float yaw_deg[2],
                 float weights[FK_EXPRESSIONS])
{
    static const char *const names[] = {"eyeLookDown", "eyeLookUp", "eyeLookIn", "eyeLookOut", "eyeBlink", "eyeSquint"};

    for (int side = 0; side < 2; side++) {
        int at[6];
        // the subject's right eye turns out when it looks toward the image's left
        float out = side ? -yaw_deg[side] : yaw_deg[side];
        float down, blink, room;

        for (int n = 0; n < 6; n++) {
            char name[32];
            snprintf(name, sizeof(name), "%s_%c", names[n], side ? 'L' : 'R');
            at[n] = facekit_expression(kit, name);
            if (at[n] < 0)
                return at[n];
        }
        down = clampf(-pitch_deg[side] / 38.0f * lids->gain, 0, 1);
        weights[at[1]] = clampf(pitch_deg[side] / 28.0f * lids->gain, 0, 1) * (1 - lids->blink[side]);
        weights[at[2]] = clampf(-out / 38.0f * lids->gain, 0, 1);
        weights[at[3]] = clampf(out / 38.0f * lids->gain, 0, 1);
        blink = clampf(lids->blink[side] + lids->rest * (1 - lids->blink[side]), -0.25f, 1);
        room = clampf(1 - maxf(blink, 0), 0, 1);
        if (DOWN_CLOSES * down + SQUINT_CLOSES * weights[at[5]] > room) {
            float scale = room / (DOWN_CLOSES * down + SQUINT_CLOSES * weights[at[5]]);
            down *= scale;
            weights[at[5]] *= scale;
        }
        weights[at[0]] = down;
        weights[at[4]] = blink;
    }
    return 0;
}
