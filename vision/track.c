// Several faces followed from frame to frame: see track.h.
#include "vision/track.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>

// Share of the newest speed in the smoothed one, and how fast a prediction stops after the last sighting.
#define SPEED_GAIN 0.5f
#define FADE_S     0.25f

// Constant velocity whose speed decays with FADE_S: after a long miss the face is expected where it came to rest.
struct box track_predict(const struct track *track, int64_t time_ns)
{
    double dt = time_ns > track->seen_ns ? (double)(time_ns - track->seen_ns) * 1e-9 : 0;
    float reach = (float)(FADE_S * (1 - exp(-dt / FADE_S)));
    struct box box = track->box;
    box.x += track->velocity_px_s[0] * reach;
    box.y += track->velocity_px_s[1] * reach;
    return box;
}

// How well a detection continues a track: 0 = not at all, up to 2: overlap plus nearness of centres.
static float affinity(const struct track_settings *settings, struct box predicted, struct box found)
{
    float iou = box_iou(predicted, found);
    float edge = fmaxf(fmaxf(predicted.w, predicted.h), fmaxf(found.w, found.h));
    float smaller = fminf(predicted.w * predicted.h, found.w * found.h);
    float larger = fmaxf(predicted.w * predicted.h, found.w * found.h);
    float distance = hypotf(predicted.x + predicted.w / 2 - found.x - found.w / 2,
                            predicted.y + predicted.h / 2 - found.y - found.h / 2);
    float nearness = 1 - distance / (settings->max_centre_share * edge);
    if (!(smaller > 0.3f * larger)) // a face does not change its size threefold between frames
        return 0;
    if (!(iou >= settings->min_iou) && !(nearness > 0))
        return 0;
    return iou + fmaxf(nearness, 0) + 1e-6f;
}

// Assignment of least total cost for a square matrix (Hungarian method with potentials, Kuhn 1955, Munkres 1957).
// Greedy would give a crossing face its neighbour's id when that pair happens to score best; at 16 faces the optimum
// costs microseconds. ret_column[row] is the column of each row.
static void assign(float cost[TRACK_MAX_FACES][TRACK_MAX_FACES], int n, int *ret_column)
{
    float row_potential[TRACK_MAX_FACES + 1] = {0}, column_potential[TRACK_MAX_FACES + 1] = {0};
    int row_of[TRACK_MAX_FACES + 1] = {0}, way[TRACK_MAX_FACES + 1] = {0}; // 1-based; 0 = none
    for (int i = 1; i <= n; i++) {
        float least[TRACK_MAX_FACES + 1];
        bool used[TRACK_MAX_FACES + 1] = {false};
        int j0 = 0;
        row_of[0] = i;
        for (int j = 0; j <= n; j++)
            least[j] = INFINITY;
        do {
            int i0 = row_of[j0], j1 = 0;
            float delta = INFINITY;
            used[j0] = true;
            for (int j = 1; j <= n; j++) {
                if (used[j])
                    continue;
                float reduced = cost[i0 - 1][j - 1] - row_potential[i0] - column_potential[j];
                if (reduced < least[j]) {
                    least[j] = reduced;
                    way[j] = j0;
                }
                if (least[j] < delta) {
                    delta = least[j];
                    j1 = j;
                }
            }
            for (int j = 0; j <= n; j++) {
                if (used[j]) {
                    row_potential[row_of[j]] += delta;
                    column_potential[j] -= delta;
                } else {
                    least[j] -= delta;
                }
            }
            j0 = j1;
        } while (row_of[j0] != 0);
        for (; j0; j0 = way[j0])
            row_of[j0] = row_of[way[j0]];
    }
    for (int j = 1; j <= n; j++)
        ret_column[row_of[j] - 1] = j - 1;
}

static void track_see(struct track *track, struct box found, int64_t time_ns)
{
    float dt = (float)(time_ns - track->seen_ns) * 1e-9f;
    if (dt > 1e-4f) {
        float vx = (found.x + found.w / 2 - track->box.x - track->box.w / 2) / dt;
        float vy = (found.y + found.h / 2 - track->box.y - track->box.h / 2) / dt;
        track->velocity_px_s[0] += SPEED_GAIN * (vx - track->velocity_px_s[0]);
        track->velocity_px_s[1] += SPEED_GAIN * (vy - track->velocity_px_s[1]);
    }
    track->box = found;
    track->seen_ns = time_ns;
    track->seen = true;
    if (track->hits < INT32_MAX)
        track->hits++;
}

static void drop(struct tracker *tracker, int i)
{
    tracker->tracks[i] = tracker->tracks[--tracker->count];
}

// A slot for a new face: a free one, else the one unseen for longest. There are never more detections than slots, so
// one is there.
static struct track *new_slot(struct tracker *tracker)
{
    if (tracker->count < TRACK_MAX_FACES)
        return &tracker->tracks[tracker->count++];
    struct track *oldest = NULL;
    for (int i = 0; i < tracker->count; i++) {
        struct track *t = &tracker->tracks[i];
        if (!t->seen && (!oldest || t->seen_ns < oldest->seen_ns))
            oldest = t;
    }
    return oldest;
}

static void give_id(struct tracker *tracker, const struct track_settings *settings, struct track *track)
{
    if (track->id == 0 && track->hits >= settings->birth_hits && tracker->last_id < UINT32_MAX)
        track->id = ++tracker->last_id;
}

static void forget(struct tracker *tracker, const struct track_settings *settings)
{
    for (int i = tracker->count - 1; i >= 0; i--) {
        const struct track *t = &tracker->tracks[i];
        if (!t->seen && (t->id == 0 || tracker->time_ns - t->seen_ns > settings->death_ns))
            drop(tracker, i);
    }
}

int track_update(struct tracker *tracker, const struct track_settings *settings, const struct box *boxes, int count,
                 int64_t time_ns, uint32_t *ret_ids)
{
    float cost[TRACK_MAX_FACES][TRACK_MAX_FACES];
    int column[TRACK_MAX_FACES], track_of[TRACK_MAX_FACES];
    if (count < 0 || settings->birth_hits < 1 || settings->death_ns < 0 || !(settings->min_iou >= 0) ||
        !(settings->max_centre_share > 0))
        return -EINVAL;
    if (tracker->time_ns < time_ns)
        tracker->time_ns = time_ns;
    for (int j = 0; j < count; j++)
        ret_ids[j] = 0;
    int found = count < TRACK_MAX_FACES ? count : TRACK_MAX_FACES, known = tracker->count;
    int n = found > known ? found : known;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            cost[i][j] = 0;
            if (i < known && j < found)
                cost[i][j] = -affinity(settings, track_predict(&tracker->tracks[i], tracker->time_ns), boxes[j]);
        }
    assign(cost, n, column);
    for (int j = 0; j < found; j++)
        track_of[j] = -1;
    for (int i = 0; i < known; i++) {
        tracker->tracks[i].seen = false;
        if (column[i] < found && cost[i][column[i]] < 0)
            track_of[column[i]] = i;
    }
    for (int j = 0; j < found; j++)
        if (track_of[j] >= 0)
            track_see(&tracker->tracks[track_of[j]], boxes[j], tracker->time_ns);
    for (int j = 0; j < found; j++) {
        struct track *track = track_of[j] >= 0 ? &tracker->tracks[track_of[j]] : new_slot(tracker);
        if (track_of[j] < 0)
            *track = (struct track){.box = boxes[j], .hits = 1, .seen_ns = tracker->time_ns, .seen = true};
        give_id(tracker, settings, track);
        ret_ids[j] = track->id;
    }
    forget(tracker, settings);
    return 0;
}

const struct track *track_find(const struct tracker *tracker, uint32_t id)
{
    for (int i = 0; id != 0 && i < tracker->count; i++)
        if (tracker->tracks[i].id == id)
            return &tracker->tracks[i];
    return NULL;
}
