// Pictures and clips as a source.
#pragma once

#include "daemon/source.h"

#define SOURCE_FILE_MAX_BYTES  (UINT64_C(4) << 30)
#define SOURCE_FILE_MAX_FRAMES 1000000

// path: a JPEG or PNG, a folder of them (sorted by name), an MJPEG or a Y4M file. Errors and message as source_open.
int source_file_open(const char *path, const struct source_settings *settings, struct source **ret_source,
                     char message[SOURCE_MESSAGE_SIZE]);
