// Chooses the source that a specification names.
#include "daemon/source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/source_file.h"
#include "daemon/source_v4l2.h"

int source_open(const char *spec, const struct source_settings *settings, struct source **ret_source,
                char message[SOURCE_MESSAGE_SIZE])
{
    if (!strcmp(spec, "v4l2") || !strcmp(spec, "auto"))
        return source_v4l2_open(NULL, settings, NULL, ret_source, message);
    if (!strncmp(spec, "v4l2:", 5) && spec[5])
        return source_v4l2_open(spec + 5, settings, NULL, ret_source, message);
    if (!strncmp(spec, "file:", 5) && spec[5])
        return source_file_open(spec + 5, settings, ret_source, message);
    snprintf(message, SOURCE_MESSAGE_SIZE, "unknown source '%.64s': use v4l2, v4l2:/dev/videoN or file:PATH", spec);
    return -EINVAL;
}
