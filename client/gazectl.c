/* gazectl: the service's status and its results on the command line. */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/gazectl.h"

enum exit_code { OK = 0, FAILED = 1, USAGE = 2, NO_CONNECTION = 3 };

#define STATUS_MS 3000 /* how long a status may take */

struct options {
    const char *socket;
    bool json;
    unsigned long count; /* 0: no end */
    double rate_hz, seconds;
    uint32_t fields;
};

struct watch {
    const struct options *options;
    unsigned long count;
    bool refused;
};

static const char usage[] = "Usage: gazectl [--socket PATH] COMMAND [OPTIONS]\n"
                            "\n"
                            "  status                what gazed does now\n"
                            "      --json            as one line of JSON\n"
                            "  watch                 results as they come, one line a face\n"
                            "      --json            one line of JSON a frame\n"
                            "      --count N         end after N frames\n"
                            "      --seconds S       end after S seconds; failure if not one result came\n"
                            "      --rate HZ         at most so many results a second\n"
                            "      --fields LIST     with --json: landmarks,aus,zones\n"
                            "  version               of gazectl, and of gazed if it runs\n"
                            "  --version, --help     of gazectl alone; this text\n"
                            "\n"
                            "PATH is $GAZED_SOCKET or " GAZE_DEFAULT_SOCKET " unless given.\n"
                            "Exit codes: 0 done, 1 failure, 2 wrong usage, 3 no connection.\n";

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "gazectl: %s%s%s\nTry: gazectl --help\n", what, value ? ": " : "", value ? value : "");
    return USAGE;
}

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void on_result(void *userdata, const struct gaze_result *result)
{
    struct watch *w = userdata;

    if (w->options->count && w->count >= w->options->count)
        return;
    w->count++;
    gazectl_print_result(stdout, result);
}

static void on_json(void *userdata, const char *text, size_t len)
{
    struct watch *w = userdata;

    if (w->options->count && w->count >= w->options->count)
        return;
    w->count++;
    fwrite(text, 1, len, stdout);
}

static void on_error(void *userdata, int code, const char *text)
{
    ((struct watch *)userdata)->refused = true;
    fprintf(stderr, "gazectl: gazed says: %s (error %d)\n", text, code);
}

/* "landmarks,aus" as bits. false if a word is unknown. */
static bool parse_fields(const char *list, uint32_t *ret_fields)
{
    static const char *const names[] = {"landmarks", "aus", "zones"};
    uint32_t fields = 0;

    while (*list) {
        size_t len = strcspn(list, ",");
        unsigned i = 0;

        while (i < 3 && (strlen(names[i]) != len || strncmp(names[i], list, len) != 0))
            i++;
        if (i == 3)
            return false;
        fields |= 1u << i;
        list += len + (list[len] == ',');
    }
    *ret_fields = fields;
    return true;
}

static bool parse_number(const char *text, double least, double most, double *ret_value)
{
    char *end;
    double v = strtod(text, &end);

    if (end == text || *end || !(v >= least && v <= most))
        return false;
    *ret_value = v;
    return true;
}

/* How many milliseconds the next wait may last: -1 for ever, 0 when the time is over. */
static int wait_ms(const struct options *o, int64_t start_ms)
{
    int64_t left;

    if (o->seconds <= 0)
        return -1;
    left = start_ms + (int64_t)ceil(o->seconds * 1000) - now_ms();
    return left < 0 ? 0 : left > 3600000 ? 3600000 : (int)left;
}

static int say_no_result(struct gaze *g)
{
    struct gaze_status s = {.size = sizeof(s)};

    if (gaze_get_status(g, STATUS_MS, &s) == 0)
        fprintf(stderr, "gazectl: no result came; gazed is %s%s%s\n", gaze_state_name(s.state), s.text[0] ? ": " : "",
                s.text);
    else
        fprintf(stderr, "gazectl: no result came\n");
    return FAILED;
}

static int watch(struct gaze *g, const struct options *o, struct watch *w)
{
    struct gaze_subscription s = {.size = sizeof(s),
                                  .topics = GAZE_TOPIC_RESULTS,
                                  .fields = o->fields,
                                  .encoding = o->json ? GAZE_JSON : GAZE_BINARY,
                                  .rate_hz = (float)o->rate_hz};
    int64_t start_ms = now_ms();
    int r = gaze_subscribe(g, &s), left;

    while (r >= 0 && !w->refused && (o->count == 0 || w->count < o->count)) {
        left = wait_ms(o, start_ms);
        if (left == 0)
            return w->count ? OK : say_no_result(g);
        r = gaze_dispatch(g, left);
        if (ferror(stdout))
            return FAILED;
    }
    if (r < 0)
        fprintf(stderr, "gazectl: the connection is lost: %s\n", strerror(-r));
    return r < 0 || w->refused ? FAILED : OK;
}

static int status(struct gaze *g, const struct options *o)
{
    struct gaze_status s = {.size = sizeof(s)};
    char json[8192];
    int r = o->json ? gaze_get_status_json(g, STATUS_MS, json, sizeof(json)) : gaze_get_status(g, STATUS_MS, &s);

    if (r < 0) {
        fprintf(stderr, "gazectl: no status: %s\n", strerror(-r));
        return FAILED;
    }
    if (o->json)
        fputs(json, stdout);
    else
        gazectl_print_status(stdout, &s, gaze_server_version(g));
    return OK;
}

static int run(const char *command, const struct options *o)
{
    struct watch w = {.options = o};
    struct gaze_listener listener = {.size = sizeof(listener), .result = on_result, .json = on_json, .error = on_error};
    struct gaze *g;
    int r = gaze_open(o->socket, "gazectl", &listener, &w, &g), code;

    if (strcmp(command, "version") == 0) {
        printf("gazectl %s\n", gaze_version());
        if (r == 0) {
            printf("%s\n", gaze_server_version(g));
            gaze_close(g);
        }
        return OK;
    }
    if (r < 0) {
        gazectl_print_no_connection(stderr, o->socket, r);
        return NO_CONNECTION;
    }
    code = strcmp(command, "watch") == 0 ? watch(g, o, &w) : status(g, o);
    gaze_close(g);
    return code;
}

static int control(int argc, char **argv)
{
    static const struct option names[] = {{"socket", required_argument, NULL, 's'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"count", required_argument, NULL, 'n'},
                                          {"rate", required_argument, NULL, 'r'},
                                          {"seconds", required_argument, NULL, 't'},
                                          {"fields", required_argument, NULL, 'f'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"version", no_argument, NULL, 'V'},
                                          {NULL, 0, NULL, 0}};
    struct options o = {0};
    double count = 0;
    int option, watch_only = 0, not_version = 0;
    const char *command;

    while ((option = getopt_long(argc, argv, "s:jn:r:t:f:hV", names, NULL)) != -1) {
        watch_only |= strchr("nrtf", option) != NULL;
        not_version |= option == 'j';
        if (option == 's')
            o.socket = optarg;
        else if (option == 'j')
            o.json = true;
        else if (option == 'h')
            return fputs(usage, stdout), OK;
        else if (option == 'V')
            return printf("gazectl %s\n", gaze_version()), OK;
        else if (option == 'n' && !(parse_number(optarg, 1, 1e15, &count) && count == floor(count)))
            return wrong("--count takes a whole number from 1", optarg);
        else if (option == 'r' && !parse_number(optarg, 0.001, 1000, &o.rate_hz))
            return wrong("--rate takes a number from 0.001 to 1000", optarg);
        else if (option == 't' && !parse_number(optarg, 0.001, 1e9, &o.seconds))
            return wrong("--seconds takes a number from 0.001 to 1e9", optarg);
        else if (option == 'f' && !parse_fields(optarg, &o.fields))
            return wrong("--fields takes landmarks, aus and zones with commas between", optarg);
        else if (option == '?')
            return wrong("wrong option", NULL);
    }
    if (optind != argc - 1)
        return wrong(optind == argc ? "which command? status, watch or version" : "too many arguments", NULL);
    command = argv[optind];
    if (strcmp(command, "status") != 0 && strcmp(command, "watch") != 0 && strcmp(command, "version") != 0)
        return wrong("unknown command", command);
    if ((watch_only && strcmp(command, "watch") != 0) || (not_version && strcmp(command, "version") == 0))
        return wrong("an option that this command does not have", command);
    if (o.fields && !o.json)
        return wrong("--fields goes with --json", NULL);
    o.count = (unsigned long)count;
    setvbuf(stdout, NULL, _IOLBF, 0);
    return run(command, &o);
}

int main(int argc, char **argv)
{
    int code = control(argc, argv);

    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fprintf(stderr, "gazectl: the output could not be written\n");
    return code == OK ? FAILED : code;
}
