// Where a network's weights are, and how a plan with them is made.
#pragma once

#include "libnpu/npu.h"

#define MODEL_MESSAGE_SIZE 400

// Makes a plan of `graph` on `dev` and loads the weights: `path` is the file, or a folder that holds
// <name>.safetensors. A file that npu-quantize wrote makes the graph int8 or bf16 first. On failure *ret_plan is
// untouched and `message` (may be NULL) says what is wrong with which file. -ENOENT no such file; else the status of
// npu_plan_new or npu_plan_load.
int model_plan_open(npu_dev *dev, npu_graph *graph, const char *path, const char *name, npu_plan **ret_plan,
                    char *message);
// The same with options for the plan.
int model_plan_open_as(npu_dev *dev, npu_graph *graph, const char *path, const char *name,
                       const struct npu_plan_opts *options, npu_plan **ret_plan, char *message);
