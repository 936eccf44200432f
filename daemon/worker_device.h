// The worker's device and models: the first of the offered devices that opens and runs them.
#pragma once

#include "daemon/config.h"
#include "models/face_reader.h"
#include "models/model_file.h"
#include "wire/wire.h"

struct worker_device {
    npu_ctx *ctx;
    npu_dev *dev;
    struct face_reader *reader;
    int kind;                // enum wire_device_kind
    char why[WIRE_TEXT_MAX]; // why no better one; "" if it is the best offered
};

// Opens devices in the order of config->devices until one runs the models. On failure *ret is untouched and message
// (size MODEL_MESSAGE_SIZE) says why the last one failed. Takes seconds to minutes when kernels must be compiled;
// before that starts on a device, `chosen` is told which.
int worker_device_open(const struct config *config, struct worker_device *ret, char *message,
                       void (*chosen)(int kind, const struct npu_dev_info *info, void *userdata), void *userdata);
void worker_device_close(struct worker_device *d);
