/* gazed.conf: one table of keys, the parser, and messages that help. */
#include "daemon/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "wire/wire.h"

#ifndef GAZED_MODEL_DIR
#define GAZED_MODEL_DIR "/usr/local/share/gazed/models"
#endif

enum kind { TEXT, INTEGER, NUMBER, BOOLEAN, LEVEL, DEVICES, SOURCE };

struct key {
    const char *name;
    enum kind kind;
    bool worker; /* passed to gazed-worker */
    size_t offset;
    size_t cap;      /* TEXT, SOURCE: bytes of the field */
    double min, max; /* INTEGER, NUMBER */
    const char *help;
};

#define FIELD(f)         offsetof(struct config, f)
#define TEXTOF(f)        FIELD(f), sizeof(((struct config *)0)->f), 0, 0
#define RANGE(f, lo, hi) FIELD(f), 0, lo, hi

static const struct key keys[] = {
    {"socket", TEXT, false, TEXTOF(socket), "socket that clients connect to"},
    {"socket_group", TEXT, false, TEXTOF(socket_group), "group that may connect, if it exists"},
    {"log_level", LEVEL, false, RANGE(log_level, 0, 0), "error, warning, notice, info or debug"},
    {"max_clients", INTEGER, false, RANGE(max_clients, 1, 1024), "connections at the same time"},
    {"max_clients_per_uid", INTEGER, false, RANGE(max_clients_per_uid, 1, 1024), "connections of one user"},
    {"heartbeat_s", NUMBER, false, RANGE(heartbeat_s, 0.1, 60), "silence after which the worker counts as hung"},
    {"startup_s", NUMBER, false, RANGE(startup_s, 0.1, 600), "the same while it loads and compiles"},
    {"source", SOURCE, true, TEXTOF(source), "auto, v4l2, v4l2:/dev/videoN or file:PATH"},
    {"device", DEVICES, true, RANGE(devices, 0, 0), "auto, or a list of npu, gpu, cpu, ref, sim, best first"},
    {"model_dir", TEXT, true, TEXTOF(model_dir), "folder of the networks' weights"},
    {"cache_dir", TEXT, true, TEXTOF(cache_dir), "folder for compiled kernels"},
    {"width", INTEGER, true, RANGE(width, 0, 4096), "wanted frame width in pixels, 0 = default"},
    {"height", INTEGER, true, RANGE(height, 0, 4096), "wanted frame height in pixels, 0 = default"},
    {"fps", NUMBER, true, RANGE(fps, 0, 1000), "wanted frames a second, 0 = default"},
    {"loop", BOOLEAN, true, RANGE(loop, 0, 0), "file source: begin again at the end"},
    {"fast", BOOLEAN, true, RANGE(fast, 0, 0), "file source: do not pace frames"},
    {"faces_max", INTEGER, true, RANGE(faces_max, 1, WIRE_FACES_MAX), "faces analysed in one frame"},
    {"hfov_deg", NUMBER, true, RANGE(hfov_deg, 10, 170), "horizontal field of view of the camera"},
    {"filter_min_cutoff_hz", NUMBER, true, RANGE(filter_min_cutoff_hz, 0.01, 100), "gaze filter: smoothing at rest"},
    {"filter_beta", NUMBER, true, RANGE(filter_beta, 0, 1000), "gaze filter: less lag in motion"},
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

static const char *const level_names[] = {NULL, NULL, NULL, "error", "warning", "notice", "info", "debug"};
static const char *const device_names[] = {
    [WIRE_DEVICE_NPU] = "npu",       [WIRE_DEVICE_GPU] = "gpu",       [WIRE_DEVICE_CPU] = "cpu",
    [WIRE_DEVICE_REFERENCE] = "ref", [WIRE_DEVICE_SIMULATOR] = "sim",
};
static const int devices_auto[CONFIG_DEVICES_MAX] = {WIRE_DEVICE_NPU, WIRE_DEVICE_GPU, WIRE_DEVICE_CPU,
                                                     WIRE_DEVICE_REFERENCE};

struct config config_default(void)
{
    struct config c = {
        .socket = "/run/gazed/gazed.sock",
        .socket_group = "gaze",
        .log_level = LOG_LEVEL_INFO,
        .max_clients = 64,
        .max_clients_per_uid = 16,
        .heartbeat_s = 2,
        .startup_s = 20,
        .source = "auto",
        .model_dir = GAZED_MODEL_DIR,
        .loop = true,
        .faces_max = 4,
        .hfov_deg = 60,
        .filter_min_cutoff_hz = 1.0,
        .filter_beta = 3.0,
    };
    memcpy(c.devices, devices_auto, sizeof(c.devices));
    return c;
}

/* Levenshtein distance of two short words; UINT8_MAX if either is too long to be a key. */
static unsigned edit_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    uint8_t row[40];
    if (n >= sizeof(row) || m >= sizeof(row))
        return UINT8_MAX;
    for (size_t j = 0; j <= m; j++)
        row[j] = (uint8_t)j;
    for (size_t i = 1; i <= n; i++) {
        uint8_t corner = row[0];
        row[0] = (uint8_t)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned best = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            if (corner + 1u < best)
                best = corner + 1u;
            if (row[j - 1] + 1u < best)
                best = row[j - 1] + 1u;
            row[j] = (uint8_t)best;
        }
    }
    return row[m];
}

const char *config_nearest_key(const char *word)
{
    const char *best = NULL;
    unsigned best_distance = (unsigned)strlen(word) / 2 + 1;
    for (size_t i = 0; i < KEYS; i++) {
        unsigned d = edit_distance(word, keys[i].name);
        if (d < best_distance) {
            best_distance = d;
            best = keys[i].name;
        }
    }
    return best;
}

static const struct key *find_key(const char *name)
{
    for (size_t i = 0; i < KEYS; i++) {
        const char *a = name, *b = keys[i].name;
        while (*a && (*a == *b || (*a == '-' && *b == '_')))
            a++, b++;
        if (!*a && !*b)
            return &keys[i];
    }
    return NULL;
}

static int parse_number(const char *value, double *ret_number)
{
    char *end;
    /* strtod takes hexadecimal, "inf" and "nan" too: not in a configuration file. */
    if (!*value || strspn(value, "0123456789.+-eE") != strlen(value))
        return -EINVAL;
    double x = strtod(value, &end);
    if (*end || !isfinite(x))
        return -EINVAL;
    *ret_number = x;
    return 0;
}

static int parse_boolean(const char *value, bool *ret_boolean)
{
    static const char *const yes[] = {"yes", "true", "on", "1"}, *const no[] = {"no", "false", "off", "0"};
    for (size_t i = 0; i < 4; i++) {
        if (!strcmp(value, yes[i]) || !strcmp(value, no[i])) {
            *ret_boolean = !strcmp(value, yes[i]);
            return 0;
        }
    }
    return -EINVAL;
}

static int find_name(const char *const *names, size_t n, const char *word, size_t len)
{
    for (size_t i = 0; i < n; i++)
        if (names[i] && strlen(names[i]) == len && !strncmp(names[i], word, len))
            return (int)i;
    return -EINVAL;
}

/* "auto" or "gpu,cpu": known names, none twice. */
static int parse_devices(const char *value, int ret_devices[CONFIG_DEVICES_MAX])
{
    int list[CONFIG_DEVICES_MAX] = {0};
    unsigned seen = 0;
    if (!strcmp(value, "auto")) {
        memcpy(ret_devices, devices_auto, sizeof(list));
        return 0;
    }
    for (size_t n = 0;; n++) {
        value += strspn(value, " \t");
        size_t len = strcspn(value, ", \t");
        int kind = find_name(device_names, sizeof(device_names) / sizeof(device_names[0]), value, len);
        if (kind < 0 || (seen & 1u << kind))
            return -EINVAL;
        seen |= 1u << kind;
        list[n] = kind; /* as many names as places, each once */
        value += len + strspn(value + len, " \t");
        if (!*value)
            break;
        if (*value++ != ',')
            return -EINVAL;
    }
    memcpy(ret_devices, list, sizeof(list));
    return 0;
}

static bool source_is_known(const char *value)
{
    return !strcmp(value, "auto") || !strcmp(value, "v4l2") || (!strncmp(value, "v4l2:", 5) && value[5]) ||
           (!strncmp(value, "file:", 5) && value[5]);
}

static int set_text(void *field, const struct key *k, const char *value)
{
    if (strlen(value) >= k->cap || (k->kind == SOURCE && !source_is_known(value)))
        return -EINVAL;
    strcpy(field, value);
    return 0;
}

static int set_number(void *field, const struct key *k, const char *value)
{
    double x;
    if (parse_number(value, &x) < 0 || x < k->min || x > k->max || (k->kind == INTEGER && x != floor(x)))
        return -EINVAL;
    if (k->kind == INTEGER)
        *(int *)field = (int)x;
    else
        *(double *)field = x;
    return 0;
}

static int set_value(struct config *c, const struct key *k, const char *value)
{
    void *field = (char *)c + k->offset;
    int r;
    switch (k->kind) {
    case TEXT:
    case SOURCE:
        return set_text(field, k, value);
    case INTEGER:
    case NUMBER:
        return set_number(field, k, value);
    case BOOLEAN:
        return parse_boolean(value, field);
    case DEVICES:
        return parse_devices(value, field);
    case LEVEL:
        r = find_name(level_names, sizeof(level_names) / sizeof(level_names[0]), value, strlen(value));
        if (r >= 0)
            *(int *)field = r;
        return r < 0 ? r : 0;
    }
    return -EINVAL;
}

static void explain_bad_value(const struct key *k, const char *value, char message[CONFIG_MESSAGE_MAX])
{
    if (k->kind == INTEGER || k->kind == NUMBER)
        snprintf(message, CONFIG_MESSAGE_MAX, "bad value \"%.100s\" for %s: wanted a %s from %g to %g", value, k->name,
                 k->kind == INTEGER ? "whole number" : "number", k->min, k->max);
    else if (k->kind == TEXT)
        snprintf(message, CONFIG_MESSAGE_MAX, "value for %s is too long: at most %zu bytes", k->name, k->cap - 1);
    else if (k->kind == BOOLEAN)
        snprintf(message, CONFIG_MESSAGE_MAX, "bad value \"%.100s\" for %s: wanted yes or no", value, k->name);
    else
        snprintf(message, CONFIG_MESSAGE_MAX, "bad value \"%.100s\" for %s: wanted %s", value, k->name, k->help);
}

int config_set(struct config *c, const char *key, const char *value, char ret_message[CONFIG_MESSAGE_MAX])
{
    const struct key *k = find_key(key);
    if (!k) {
        const char *near = config_nearest_key(key);
        snprintf(ret_message, CONFIG_MESSAGE_MAX, "unknown key \"%.64s\"%s%s%s", key, near ? ", did you mean \"" : "",
                 near ? near : "", near ? "\"?" : "");
        return -ENOENT;
    }
    int r = set_value(c, k, value);
    if (r < 0)
        explain_bad_value(k, value, ret_message);
    return r;
}

/* One line, NUL-terminated, modified in place. */
static int parse_line(struct config *c, char *line, char message[CONFIG_MESSAGE_MAX])
{
    char *key = line + strspn(line, " \t\r");
    if (!*key || *key == '#' || *key == ';')
        return 0;
    char *equals = strchr(key, '=');
    if (!equals) {
        snprintf(message, CONFIG_MESSAGE_MAX, "no \"=\" in \"%.64s\": wanted key = value", key);
        return -EINVAL;
    }
    char *value = equals + 1 + strspn(equals + 1, " \t\r");
    char *end = value + strlen(value);
    while (end > value && isspace((unsigned char)end[-1]))
        *--end = '\0';
    do
        *equals-- = '\0';
    while (equals >= key && isspace((unsigned char)*equals));
    return config_set(c, key, value, message);
}

int config_parse(struct config *c, const char *text, size_t size, const char *name,
                 char ret_message[CONFIG_MESSAGE_MAX])
{
    struct config next = *c;
    char line[1024], message[CONFIG_MESSAGE_MAX];

    for (unsigned number = 1; size > 0; number++) {
        const char *newline = memchr(text, '\n', size);
        size_t len = newline ? (size_t)(newline - text) : size;
        int r = -EINVAL;
        if (len >= sizeof(line)) {
            snprintf(message, sizeof(message), "line is longer than %zu bytes", sizeof(line) - 1);
        } else if (memchr(text, '\0', len)) {
            snprintf(message, sizeof(message), "not a text file");
        } else {
            memcpy(line, text, len);
            line[len] = '\0';
            r = parse_line(&next, line, message);
        }
        if (r < 0) {
            snprintf(ret_message, CONFIG_MESSAGE_MAX, "%.150s:%u: %.300s", name, number, message);
            return r;
        }
        text += len + (newline != NULL);
        size -= len + (newline != NULL);
    }
    *c = next;
    return 0;
}

int config_load(struct config *c, const char *path, char ret_message[CONFIG_MESSAGE_MAX])
{
    char text[CONFIG_FILE_MAX + 1];
    size_t size = 0;
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    while (fd >= 0 && size < sizeof(text) && (n = read(fd, text + size, sizeof(text) - size)) > 0)
        size += (size_t)n;
    int r = n < 0 ? -errno : size > CONFIG_FILE_MAX ? -EFBIG : 0;
    if (fd >= 0)
        close(fd);
    if (r < 0) {
        snprintf(ret_message, CONFIG_MESSAGE_MAX, "%.300s: %s", path, strerror(-r));
        return r;
    }
    return config_parse(c, text, size, path, ret_message);
}

const char *config_key(size_t index)
{
    return index < KEYS ? keys[index].name : NULL;
}

bool config_key_is_for_worker(size_t index)
{
    return index < KEYS && keys[index].worker;
}

const char *config_key_help(size_t index)
{
    return index < KEYS ? keys[index].help : NULL;
}

int config_format_devices(const int *devices, size_t n, char *buf, size_t cap)
{
    size_t len = 0;
    for (size_t i = 0; i < n && devices[i] != 0; i++) {
        int r = snprintf(buf + len, cap - len, "%s%s", i ? "," : "", device_names[devices[i]]);
        if (r < 0 || (size_t)r >= cap - len)
            return -ENOSPC;
        len += (size_t)r;
    }
    return (int)len;
}

int config_format(const struct config *c, size_t index, char *buf, size_t cap)
{
    const struct key *k = &keys[index];
    const void *field = (const char *)c + k->offset;
    int r = -EINVAL;
    switch (k->kind) {
    case TEXT:
    case SOURCE:
        r = snprintf(buf, cap, "%s", (const char *)field);
        break;
    case INTEGER:
        r = snprintf(buf, cap, "%d", *(const int *)field);
        break;
    case NUMBER:
        r = snprintf(buf, cap, "%.9g", *(const double *)field);
        break;
    case BOOLEAN:
        r = snprintf(buf, cap, "%s", *(const bool *)field ? "yes" : "no");
        break;
    case LEVEL:
        r = snprintf(buf, cap, "%s", level_names[*(const int *)field]);
        break;
    case DEVICES:
        return config_format_devices(field, CONFIG_DEVICES_MAX, buf, cap);
    }
    return r < 0 || (size_t)r >= cap ? -ENOSPC : r;
}
