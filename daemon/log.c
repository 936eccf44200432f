/* Log lines to stderr: journald priorities or plain text. */
#include "daemon/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_MAX_BYTES 1024

static const char *log_program = "gazed";
static enum log_level log_max = LOG_LEVEL_INFO;
static bool log_to_journal;

bool log_stream_matches(const char *journal_stream, unsigned long long device, unsigned long long inode)
{
    unsigned long long d, i;
    char end;
    return journal_stream && sscanf(journal_stream, "%llu:%llu%c", &d, &i, &end) == 2 && d == device && i == inode;
}

void log_open(const char *program)
{
    struct stat st;
    log_program = program;
    log_to_journal =
        fstat(STDERR_FILENO, &st) == 0 &&
        log_stream_matches(getenv("JOURNAL_STREAM"), (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
}

void log_set_level(enum log_level max)
{
    log_max = max;
}

bool log_enabled(enum log_level level)
{
    return level <= log_max;
}

void log_write(enum log_level level, const char *format, ...)
{
    static const char *const name[] = {"", "", "", "error: ", "warning: ", "", "", "debug: "};
    char line[LINE_MAX_BYTES];
    int saved_errno = errno;
    va_list ap;

    if (!log_enabled(level))
        return;
    int head = log_to_journal ? snprintf(line, sizeof(line), "<%d>", (int)level)
                              : snprintf(line, sizeof(line), "%s: %s", log_program, name[level & 7]);
    va_start(ap, format);
    int body = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, format, ap);
    va_end(ap);
    size_t len = (size_t)head + (body > 0 ? (size_t)body : 0);
    if (len > sizeof(line) - 2)
        len = sizeof(line) - 2;
    for (size_t i = (size_t)head; i < len; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?';
    line[len++] = '\n';
    ssize_t n = write(STDERR_FILENO, line, len); /* one write: lines of two processes don't mix */
    (void)n;
    errno = saved_errno;
}
