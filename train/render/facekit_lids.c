// The model's eye openings lie too low. In 1,222 portraits of people who look about straight ahead the middle of the
// lids stands 0.054 of the eye's width over the line of the corners; the model's, seen alike, at 0.014: a millimetre,
// as much as five degrees of gaze. So the neutral face is lifted about each opening, and its corners left where they
// are.
#include <math.h>

#include "train/render/facekit.h"

#define LIFT_CM        0.22f // at the middle of the opening
#define BALL_LIFT_CM   0.145f
#define ACROSS_SHARE   0.32f // reach along the eye, of its width: little is left at the corners
#define UP_REACH_CM    1.1f
#define DEPTH_REACH_CM 1.5f

// Shares of the lift at q for an eye with its middle at m.
static float share_at(v3 q, v3 m, float across_cm)
{
    float x = (q.x - m.x) / across_cm, y = (q.y - m.y) / UP_REACH_CM, z = (q.z - m.z) / DEPTH_REACH_CM;
    return expf(-x * x - y * y - z * z);
}

void facekit_lift_lids(struct facekit *kit)
{
    static const int corner[2][2] = {{33, 133}, {362, 263}};
    v3 middle[2];
    float across[2];

    for (int side = 0; side < 2; side++) {
        v3 a = kit->neutral[kit->mp[corner[side][0]]], b = kit->neutral[kit->mp[corner[side][1]]];
        middle[side] = v3_mix(a, b, 0.5f);
        across[side] = ACROSS_SHARE * v3_length(v3_sub(a, b));
    }
    for (size_t v = 0; v < kit->vertices; v++)
        for (int side = 0; side < 2; side++)
            kit->neutral[v].y += LIFT_CM * share_at(kit->neutral[v], middle[side], across[side]);
    kit->ball[0].centre.y += BALL_LIFT_CM;
    kit->ball[1].centre.y += BALL_LIFT_CM;
}
