/* gazed.conf: "key = value" lines, '#' comments; the same keys are the long options of gazed-worker and, with '-' for
 * '_', of gazed's command line. Pure but for config_load(). One table in config.c says what keys there are. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#ifndef GAZED_SYSCONFDIR
#define GAZED_SYSCONFDIR "/etc"
#endif
#define CONFIG_DEFAULT_FILE GAZED_SYSCONFDIR "/gazed/gazed.conf"
#define CONFIG_FILE_MAX     65536 /* bytes */
#define CONFIG_TEXT_MAX     256   /* bytes of a text value, NUL included */
#define CONFIG_MESSAGE_MAX  512
#define EXIT_CONFIG         78 /* EX_CONFIG of sysexits.h */

#define CONFIG_DEVICES_MAX 5

struct config {
    /* gazed */
    char socket[108]; /* of sockaddr_un: a longer path can't be bound */
    char socket_group[32];
    int log_level; /* enum log_level */
    int max_clients, max_clients_per_uid;
    double heartbeat_s, startup_s;

    /* gazed-worker */
    char source[CONFIG_TEXT_MAX];    /* as source_open() takes it */
    int devices[CONFIG_DEVICES_MAX]; /* enum wire_device_kind, best first; the rest 0 */
    char model_dir[CONFIG_TEXT_MAX];
    char cache_dir[CONFIG_TEXT_MAX]; /* "" = $CACHE_DIRECTORY, else the runtime's default */
    int width, height;               /* wanted, px; 0 = default */
    double fps;                      /* wanted; 0 = default */
    bool loop, fast;                 /* file sources */
    int faces_max;
    double hfov_deg; /* of the camera */
    double filter_min_cutoff_hz, filter_beta;
};

/* The built-in settings. */
struct config config_default(void);

/* Sets one key. `key` may have '-' for '_'. Returns 0; -ENOENT unknown key, -EINVAL bad value: then ret_message says so
 * with the nearest known key or the allowed values, and `c` is unchanged. */
int config_set(struct config *c, const char *key, const char *value, char ret_message[CONFIG_MESSAGE_MAX]);

/* Applies the text of a file. `name` is for messages "name:line: ...". All or nothing: on failure `c` is unchanged.
 * Returns 0, -EINVAL or -ENOENT (the first bad line). */
int config_parse(struct config *c, const char *text, size_t size, const char *name,
                 char ret_message[CONFIG_MESSAGE_MAX]);

/* Reads and applies a file. Returns as config_parse(), or the -errno of reading it with a message; -EFBIG. */
int config_load(struct config *c, const char *path, char ret_message[CONFIG_MESSAGE_MAX]);

/* Keys in the order of the table: NULL when `index` is past the end. */
const char *config_key(size_t index);
bool config_key_is_for_worker(size_t index);
const char *config_key_help(size_t index);

/* The value of a key as text that config_set() takes. Returns its length; -ENOSPC. */
int config_format(const struct config *c, size_t index, char *buf, size_t cap);

/* "npu,gpu,cpu" for device kinds; at most `n`, up to the first 0. Returns the length; -ENOSPC. */
int config_format_devices(const int *devices, size_t n, char *buf, size_t cap);

/* The key nearest to `word` by edit distance, or NULL if none is near. */
const char *config_nearest_key(const char *word);
