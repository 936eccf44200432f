// The training loop: batches, steps, schedule, checkpoints, judgements.
#pragma once

#include <signal.h>
#include <stdint.h>
#include <stdio.h>

#include "train/task.h"

#define TRAINER_MESSAGE_SIZE 600

struct trainer_settings {
    const struct task *task;
    struct task_settings data;
    uint32_t steps;      // length of the schedule; 0 with minutes > 0: as many as the time allows
    double minutes;      // 0 = no limit; the schedule ends in time
    uint32_t stop_after; // leaves (with a checkpoint) after this step of the schedule; 0 = at its end
    int batch;           // 0 = the task's
    float lr;            // 0 = the task's; the peak
    uint64_t seed;
    int threads;                       // of the loader
    uint32_t judge_every;              // steps; 0 = at the end only
    bool mixed;                        // products and convolutions may round their factors to bf16 (NPU_GRAPH_MIXED)
    bool calibrate;                    // adjust the deployed weights when the schedule is done (see struct task)
    double checkpoint_s;               // seconds between checkpoints
    const char *out;                   // deployed weights, written at each judgement
    const char *checkpoint;            // may be NULL
    const char *resume;                // may be NULL: a checkpoint to go on from
    const char *start;                 // may be NULL: a checkpoint whose weights alone are taken (a new schedule)
    const char *curve;                 // SVG, may be NULL
    const char *explain;               // may be NULL: how the graph runs and how long each node took
    FILE *progress;                    // may be NULL
    const volatile sig_atomic_t *stop; // becomes 1 when the training shall end: leaves with a checkpoint
};

struct trainer_result {
    uint32_t step; // of the last step
    float loss;
    double images_s;
    struct figures figures;
};

// Trains. 0 when the schedule is done, 1 when it was stopped before; else a negative status and `message` (size
// TRAINER_MESSAGE_SIZE).
int trainer_run(const struct trainer_settings *settings, struct trainer_result *ret_result, char *message);
// The learning rate at `share` 0..1 of the schedule: linear warm-up over the first `warm_up` share, then a half cosine
// down to a hundredth (Loshchilov and Hutter 2017).
float trainer_rate(float peak, double share, double warm_up);
