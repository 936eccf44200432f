/* json_scan.h - a small JSON reader for headers of files: a cursor, no tree, nothing allocated. */
#ifndef NPU_JSON_SCAN_H
#define NPU_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_scan {
    const char *at, *end;
    const char *error; /* NULL as long as all is well */
    int depth, max_depth;
};

void json_space(struct json_scan *s);
/* Skips white space, then eats c if it is next. */
bool json_eat(struct json_scan *s, char c);
/* The same, but anything else is an error. */
bool json_expect(struct json_scan *s, char c);
/* A string with its escapes resolved to UTF-8, NUL-ended; longer than size - 1 or with a NUL inside is an error. */
bool json_string(struct json_scan *s, char *buf, size_t size);
/* A whole number from 0 to INT64_MAX. */
bool json_count(struct json_scan *s, int64_t *ret);
/* Any value, skipped. */
bool json_skip(struct json_scan *s);

#endif
