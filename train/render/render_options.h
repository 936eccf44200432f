// Command line of gaze-render.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "train/render/render.h"

#define RENDER_JOBS_MAX 64

struct render_options {
    const char *facekit, *out, *sheet, *portraits;
    long long count, start, identities, per_identity, jobs, size;
    uint64_t seed;
    bool mesh, marks;
    enum render_mode mode;
    struct scene_limits limits;
};

// 0; 1 when the program is done (help, version); -EINVAL after a message on standard error.
int render_options_parse(int argc, char **argv, struct render_options *ret_options);
