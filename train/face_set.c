// The growing list of samples, and what a folder holds.
#include "train/face_set.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct face_sample *face_set_append(struct face_set *set)
{
    if (set->count == set->room) {
        int room = set->room ? 2 * set->room : 256;
        struct face_sample *samples = realloc(set->samples, (size_t)room * sizeof(*samples));
        if (!samples)
            return NULL;
        set->samples = samples;
        set->room = room;
    }
    struct face_sample *s = &set->samples[set->count++];
    memset(s, 0, sizeof(*s));
    return s;
}

void face_set_clear(struct face_set *set)
{
    for (int i = 0; i < set->count; i++)
        image_free(&set->samples[i].image);
    free(set->samples);
    memset(set, 0, sizeof(*set));
}

static bool holds(const char *folder, const char *name)
{
    char path[PATH_MAX];
    return snprintf(path, sizeof(path), "%s/%s", folder, name) < PATH_MAX && access(path, R_OK) == 0;
}

int face_set_add(struct face_set *set, const char *folder, enum face_set_fold fold, int limit, char *message)
{
    if (holds(folder, "labels.jsonl"))
        return face_set_add_renders(set, folder, limit, 2, message);
    static const char *const names[] = {"portraits", "portraits_hd"};
    int found = 0;
    for (int i = 0; i < 2; i++) {
        char file[32];
        snprintf(file, sizeof(file), "%s.jsonl", names[i]);
        if (!holds(folder, file))
            continue;
        int r = face_set_add_portraits(set, folder, names[i], fold, message);
        if (r < 0)
            return r;
        found++;
    }
    if (found)
        return 0;
    snprintf(message, FACE_SET_MESSAGE_SIZE, "%.300s has neither labels.jsonl nor portraits.jsonl", folder);
    return -ENOENT;
}
