/* gazectl inside: what is printed for people. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "client/gaze.h"

/* One line a face, or one that says that there is none. */
void gazectl_print_result(FILE *out, const struct gaze_result *result);

/* The service's status, one fact a line. */
void gazectl_print_status(FILE *out, const struct gaze_status *status, const char *server);

/* Why gaze_open() failed with r, and what to do about it. path: NULL if the default is meant. */
void gazectl_print_no_connection(FILE *out, const char *path, int r);
