// Device and models of the worker.
#include "daemon/worker_device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const which[] = {[WIRE_DEVICE_NPU] = "npu",
                                    [WIRE_DEVICE_GPU] = "gpu",
                                    [WIRE_DEVICE_CPU] = "cpu",
                                    [WIRE_DEVICE_REFERENCE] = "ref",
                                    [WIRE_DEVICE_SIMULATOR] = "sim"};

static int open_one(struct worker_device *d, const struct config *config, int kind, char *message,
                    void (*chosen)(int kind, const struct npu_dev_info *info, void *userdata), void *userdata)
{
    char text[MODEL_MESSAGE_SIZE] = "";
    const char *error = text;
    int r = npu_dev_open(d->ctx, which[kind], &d->dev);
    if (r < 0) {
        error = npu_ctx_error(d->ctx);
    } else {
        chosen(kind, npu_dev_get_info(d->dev), userdata);
        r = face_reader_open(d->dev, config->model_dir, NULL, &d->reader, text);
    }
    if (r < 0) {
        snprintf(message, MODEL_MESSAGE_SIZE, "%s", error[0] ? error : strerror(-r));
        d->dev = npu_dev_close(d->dev);
    } else {
        d->kind = kind;
    }
    return r;
}

int worker_device_open(const struct config *config, struct worker_device *ret, char *message,
                       void (*chosen)(int kind, const struct npu_dev_info *info, void *userdata), void *userdata)
{
    struct worker_device d = {0};
    // systemd names the service's own cache folder.
    const char *cache = config->cache_dir[0] ? config->cache_dir : getenv("CACHE_DIRECTORY");
    int r = npu_ctx_new(cache, &d.ctx);
    if (r < 0) {
        snprintf(message, MODEL_MESSAGE_SIZE, "%s", strerror(-r));
        return r;
    }
    r = -ENODEV;
    snprintf(message, MODEL_MESSAGE_SIZE, "no device was offered");
    for (int i = 0; i < CONFIG_DEVICES_MAX && config->devices[i] && r < 0; i++) {
        r = open_one(&d, config, config->devices[i], message, chosen, userdata);
        if (r < 0 && !d.why[0])
            wire_set_text(d.why, sizeof(d.why), message);
    }
    if (r < 0) {
        npu_ctx_free(d.ctx);
        return r;
    }
    *ret = d;
    return 0;
}

void worker_device_close(struct worker_device *d)
{
    face_reader_close(d->reader);
    npu_dev_close(d->dev);
    npu_ctx_free(d->ctx);
    *d = (struct worker_device){0};
}
