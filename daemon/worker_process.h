/* gazed's end of the worker: starts it, reads its records, tells it when the camera is wanted, kills it when it hangs.
 *
 * What gazed-worker can rely on:
 *  - It is started as  gazed-worker --fd=3 --log_level=... --source=... --device=npu,gpu,... --KEY=VALUE ...  with
 * every key for which config_key_is_for_worker(), in the form that config_set() takes. `device` lists the kinds it may
 * use in the order of preference: it takes the first that there is, and says which in WSTATUS.device_kind as soon as it
 *    has chosen, before it loads or compiles anything on it, so that a crash is put down to the right device.
 *  - Descriptor 3 is its end of a stream socketpair (blocking): wire frames, without any greeting. It sends HEARTBEAT
 * at least twice in `heartbeat_s` seconds while the pipeline makes progress or is idle (state PAUSED), every few
 * seconds at least while it loads (state STARTING: `startup_s` of patience); WSTATUS when something in it changes;
 * RESULT for each frame. Binary only. serial is 0. When its writes would block it drops results.
 *  - It starts with the camera closed. CONTROL CAMERA 1 and 0 open and close it; it stays up and warm without. CONTROL
 *    QUIT, SIGTERM or the end of the stream: it ends with exit code 0 within 2 s.
 *  - Standard input is /dev/null, standard error is gazed's; signals are unblocked and at their defaults;
 * NOTIFY_SOCKET, LISTEN_* and WATCHDOG_* are not in its environment; it gets SIGTERM if gazed dies.
 *  - Bytes that are no frame, or a message that a worker does not send, get it killed. */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "daemon/config.h"
#include "wire/wire.h"

#define WORKER_SOCKET_FD     3
#define WORKER_CAMERA_OFF_NS UINT64_C(1000000000) /* after the last watcher left */

struct worker_process;

struct worker_process_hooks {
    /* A result of the worker, whose seq counts on over restarts. The hook may change it. */
    void (*result)(struct wire_result *result, void *userdata);
    void (*changed)(void *userdata); /* what worker_process_fill_status() says has changed */
    void (*stopped)(void *userdata); /* after worker_process_stop(): the worker is gone */
    void *userdata;
};

/* Starts a worker as soon as the event loop runs. `path` is the program. */
int worker_process_new(sd_event *event, const char *path, const struct config *config,
                       const struct worker_process_hooks *hooks, struct worker_process **ret_worker);
/* Kills the worker if it still lives. */
struct worker_process *worker_process_free(struct worker_process *w);

/* New settings; the worker is restarted if it must know of them. Devices in quarantine get another chance. */
void worker_process_configure(struct worker_process *w, const struct config *config);

/* The camera is opened at once, and closed 1 s after it is not wanted any more. */
void worker_process_want_camera(struct worker_process *w, bool wanted);

/* Ends the worker, by force after 2 s; then calls `stopped`. */
void worker_process_stop(struct worker_process *w);

/* Sets state, device, frame size, source, format, tier, models, text, why, worker_pid, worker_restarts, frames and
 * dropped. */
void worker_process_fill_status(const struct worker_process *w, struct wire_status *status);

/* For the watchdog: supervise_makes_progress(). */
bool worker_process_makes_progress(const struct worker_process *w);
