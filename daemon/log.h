/* Log lines of gazed and gazed-worker, to stderr: with a journald priority "<N>" in front when stderr is the journal
 * (JOURNAL_STREAM names it), else with the program's name. No pixels, no names of persons, ever. */
#pragma once

#include <stdbool.h>

enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_NOTICE = 5,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7
};

/* Call once at start. `program` must stay valid. The level starts as LOG_LEVEL_INFO. */
void log_open(const char *program);
void log_set_level(enum log_level max);
bool log_enabled(enum log_level level);

/* One line, cut at 1 KiB; control characters are written as '?', so that a hostile text can't forge lines. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* True if `journal_stream` (the value of JOURNAL_STREAM, "device:inode", or NULL) names this device and inode. */
bool log_stream_matches(const char *journal_stream, unsigned long long device, unsigned long long inode);
