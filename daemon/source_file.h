// Pictures and clips as a source.
#pragma once

#include "daemon/source.h"

// path: a JPEG or PNG, a folder of them (sorted by name), an MJPEG or a Y4M file. Errors and message as source_open.
int source_file_open(const char *path, const struct source_settings *settings, struct source **ret_source,
                     char message[SOURCE_MESSAGE_SIZE]);
