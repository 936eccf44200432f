/* gazed's end of the worker: a thin shell around supervise.c. */
#include "daemon/worker_process.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/spawn.h"
#include "daemon/supervise.h"

struct worker_process {
    sd_event *event;
    struct worker_process_hooks hooks;
    struct config config;
    char path[512];
    struct supervise supervise;
    sd_event_source *timer, *camera_off, *io, *child;
    pid_t pid; /* 0: none */
    int fd;    /* -1: none */
    bool camera_wanted, camera_on;
    bool stopped_told;
    uint64_t seq;
    uint64_t dropped_before, dropped_now; /* by earlier workers, by this one */
    struct wire_wstatus status;           /* what it said last */
    char text[WIRE_TEXT_MAX];             /* why there is none now */
    size_t in_size;
    uint8_t in[WIRE_OUT_MAX];
};

static void feed(struct worker_process *w, enum supervise_event event);
static int on_readable(sd_event_source *source, int fd, uint32_t events, void *userdata);

static const char *kind_list(const int *kinds, size_t n, char buf[64])
{
    if (config_format_devices(kinds, n, buf, 64) < 0)
        buf[0] = '\0';
    return buf;
}

/* ---- what the worker is told ---- */

static void send_control(struct worker_process *w, uint16_t command, uint32_t value)
{
    uint8_t frame[WIRE_HEADER_SIZE + 64];
    struct wire_msg m = {.type = WIRE_CONTROL};
    size_t size;
    m.control.command = command;
    m.control.value = value;
    if (w->fd < 0 || wire_encode(frame, sizeof(frame), &m, &size) < 0)
        return;
    /* A few bytes into a buffer of 200 KiB: it fails only if the worker is dead or hangs, which is seen elsewhere. */
    if (send(w->fd, frame, size, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)size)
        log_debug("the worker did not take a command");
}

static void set_camera(struct worker_process *w, bool on)
{
    if (w->camera_on == on)
        return;
    w->camera_on = on;
    log_debug("camera %s", on ? "on" : "off");
    send_control(w, WIRE_CONTROL_CAMERA, on);
}

static int on_camera_off(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct worker_process *w = userdata;
    set_camera(w, w->camera_wanted);
    return 0;
}

void worker_process_want_camera(struct worker_process *w, bool wanted)
{
    if (w->camera_wanted == wanted)
        return;
    w->camera_wanted = wanted;
    if (wanted) {
        sd_event_source_set_enabled(w->camera_off, SD_EVENT_OFF);
        set_camera(w, w->pid > 0);
    } else {
        sd_event_source_set_time(w->camera_off, (clock_now_ns() + WORKER_CAMERA_OFF_NS) / 1000);
        sd_event_source_set_enabled(w->camera_off, SD_EVENT_ONESHOT);
    }
}

/* ---- start and end ---- */

/* Closes our end and forgets the process; the child source, if any, reaps it later. */
static void forget(struct worker_process *w)
{
    w->io = sd_event_source_disable_unref(w->io);
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    w->pid = 0;
    w->camera_on = false;
    w->dropped_before += w->dropped_now;
    w->dropped_now = 0;
    w->in_size = 0;
    memset(&w->status, 0, sizeof(w->status));
}

static void set_text(struct worker_process *w, const char *why)
{
    char text[WIRE_TEXT_MAX];
    snprintf(text, sizeof(text), "restarting: %.100s", why);
    wire_set_text(w->text, sizeof(w->text), text);
}

/* Says in `text` and in the log how it ended. Returns the event for it. */
static enum supervise_event explain_end(struct worker_process *w, const siginfo_t *si)
{
    bool meant = w->supervise.phase == SUPERVISE_ENDING || w->supervise.stop;
    bool killed_by_us = w->supervise.phase == SUPERVISE_KILLED;
    enum supervise_event event = SUPERVISE_EXITED;
    char text[WIRE_TEXT_MAX];

    if (si->si_code == CLD_EXITED) {
        snprintf(text, sizeof(text), "the worker ended with exit code %d", si->si_status);
    } else {
        int s = si->si_status;
        if (s == SIGKILL || s == SIGTERM || s == SIGINT || s == SIGHUP || s == SIGQUIT)
            event = SUPERVISE_EXITED_BY_OTHERS;
        snprintf(text, sizeof(text), "the worker was ended by SIG%s", sigabbrev_np(s) ? sigabbrev_np(s) : "?");
    }
    if (meant || killed_by_us) /* the reason is in the log already */
        log_debug("%s (pid %d)", text, (int)w->pid);
    else
        log_warning("%s (pid %d)", text, (int)w->pid);
    if (!killed_by_us)
        set_text(w, meant ? "as asked" : text);
    return event;
}

static int on_child(sd_event_source *source, const siginfo_t *si, void *userdata)
{
    struct worker_process *w = userdata;
    if (!w) /* one that took too long to die */
        return 0;
    enum supervise_event event = explain_end(w, si);
    w->child = sd_event_source_disable_unref(w->child);
    forget(w);
    feed(w, event);
    return 0;
}

static void abandon(struct worker_process *w)
{
    log_error("worker %d does not die (it may hang in a driver): going on without it", (int)w->pid);
    sd_event_source_set_userdata(w->child, NULL);
    sd_event_source_set_floating(w->child, 1);
    w->child = sd_event_source_unref(w->child);
    forget(w);
}

/* The command line, see the top of worker_process.h: `text` has room for `args` of `size` bytes. */
static void make_arguments(struct worker_process *w, const struct config *c, char **argv, size_t args, char *text,
                           size_t size)
{
    size_t n = 0;
    argv[n++] = w->path;
    argv[n] = text;
    snprintf(argv[n++], size, "--fd=%d", WORKER_SOCKET_FD);
    for (size_t i = 0; config_key(i) && n < args - 1; i++) {
        if (!config_key_is_for_worker(i) && strcmp(config_key(i), "log_level") != 0)
            continue;
        argv[n] = text + n * size;
        size_t head = (size_t)snprintf(argv[n], size, "--%s=", config_key(i));
        config_format(c, i, argv[n++] + head, size - head);
    }
    argv[n] = NULL;
}

static int watch_worker(struct worker_process *w)
{
    int r = sd_event_add_child(w->event, &w->child, w->pid, WEXITED, on_child, w);
    if (r >= 0)
        r = sd_event_add_io(w->event, &w->io, w->fd, EPOLLIN, on_readable, w);
    if (r >= 0)
        r = sd_event_source_set_priority(w->io, SD_EVENT_PRIORITY_NORMAL - 10);
    if (r < 0) {
        w->child = sd_event_source_disable_unref(w->child);
        kill(w->pid, SIGKILL);
        waitpid(w->pid, NULL, 0);
        forget(w);
    }
    return r;
}

static int spawn_worker(struct worker_process *w)
{
    enum { ARGS = 48, ARG_BYTES = CONFIG_TEXT_MAX + 64 };
    char *argv[ARGS], *text = calloc(ARGS, ARG_BYTES), names[64];
    int device[SUPERVISE_DEVICES_MAX];
    struct config c = w->config;

    if (!text)
        return -ENOMEM;
    size_t devices = supervise_devices(&w->supervise, clock_now_ns(), device);
    memset(c.devices, 0, sizeof(c.devices));
    memcpy(c.devices, device, devices * sizeof(device[0]));
    make_arguments(w, &c, argv, ARGS, text, ARG_BYTES);
    int r = spawn_with_socket(argv, &w->pid, &w->fd);
    free(text);
    if (r >= 0)
        r = watch_worker(w);
    if (r < 0)
        return r;
    log_info("worker %d starts on %s", (int)w->pid, kind_list(device, devices, names));
    set_camera(w, w->camera_wanted);
    return 0;
}

/* ---- what the worker says ---- */

static bool take_record(struct worker_process *w, struct wire_msg *m)
{
    uint16_t old_state = w->status.state;
    if (!(wire_type_senders(m->type) & WIRE_FROM_WORKER) || (m->flags & WIRE_FLAG_JSON))
        return false;
    if (m->type == WIRE_RESULT) {
        m->result.seq = ++w->seq;
        m->result.dropped_since_last = 0;
        w->hooks.result(&m->result, w->hooks.userdata);
    } else if (m->type == WIRE_HEARTBEAT) {
        w->dropped_now = m->heartbeat.dropped;
        w->status.state = m->heartbeat.state;
    } else {
        w->status = m->wstatus;
        supervise_running(&w->supervise, m->wstatus.device_kind);
    }
    feed(w, w->status.state == WIRE_STARTING ? SUPERVISE_BEAT_LOADING
            : w->camera_on                   ? SUPERVISE_BEAT
                                             : SUPERVISE_BEAT_IDLE);
    if (m->type == WIRE_WSTATUS || w->status.state != old_state)
        w->hooks.changed(w->hooks.userdata);
    return true;
}

/* Handles whole frames. Returns how many bytes they were, -EBADMSG at the first that is no record. */
static int take_records(struct worker_process *w)
{
    static struct wire_msg m; /* large; one thread */
    size_t at = 0;
    for (;;) {
        struct wire_header h;
        int r = wire_peek(w->in + at, w->in_size - at, sizeof(w->in), &h);
        if (r == 0)
            return (int)at;
        if (r < 0 || wire_decode(w->in + at, h.size, &m) < 0 || !take_record(w, &m))
            return -EBADMSG;
        at += h.size;
    }
}

static int on_readable(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct worker_process *w = userdata;
    ssize_t n = recv(fd, w->in + w->in_size, sizeof(w->in) - w->in_size, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n <= 0) { /* it dies, or its silence will be noticed */
        w->io = sd_event_source_disable_unref(w->io);
        return 0;
    }
    w->in_size += (size_t)n;
    int used = take_records(w);
    if (used < 0) {
        w->io = sd_event_source_disable_unref(w->io);
        set_text(w, "the worker sent garbage");
        log_error("the worker (pid %d) sent garbage: killed", (int)w->pid);
        feed(w, SUPERVISE_GARBAGE);
        return 0;
    }
    w->in_size -= (size_t)used;
    memmove(w->in, w->in + used, w->in_size);
    return 0;
}

/* ---- decisions to deeds ---- */

static void start_worker(struct worker_process *w)
{
    int r = spawn_worker(w);
    if (r < 0) {
        char text[WIRE_TEXT_MAX];
        snprintf(text, sizeof(text), "can't start the worker: %s", strerror(-r));
        set_text(w, text);
        log_error("can't start %s: %s", w->path, strerror(-r));
    }
    supervise_step(&w->supervise, r < 0 ? SUPERVISE_SPAWN_FAILED : SUPERVISE_SPAWNED, clock_now_ns());
}

static void do_action(struct worker_process *w, enum supervise_action action, enum supervise_phase before)
{
    switch (action) {
    case SUPERVISE_DO_SPAWN:
        start_worker(w);
        break;
    case SUPERVISE_DO_END:
        send_control(w, WIRE_CONTROL_QUIT, 0);
        kill(w->pid, SIGTERM);
        break;
    case SUPERVISE_DO_KILL:
        if (before == SUPERVISE_ENDING) {
            log_warning("worker %d did not end in time: killed", (int)w->pid);
        } else if (w->io) { /* else it sent garbage, or closed its socket */
            set_text(w, "the worker hung");
            log_error("worker %d gave no sign of life in time: killed", (int)w->pid);
        }
        kill(w->pid, SIGKILL);
        break;
    case SUPERVISE_DO_ABANDON:
        abandon(w);
        break;
    case SUPERVISE_DO_NOTHING:
        break;
    }
}

static void log_strikes(const struct worker_process *w, const struct supervise *before)
{
    for (int kind = 1; kind < SUPERVISE_KINDS; kind++) {
        char name[64];
        if (before->strikes[kind] >= w->supervise.strikes[kind])
            continue;
        if (w->supervise.strikes[kind] >= SUPERVISE_STRIKES)
            log_error("device %s failed three times: in quarantine", kind_list(&kind, 1, name));
        else
            log_warning("device %s failed: the next in order is tried", kind_list(&kind, 1, name));
    }
}

static void feed(struct worker_process *w, enum supervise_event event)
{
    struct supervise before = w->supervise;
    enum supervise_phase phase = before.phase;
    enum supervise_action action = supervise_step(&w->supervise, event, clock_now_ns());
    while (action != SUPERVISE_DO_NOTHING) {
        do_action(w, action, phase);
        phase = w->supervise.phase;
        action = supervise_step(&w->supervise, SUPERVISE_TICK, clock_now_ns());
    }
    log_strikes(w, &before);
    uint64_t t = supervise_deadline_ns(&w->supervise);
    sd_event_source_set_time(w->timer, t == UINT64_MAX ? t : t / 1000 + 1);
    sd_event_source_set_enabled(w->timer, t == UINT64_MAX ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
    if (w->supervise.phase != before.phase)
        w->hooks.changed(w->hooks.userdata);
    if (w->supervise.phase == SUPERVISE_STOPPED && !w->stopped_told) {
        w->stopped_told = true;
        w->hooks.stopped(w->hooks.userdata);
    }
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    feed(userdata, SUPERVISE_TICK);
    return 0;
}

/* ---- for gazed ---- */

int worker_process_new(sd_event *event, const char *path, const struct config *config,
                       const struct worker_process_hooks *hooks, struct worker_process **ret_worker)
{
    struct worker_process *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->event = event;
    w->hooks = *hooks;
    w->config = *config;
    w->fd = -1;
    snprintf(w->path, sizeof(w->path), "%s", path);
    wire_set_text(w->text, sizeof(w->text), "the worker starts");
    supervise_init(&w->supervise, (uint64_t)(config->heartbeat_s * 1e9), (uint64_t)(config->startup_s * 1e9),
                   config->devices, clock_now_ns());
    int r = sd_event_add_time(event, &w->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, w);
    if (r >= 0)
        r = sd_event_add_time(event, &w->camera_off, CLOCK_MONOTONIC, 0, 1000, on_camera_off, w);
    if (r >= 0)
        r = sd_event_source_set_enabled(w->camera_off, SD_EVENT_OFF);
    if (r < 0) {
        worker_process_free(w);
        return r;
    }
    *ret_worker = w;
    return 0;
}

struct worker_process *worker_process_free(struct worker_process *w)
{
    if (!w)
        return NULL;
    if (w->pid > 0)
        kill(w->pid, SIGKILL);
    sd_event_source_disable_unref(w->timer);
    sd_event_source_disable_unref(w->camera_off);
    sd_event_source_disable_unref(w->child);
    forget(w);
    free(w);
    return NULL;
}

/* True if the worker would be started with another command line. */
static bool worker_needs_restart(const struct config *a, const struct config *b)
{
    char before[CONFIG_TEXT_MAX], after[CONFIG_TEXT_MAX];
    for (size_t i = 0; config_key(i); i++)
        if ((config_key_is_for_worker(i) || strcmp(config_key(i), "log_level") == 0) &&
            config_format(a, i, before, sizeof(before)) >= 0 && config_format(b, i, after, sizeof(after)) >= 0 &&
            strcmp(before, after) != 0)
            return true;
    return false;
}

void worker_process_configure(struct worker_process *w, const struct config *config)
{
    bool restart = worker_needs_restart(&w->config, config);
    w->config = *config;
    supervise_set(&w->supervise, (uint64_t)(config->heartbeat_s * 1e9), (uint64_t)(config->startup_s * 1e9),
                  config->devices);
    if (restart)
        log_info("the worker is restarted with the new settings");
    feed(w, restart ? SUPERVISE_RESTART : SUPERVISE_TICK);
}

void worker_process_stop(struct worker_process *w)
{
    feed(w, SUPERVISE_STOP);
}

/* Why a better device is not used. */
static void explain_degraded(const struct worker_process *w, int better, char *why, size_t cap)
{
    char name[64], text[WIRE_TEXT_MAX];
    unsigned strikes = w->supervise.strikes[better];
    snprintf(text, sizeof(text), "%s failed %u time%s: %s", kind_list(&better, 1, name), strikes,
             strikes == 1 ? "" : "s", strikes >= SUPERVISE_STRIKES ? "in quarantine" : "tried again later");
    wire_set_text(why, cap, text);
}

void worker_process_fill_status(const struct worker_process *w, struct wire_status *status)
{
    const struct wire_wstatus *from = &w->status;
    int better = supervise_better(&w->supervise);
    bool up = w->supervise.phase == SUPERVISE_UP || w->supervise.phase == SUPERVISE_ENDING;

    status->state = up ? from->state : WIRE_STARTING;
    status->device_kind = from->device_kind;
    status->frame_width_px = from->frame_width_px;
    status->frame_height_px = from->frame_height_px;
    status->worker_pid = (uint32_t)w->pid;
    status->worker_restarts = w->supervise.restarts;
    status->frames = w->seq;
    status->dropped = w->dropped_before + w->dropped_now;
    memcpy(status->source, from->source, sizeof(status->source));
    memcpy(status->format, from->format, sizeof(status->format));
    memcpy(status->device, from->device, sizeof(status->device));
    memcpy(status->tier, from->tier, sizeof(status->tier));
    memcpy(status->models, from->models, sizeof(status->models));
    memcpy(status->why, from->why, sizeof(status->why));
    memcpy(status->text, from->text, sizeof(status->text));
    if (!up && !from->text[0])
        memcpy(status->text, w->text, sizeof(status->text));
    if (up && better) {
        status->state = from->state == WIRE_RUNNING ? WIRE_DEGRADED : from->state;
        explain_degraded(w, better, status->why, sizeof(status->why));
    }
}

bool worker_process_makes_progress(const struct worker_process *w)
{
    return supervise_makes_progress(&w->supervise, clock_now_ns());
}
