// gazed-worker: camera and networks. Talks only to gazed, over descriptor 3; may crash or hang without harm to clients.
//
// One thread, one loop: control from gazed, frames from the source, plugging from udev, timers by poll's time-out.
#include <errno.h>
#include <libudev.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/camera_watch.h"
#include "daemon/clock.h"
#include "daemon/config.h"
#include "daemon/gazed_link.h"
#include "daemon/grey.h"
#include "daemon/load_beat.h"
#include "daemon/log.h"
#include "daemon/pipeline.h"
#include "daemon/privacy.h"
#include "daemon/source.h"
#include "daemon/worker_device.h"
#include "daemon/worker_record.h"

#define LINK_FD          3
#define BEAT_PERIOD_NS   INT64_C(200000000)
#define BAD_FRAME_LOG_NS INT64_C(10000000000) // damaged frames are told this often at most
#define RELOAD_FIRST_NS  INT64_C(1000000000)  // networks that can't be loaded are tried again after this; doubles
#define RELOAD_MAX_NS    INT64_C(30000000000)
#define EXIT_NO_DEVICE   4

struct worker {
    struct config config;
    struct gazed_link link;
    struct worker_device device;
    struct load_beat load;
    struct pipeline *pipeline;
    struct grey grey;
    struct source *source;
    struct camera_watch watch;
    struct udev *udev;
    struct udev_monitor *monitor;
    struct wire_msg msg; // the record that is being sent; large
    struct wire_wstatus status;
    uint64_t frames, bad, dropped_before; // dropped_before: by sources that are closed
    uint64_t bad_run;                     // damaged frames since the last good one, or since the source was opened
    bool useless; // the file had nothing but damaged frames: it is told, and tried again quietly
    int64_t beat_ns, bad_told_ns;
    bool camera_wanted; // said before the networks were there
    int link_status;    // < 0: gazed is gone, or asked us to end (-ESHUTDOWN)
};

static volatile sig_atomic_t asked_to_end;

static void on_signal(int number)
{
    asked_to_end = 1;
}

static int64_t now_ns(void)
{
    return (int64_t)clock_now_ns();
}

// ---- records to gazed ----

static void send_msg(struct worker *w)
{
    int r = w->link_status < 0 ? w->link_status : gazed_link_send(&w->link, &w->msg);
    if (r == -EINVAL || r == -ENOSPC)
        log_error("a record was not sent: %s", strerror(-r));
    else if (r < 0)
        w->link_status = r;
}

static void send_beat(struct worker *w)
{
    w->beat_ns = now_ns();
    w->msg.type = WIRE_HEARTBEAT;
    w->msg.heartbeat = (struct wire_heartbeat){
        .time_ns = (uint64_t)w->beat_ns,
        .frames = w->frames,
        .dropped = w->dropped_before + (w->source ? w->source->info.dropped : 0),
        .state = w->status.state,
    };
    send_msg(w);
}

static void send_status_again(struct worker *w)
{
    w->msg.type = WIRE_WSTATUS;
    w->msg.wstatus = w->status;
    send_msg(w);
}

static void send_status(struct worker *w, enum wire_state state, const char *text)
{
    w->status.state = (uint16_t)state;
    wire_set_text(w->status.text, sizeof(w->status.text), text);
    send_status_again(w);
}

static void describe_source(struct worker *w)
{
    struct wire_wstatus *s = &w->status;
    const struct source_info *info = w->source ? &w->source->info : NULL;
    wire_set_text(s->source, sizeof(s->source), info ? info->name : w->config.source);
    wire_set_text(s->format, sizeof(s->format), info ? info->format : "");
    s->fps_mhz = info ? (uint32_t)(info->fps * 1000) : 0;
    s->frame_width_px = info ? (uint16_t)info->width : 0;
    s->frame_height_px = info ? (uint16_t)info->height : 0;
}

// ---- camera ----

static void close_source(struct worker *w)
{
    if (!w->source)
        return;
    w->dropped_before += w->source->info.dropped;
    w->source = source_close(w->source);
    pipeline_reset(w->pipeline);
}

static int open_source(struct worker *w, char *message)
{
    struct source_settings settings = {.width = w->config.width,
                                       .height = w->config.height,
                                       .fps = w->config.fps,
                                       .loop = w->config.loop,
                                       .fast = w->config.fast};
    close_source(w);
    w->bad_run = 0;
    int r = source_open(w->config.source, &settings, &w->source, message);
    if (r < 0)
        return r;
    r = source_start(w->source, message);
    if (r < 0)
        close_source(w);
    return r;
}

static enum camera_action feed(struct worker *w, enum camera_event event)
{
    return camera_watch_step(&w->watch, event, w->source ? w->source->info.fps : 0, now_ns());
}

static void tell_waiting(struct worker *w, const char *why)
{
    char text[SOURCE_MESSAGE_SIZE + 32];
    snprintf(text, sizeof(text), "waiting for camera: %s", why);
    if (w->status.state != WIRE_WAITING_FOR_CAMERA || strncmp(w->status.text, text, WIRE_TEXT_MAX - 1) != 0)
        log_warning("%s", text);
    describe_source(w);
    send_status(w, WIRE_WAITING_FOR_CAMERA, text);
}

static void tell_running(struct worker *w)
{
    const struct source_info *i = &w->source->info;
    if (i->width)
        log_info("%s: %s %dx%d, %.1f frames/s", i->name, i->format, i->width, i->height, i->fps);
    else
        log_info("%s: %s, %.1f frames/s", i->name, i->format, i->fps);
    describe_source(w);
    send_status(w, WIRE_RUNNING, "");
}

// Does what the camera's state machine says until it says nothing more.
static void do_camera(struct worker *w, enum camera_action action)
{
    char message[SOURCE_MESSAGE_SIZE] = "the stream stalled";
    while (action != CAMERA_DO_NOTHING) {
        int r = 0;
        if (action == CAMERA_DO_OPEN) {
            r = open_source(w, message);
        } else if (action == CAMERA_DO_RESTART) {
            log_warning("%s: no frame for too long, restarting the stream", w->source->info.name);
            source_stop(w->source);
            r = source_start(w->source, message);
        } else {
            close_source(w);
            describe_source(w);
            if (w->watch.phase == CAMERA_OFF)
                send_status(w, WIRE_PAUSED, "camera closed: nobody is subscribed");
            else if (w->watch.phase == CAMERA_ENDED)
                send_status(w, WIRE_PAUSED, "the file is at its end");
            w->useless = w->useless && w->watch.phase == CAMERA_WAITING;
            break;
        }
        if (r < 0) {
            w->useless = false;
            tell_waiting(w, message);
        } else if (action == CAMERA_DO_OPEN && !w->useless) {
            tell_running(w);
        }
        action = feed(w, r < 0 ? CAMERA_FAILED : CAMERA_OPENED);
    }
}

// ---- frames ----

static void tell_bad_frame(struct worker *w, const char *why)
{
    w->bad++;
    w->bad_run++;
    if (w->useless || (w->bad_told_ns && now_ns() - w->bad_told_ns < BAD_FRAME_LOG_NS))
        return;
    w->bad_told_ns = now_ns();
    log_warning("%s: damaged frame (%llu so far): %s", w->source->info.name, (unsigned long long)w->bad, why);
}

// Gives a file up for a while that is shown again and again and has no frame that can be read.
static void give_up_useless(struct worker *w, const char *why)
{
    const struct source_info *i = &w->source->info;
    char text[SOURCE_MESSAGE_SIZE];
    if (!w->config.loop || i->frames == 0 || w->bad_run < i->frames)
        return;
    snprintf(text, sizeof(text), "%s: none of its %llu frames can be read: %.120s", i->name,
             (unsigned long long)i->frames, why);
    if (!w->useless)
        tell_waiting(w, text);
    w->useless = true;
    do_camera(w, feed(w, CAMERA_USELESS));
}

// Sends what a frame holds. 1; 0 if it can't be read, `why` says why; the status of a device that fails.
static int analyse(struct worker *w, const struct frame *frame, char why[IMAGE_MESSAGE_SIZE])
{
    struct image image;
    const struct pipeline_face *faces;
    if (grey_from_frame(&w->grey, frame, &image, why) < 0)
        return 0;
    int r = pipeline_frame(w->pipeline, &image, frame->capture_ns, &faces);
    if (r < 0) {
        char text[256];
        npu_dev_error(w->device.dev, text, sizeof(text));
        log_error("the device failed: %s", text[0] ? text : strerror(-r));
        return r;
    }
    if (w->status.frame_width_px != image.width || w->status.frame_height_px != image.height) {
        w->status.frame_width_px = (uint16_t)image.width; // a file's are known when it is decoded
        w->status.frame_height_px = (uint16_t)image.height;
        send_status_again(w);
    }
    w->msg.type = WIRE_RESULT;
    struct wire_result *result = &w->msg.result;
    worker_record_faces(faces, r, result);
    result->seq = ++w->frames;
    result->capture_ns = (uint64_t)frame->capture_ns;
    result->publish_ns = clock_now_ns();
    result->dropped_since_last = 0;
    result->camera_id = 0;
    result->frame_width_px = (uint16_t)image.width;
    result->frame_height_px = (uint16_t)image.height;
    result->device_kind = (uint8_t)w->device.kind;
    wire_set_text(result->device, sizeof(result->device), npu_dev_get_info(w->device.dev)->id);
    send_msg(w);
    return 1;
}

// Reading failed for good: with -ENODATA and, where a file is not shown again, -ESTALE it is at its end.
static void end_stream(struct worker *w, int status)
{
    const char *why = status == -ENODEV ? "it was unplugged" : w->source->why[0] ? w->source->why : strerror(-status);
    if (status == -ENODATA) {
        do_camera(w, feed(w, CAMERA_END));
    } else if (status == -ESTALE && !w->config.loop) {
        log_warning("%s: %s", w->source->info.name, why);
        do_camera(w, feed(w, CAMERA_END));
    } else {
        char text[SOURCE_MESSAGE_SIZE];
        snprintf(text, sizeof(text), "%.60s: %.170s", w->source->info.name, why);
        tell_waiting(w, text);
        do_camera(w, feed(w, CAMERA_FAILED));
    }
}

static int take_frame(struct worker *w)
{
    struct frame frame;
    char why[SOURCE_MESSAGE_SIZE] = "the source could not read it";
    uint64_t bad_before = w->source->info.bad;
    int r = source_next(w->source, now_ns(), &frame);
    if (w->source->info.bad > bad_before) {
        if (w->source->why[0])
            snprintf(why, sizeof(why), "%s", w->source->why);
        tell_bad_frame(w, why);
        if (w->source->info.frames) // a camera that has only these counts as stalled
            feed(w, CAMERA_DAMAGED);
        if (r == -EAGAIN)
            give_up_useless(w, why);
    }
    if (r == -EAGAIN)
        return 0;
    if (r < 0) {
        end_stream(w, r);
        return 0;
    }
    r = analyse(w, &frame, why);
    source_release(w->source, &frame);
    feed(w, r > 0 ? CAMERA_FRAME : CAMERA_DAMAGED);
    if (r > 0) {
        w->bad_run = 0;
        if (w->useless)
            tell_running(w);
        w->useless = false;
    } else if (r == 0) {
        tell_bad_frame(w, why);
        give_up_useless(w, why);
    }
    return r < 0 ? r : 0;
}

// ---- control ----

// What gazed wants; before the networks are there, the camera has to wait.
static void take_control(struct worker *w)
{
    struct wire_control control;
    int r;
    while ((r = gazed_link_receive(&w->link, &control)) == 1) {
        if (control.command == WIRE_CONTROL_QUIT)
            w->link_status = -ESHUTDOWN;
        else if (control.command == WIRE_CONTROL_CAMERA && w->pipeline)
            do_camera(w, feed(w, control.value ? CAMERA_WANTED : CAMERA_UNWANTED));
        else if (control.command == WIRE_CONTROL_CAMERA)
            w->camera_wanted = control.value != 0;
    }
    if (r < 0)
        w->link_status = r;
}

static void watch_plugging(struct worker *w)
{
    w->udev = udev_new();
    w->monitor = w->udev ? udev_monitor_new_from_netlink(w->udev, "udev") : NULL;
    if (w->monitor && (udev_monitor_filter_add_match_subsystem_devtype(w->monitor, "video4linux", NULL) < 0 ||
                       udev_monitor_enable_receiving(w->monitor) < 0))
        w->monitor = udev_monitor_unref(w->monitor);
    if (!w->monitor)
        log_debug("no word from udev about cameras: looking for them every second");
}

static void take_plugging(struct worker *w)
{
    struct udev_device *d = udev_monitor_receive_device(w->monitor);
    if (!d)
        return;
    udev_device_unref(d);
    do_camera(w, feed(w, CAMERA_PLUGGED));
}

// ---- the loop ----

static int wait_ms(const struct worker *w)
{
    int64_t due = camera_watch_deadline_ns(&w->watch, w->source ? w->source->info.fps : 0);
    if (w->beat_ns + BEAT_PERIOD_NS < due)
        due = w->beat_ns + BEAT_PERIOD_NS;
    int64_t left = due - now_ns();
    return left <= 0 ? 0 : (int)((left + 999999) / 1000000);
}

static int serve(struct worker *w)
{
    int r = 0;
    while (r >= 0 && w->link_status >= 0 && !asked_to_end) {
        struct pollfd p[3] = {{.fd = LINK_FD, .events = POLLIN},
                              {.fd = w->source ? w->source->fd : -1, .events = POLLIN},
                              {.fd = w->monitor ? udev_monitor_get_fd(w->monitor) : -1, .events = POLLIN}};
        if (poll(p, 3, wait_ms(w)) < 0 && errno != EINTR)
            return -errno;
        if (p[0].revents)
            take_control(w);
        if (p[2].revents)
            take_plugging(w);
        if (p[1].revents && w->source)
            r = take_frame(w);
        do_camera(w, feed(w, CAMERA_TICK));
        if (now_ns() - w->beat_ns >= BEAT_PERIOD_NS)
            send_beat(w);
    }
    return r;
}

// ---- networks ----

static void load_beats(void *userdata)
{
    send_beat(userdata);
}

static void on_device_chosen(int kind, const struct npu_dev_info *info, void *userdata)
{
    struct worker *w = userdata;
    char device[WIRE_PATH_MAX * 3];
    snprintf(device, sizeof(device), "%s: %s", info->id, info->name);
    pthread_mutex_lock(&w->load.lock);
    w->status.device_kind = (uint16_t)kind;
    wire_set_text(w->status.device, sizeof(w->status.device), device);
    send_status_again(w);
    pthread_mutex_unlock(&w->load.lock);
}

static int load_networks(struct worker *w, char *message)
{
    int r = load_beat_start(&w->load, load_beats, w);
    if (r < 0) {
        snprintf(message, MODEL_MESSAGE_SIZE, "no thread: %s", strerror(-r));
        return r;
    }
    r = worker_device_open(&w->config, &w->device, message, on_device_chosen, w);
    load_beat_stop(&w->load);
    return r;
}

// A message for the status, which has little room: without the folder of the networks.
static const char *without_folder(const struct worker *w, char *message)
{
    char *at = strstr(message, w->config.model_dir);
    size_t n = strlen(w->config.model_dir);
    if (at && n && at[n] == '/')
        memmove(at, at + n + 1, strlen(at + n + 1) + 1);
    return message;
}

// Until the time has come, or gazed wants an end: control is taken, beats are sent.
static void pass_time(struct worker *w, int64_t until_ns)
{
    while (now_ns() < until_ns && w->link_status >= 0 && !asked_to_end) {
        struct pollfd p = {.fd = LINK_FD, .events = POLLIN};
        poll(&p, 1, (int)(BEAT_PERIOD_NS / 1000000));
        take_control(w);
        send_beat(w);
    }
}

static int make_pipeline(struct worker *w)
{
    struct pipeline_settings settings = {.faces_max = w->config.faces_max,
                                         .hfov_deg = w->config.hfov_deg,
                                         .birth_hits = TRACK_DEFAULTS.birth_hits,
                                         .filter = ONE_EURO_GAZE};
    settings.filter.min_cutoff_hz = w->config.filter_min_cutoff_hz;
    settings.filter.beta = w->config.filter_beta;
    return pipeline_new(w->device.reader, &settings, &w->pipeline);
}

// Missing and wrong weights are said and waited for: a new worker would find them no better.
static int open_networks(struct worker *w)
{
    char message[MODEL_MESSAGE_SIZE], last[MODEL_MESSAGE_SIZE] = "";
    int64_t pause_ns = RELOAD_FIRST_NS;
    int r;
    send_status(w, WIRE_STARTING, "loading the networks");
    while ((r = load_networks(w, message)) < 0) {
        if (strcmp(message, last) != 0)
            log_error("the networks can't be loaded: %s", message);
        snprintf(last, sizeof(last), "%s", message);
        send_status(w, WIRE_DEGRADED, without_folder(w, message));
        pass_time(w, now_ns() + pause_ns);
        pause_ns = 2 * pause_ns < RELOAD_MAX_NS ? 2 * pause_ns : RELOAD_MAX_NS;
        if (w->link_status < 0 || asked_to_end)
            return r;
    }
    const struct npu_dev_info *info = npu_dev_get_info(w->device.dev);
    char tier[WIRE_NAME_MAX] = "";
    sscanf(info->tiers, "%31s", tier); // the best of them
    wire_set_text(w->status.tier, sizeof(w->status.tier), tier);
    wire_set_text(w->status.models, sizeof(w->status.models), "face_finder,landmarks,gaze_vit");
    wire_set_text(w->status.why, sizeof(w->status.why), w->device.why);
    log_info("networks run on %s (%s)%s%s", info->id, info->name, w->device.why[0] ? "; no better one: " : "",
             w->device.why);
    return make_pipeline(w);
}

static int parse(int argc, char **argv, struct config *config)
{
    *config = config_default();
    for (int i = 1; i < argc; i++) {
        char key[64], message[CONFIG_MESSAGE_MAX];
        const char *word = argv[i], *equals = strchr(word, '=');
        size_t n = equals ? (size_t)(equals - word) : strlen(word);
        const char *value = equals ? equals + 1 : i + 1 < argc ? argv[++i] : NULL;
        if (n < 3 || n - 2 >= sizeof(key) || strncmp(word, "--", 2) != 0 || !value) {
            log_error("usage: gazed-worker --KEY VALUE...; see --help");
            return -EINVAL;
        }
        memcpy(key, word + 2, n - 2);
        key[n - 2] = 0;
        if (!strcmp(key, "fd")) { // always the same one: gazed says it for people who look at the process list
            if (atoi(value) != LINK_FD) {
                log_error("gazed's descriptor is %d, not %s", LINK_FD, value);
                return -EINVAL;
            }
            continue;
        }
        if (config_set(config, key, value, message) < 0) {
            log_error("%s", message);
            return -EINVAL;
        }
    }
    return 0;
}

static void print_help(void)
{
    puts("usage: gazed-worker --KEY VALUE...\n"
         "Camera and networks of the gaze service. gazed starts it and gives it descriptor 3; gazed-worker(8) says "
         "more.\n\n"
         "  --version, --help\n\n"
         "Keys of gazed.conf(5):");
    for (size_t i = 0; config_key(i); i++)
        if (config_key_is_for_worker(i))
            printf("  --%-24s%s\n", config_key(i), config_key_help(i));
}

int main(int argc, char **argv)
{
    static struct worker w; // its message is large
    log_open("gazed-worker");
    if (argc == 2 && !strcmp(argv[1], "--help")) {
        print_help();
        return 0;
    }
    if (argc == 2 && !strcmp(argv[1], "--version")) {
        puts("gazed-worker " GAZED_VERSION);
        return 0;
    }
    if (parse(argc, argv, &w.config) < 0)
        return EXIT_CONFIG;
    log_set_level((enum log_level)w.config.log_level);
    if (privacy_forbid_dumps() < 0)
        log_warning("core dumps could not be switched off");
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    gazed_link_init(&w.link, LINK_FD);
    describe_source(&w);
    int r = open_networks(&w);
    if (r >= 0) {
        send_status(&w, WIRE_PAUSED, "ready; the camera opens when somebody subscribes");
        watch_plugging(&w);
        if (w.camera_wanted)
            do_camera(&w, feed(&w, CAMERA_WANTED));
        r = serve(&w);
        close_source(&w);
    }
    udev_monitor_unref(w.monitor);
    udev_unref(w.udev);
    grey_clear(&w.grey);
    pipeline_free(w.pipeline);
    worker_device_close(&w.device);
    if (r < 0 && w.link_status >= 0 && !asked_to_end)
        return EXIT_NO_DEVICE;
    return w.link_status < 0 && w.link_status != -ESHUTDOWN && w.link_status != -EPIPE ? 1 : 0;
}
