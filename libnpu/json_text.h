/* json_text.h - a text as a JSON string. */
#ifndef NPU_JSON_TEXT_H
#define NPU_JSON_TEXT_H

#include <stdio.h>

/* In quotes, escaped; bytes that are no UTF-8 (drivers and callers give any) become U+FFFD. */
void npu_json_text(FILE *out, const char *s);

#endif
