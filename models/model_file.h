// Where a network's weights are, and how a plan with them is made.
#pragma once

#include "libnpu/npu.h"

#define MODEL_MESSAGE_SIZE 400

// Makes a plan of `graph` on `dev` and loads the weights: `path` is the file, or a folder that holds
// <name>.safetensors. On failure *ret_plan is untouched and `message` (may be NULL) says what is wrong with which file.
// -ENOENT no such file; else the status of npu_plan_new or npu_plan_load.
int model_plan_open(npu_dev *dev, npu_graph *graph, const char *path, const char *name, npu_plan **ret_plan,
                    char *message);
