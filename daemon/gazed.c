/* gazed: the service's front. Options, event loop, signals, service manager; the work is done by server.c (clients) and
 * worker_process.c (the worker). It never sees a pixel. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "daemon/blob.h"
#include "daemon/clock.h"
#include "daemon/config.h"
#include "daemon/listen.h"
#include "daemon/log.h"
#include "daemon/privacy.h"
#include "daemon/server.h"
#include "daemon/stats.h"
#include "daemon/worker_process.h"

#ifndef GAZED_LIBEXECDIR
#define GAZED_LIBEXECDIR "/usr/local/libexec/gazed"
#endif

#define OVERRIDES_MAX 64
#define SPARE_FILES   64 /* descriptors besides those of clients */

struct options {
    const char *config_file; /* NULL: the default one, which may be missing */
    const char *worker;
    bool check;
    struct {
        const char *key, *value;
    } override[OVERRIDES_MAX]; /* from the command line: they win over the file */
    size_t overrides;
};

struct gazed {
    struct options options;
    struct config config;
    sd_event *event;
    struct listen_socket socket;
    struct server *server;
    struct worker_process *worker;
    bool stopping;
    sd_event_source *watchdog;
    uint64_t watchdog_usec;
    uint64_t started_ns;
    struct stats stats;
    char told[WIRE_TEXT_MAX + 64]; /* the last STATUS= */
};

static void print_help(void)
{
    printf("usage: gazed [options]\n"
           "Serves where people look, from a camera, to local programs.\n\n"
           "  --config FILE             settings (default " CONFIG_DEFAULT_FILE ", if it exists)\n"
           "  --worker PATH             the worker program (default: gazed-worker beside gazed)\n"
           "  --check                   check the settings, then exit: 0, or 78 with a message\n"
           "  --version, --help\n\n"
           "Every key of gazed.conf(5) is an option too, and wins over the file:\n");
    for (size_t i = 0; config_key(i); i++) {
        char name[32];
        snprintf(name, sizeof(name), "%s", config_key(i));
        for (char *p = name; *p; p++)
            *p = *p == '_' ? '-' : *p;
        printf("  --%-24s%s\n", name, config_key_help(i));
    }
}

/* Returns 0, 1 to exit with success now, -EINVAL after a message. */
static int parse_options(int argc, char **argv, struct options *o)
{
    enum { CONFIG_FILE = 256, WORKER, CHECK, VERSION_, HELP, KEY };
    static char names[OVERRIDES_MAX][32];
    struct option known[OVERRIDES_MAX] = {
        {"config", required_argument, NULL, CONFIG_FILE},
        {"worker", required_argument, NULL, WORKER},
        {"check", no_argument, NULL, CHECK},
        {"version", no_argument, NULL, VERSION_},
        {"help", no_argument, NULL, HELP},
    };
    int n = 5, c, index = 0;

    for (size_t i = 0; config_key(i) && n < OVERRIDES_MAX - 1; i++, n++) {
        snprintf(names[n], sizeof(names[n]), "%s", config_key(i));
        for (char *p = names[n]; *p; p++)
            *p = *p == '_' ? '-' : *p;
        known[n] = (struct option){names[n], required_argument, NULL, KEY};
    }
    while ((c = getopt_long(argc, argv, "", known, &index)) != -1) {
        if (c == CONFIG_FILE) {
            o->config_file = optarg;
        } else if (c == WORKER) {
            o->worker = optarg;
        } else if (c == CHECK) {
            o->check = true;
        } else if (c == VERSION_) {
            printf("gazed %s (gaze wire %d.%d)\n", GAZED_VERSION, WIRE_MAJOR, WIRE_MINOR);
            return 1;
        } else if (c == HELP) {
            print_help();
            return 1;
        } else if (c == KEY && o->overrides < OVERRIDES_MAX) {
            o->override[o->overrides].key = known[index].name;
            o->override[o->overrides++].value = optarg;
        } else {
            return -EINVAL; /* getopt_long said why */
        }
    }
    if (optind < argc) {
        log_error("unexpected argument \"%s\"; see gazed --help", argv[optind]);
        return -EINVAL;
    }
    return 0;
}

/* The settings: built in, then the file's, then the command line's. */
static int build_config(const struct options *o, struct config *ret_config, char message[CONFIG_MESSAGE_MAX])
{
    struct config c = config_default();
    int r = config_load(&c, o->config_file ? o->config_file : CONFIG_DEFAULT_FILE, message);
    if (r == -ENOENT && !o->config_file && access(CONFIG_DEFAULT_FILE, F_OK) < 0)
        r = 0;
    for (size_t i = 0; r >= 0 && i < o->overrides; i++) {
        char text[CONFIG_MESSAGE_MAX];
        r = config_set(&c, o->override[i].key, o->override[i].value, text);
        if (r < 0)
            snprintf(message, CONFIG_MESSAGE_MAX, "--%s: %.400s", o->override[i].key, text);
    }
    if (r >= 0)
        *ret_config = c;
    return r;
}

/* ---- between server and worker ---- */

static void fill_status(struct wire_status *status, void *userdata)
{
    struct gazed *g = userdata;
    uint64_t now = clock_now_ns();
    worker_process_fill_status(g->worker, status);
    status->fps_mhz = stats_rate_mhz(&g->stats, now);
    status->clients = server_client_count(g->server);
    status->uptime_ns = now - g->started_ns;
    stats_sum_up(&g->stats, now);
    status->latency_p50_us = g->stats.p50_us;
    status->latency_p99_us = g->stats.p99_us;
}

static void on_watchers(unsigned count, void *userdata)
{
    struct gazed *g = userdata;
    worker_process_want_camera(g->worker, count > 0);
}

static void on_result(struct wire_result *result, void *userdata)
{
    struct gazed *g = userdata;
    result->publish_ns = clock_now_ns();
    stats_add(&g->stats, result->capture_ns, result->publish_ns);
    server_publish_result(g->server, result);
}

/* systemctl status shows this. */
static void tell_manager(struct gazed *g)
{
    struct wire_status s = {0};
    char text[sizeof(g->told)];
    worker_process_fill_status(g->worker, &s);
    snprintf(text, sizeof(text), "%s%s%s", wire_state_name(s.state), s.text[0] ? ": " : "", s.text);
    if (strcmp(text, g->told) != 0) {
        strcpy(g->told, text);
        sd_notifyf(0, "STATUS=%s", text);
        log_info("%s", text);
    }
}

static void on_worker_changed(void *userdata)
{
    struct gazed *g = userdata;
    if (g->stopping)
        return;
    tell_manager(g);
    server_status_changed(g->server);
}

static void on_worker_stopped(void *userdata)
{
    struct gazed *g = userdata;
    sd_event_exit(g->event, 0);
}

/* ---- signals and the service manager ---- */

static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
    struct gazed *g = userdata;
    sd_notify(0, "STOPPING=1\nSTATUS=stopping");
    log_info("stopping");
    g->stopping = true;
    server_shut_down(g->server);
    listen_close(&g->socket);
    worker_process_stop(g->worker);
    return 0;
}

static void apply_config(struct gazed *g)
{
    log_set_level((enum log_level)g->config.log_level);
    server_set_limits(g->server, (unsigned)g->config.max_clients, (unsigned)g->config.max_clients_per_uid);
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *si, void *userdata)
{
    struct gazed *g = userdata;
    char message[CONFIG_MESSAGE_MAX];
    struct config c;

    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)(clock_now_ns() / 1000));
    int r = build_config(&g->options, &c, message);
    if (r < 0) {
        log_error("%s; the settings stay as they were", message);
    } else {
        if (strcmp(c.socket, g->config.socket) != 0 || strcmp(c.socket_group, g->config.socket_group) != 0)
            log_warning("socket and socket_group change with the next start");
        g->config = c;
        apply_config(g);
        worker_process_configure(g->worker, &c);
        log_notice("settings read again");
    }
    sd_notify(0, "READY=1");
    return 0;
}

/* Pinged by hand and not by the event loop's own helper: a live loop is not enough, the pipeline must beat. */
static int on_watchdog(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct gazed *g = userdata;
    if (worker_process_makes_progress(g->worker))
        sd_notify(0, "WATCHDOG=1");
    sd_event_source_set_time_relative(source, g->watchdog_usec / 4);
    sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    return 0;
}

static int watch_signals(struct gazed *g)
{
    sigset_t set;
    int r;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return -errno;
    r = sd_event_add_signal(g->event, NULL, SIGTERM, on_terminate, g);
    if (r >= 0)
        r = sd_event_add_signal(g->event, NULL, SIGINT, on_terminate, g);
    if (r >= 0)
        r = sd_event_add_signal(g->event, NULL, SIGHUP, on_reload, g);
    return r;
}

static int watch_watchdog(struct gazed *g)
{
    if (sd_watchdog_enabled(0, &g->watchdog_usec) <= 0)
        return 0;
    return sd_event_add_time_relative(g->event, &g->watchdog, CLOCK_MONOTONIC, 0, 0, on_watchdog, g);
}

/* ---- start ---- */

/* gazed-worker beside this program, else the installed one. */
static int find_worker(const char *given, char *path, size_t cap)
{
    char self[400];
    if (given)
        return snprintf(path, cap, "%s", given) < (int)cap ? 0 : -ENAMETOOLONG;
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n > 0) {
        self[n] = '\0';
        *strrchr(self, '/') = '\0';
        snprintf(path, cap, "%s/gazed-worker", self);
        if (access(path, X_OK) == 0)
            return 0;
    }
    snprintf(path, cap, "%s/gazed-worker", GAZED_LIBEXECDIR);
    return 0;
}

static void raise_file_limit(int clients)
{
    struct rlimit l;
    rlim_t wanted = (rlim_t)clients + SPARE_FILES;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < wanted) {
        l.rlim_cur = wanted < l.rlim_max ? wanted : l.rlim_max;
        setrlimit(RLIMIT_NOFILE, &l);
    }
}

/* Returns 0; on failure a message has been logged. */
static int start(struct gazed *g)
{
    char message[LISTEN_MESSAGE_MAX] = "", worker[512];
    int r = listen_take_activated(&g->socket, message);
    if (r == 0)
        r = listen_open(g->config.socket, g->config.socket_group, &g->socket, message);
    if (r < 0) {
        log_error("%s", message);
        return r;
    }
    const struct server_hooks server_hooks = {on_watchers, fill_status, g};
    const struct worker_process_hooks worker_hooks = {on_result, on_worker_changed, on_worker_stopped, g};
    r = sd_event_new(&g->event);
    if (r >= 0)
        r = watch_signals(g);
    if (r >= 0)
        r = server_new(g->event, g->socket.fd, &server_hooks, &g->server);
    if (r >= 0)
        r = find_worker(g->options.worker, worker, sizeof(worker));
    if (r >= 0)
        r = worker_process_new(g->event, worker, &g->config, &worker_hooks, &g->worker);
    if (r >= 0)
        r = watch_watchdog(g);
    if (r < 0)
        log_error("can't start: %s", strerror(-r));
    return r < 0 ? r : 0;
}

static int run(struct gazed *g)
{
    g->started_ns = clock_now_ns();
    int r = start(g);
    if (r == 0) {
        apply_config(g);
        raise_file_limit(g->config.max_clients);
        log_notice("gazed %s serves %s", GAZED_VERSION,
                   g->socket.own ? g->socket.path : "the socket of the service manager");
        sd_notify(0, "READY=1\nSTATUS=starting"); /* no camera is not a failure */
        r = sd_event_loop(g->event);
    }
    g->worker = worker_process_free(g->worker);
    g->server = server_free(g->server);
    g->watchdog = sd_event_source_disable_unref(g->watchdog);
    if (g->socket.fd >= 0)
        listen_close(&g->socket);
    sd_event_unref(g->event);
    blob_trim();
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static struct gazed g = {.socket.fd = -1};
    char message[CONFIG_MESSAGE_MAX];

    log_open("gazed");
    if (privacy_forbid_dumps() < 0)
        log_warning("core dumps stay on: %s", strerror(errno));
    int r = parse_options(argc, argv, &g.options);
    if (r != 0)
        return r > 0 ? EXIT_SUCCESS : EXIT_CONFIG;
    if (build_config(&g.options, &g.config, message) < 0) {
        log_error("%s", message);
        return EXIT_CONFIG;
    }
    if (g.options.check)
        return EXIT_SUCCESS;
    log_set_level((enum log_level)g.config.log_level);
    return run(&g);
}
