/* Starts the worker process with one end of a socketpair as its descriptor 3. */
#pragma once

#include <sys/types.h>

/* `argv` ends with NULL; argv[0] is the path. Returns 0, the pid and our end (non-blocking, close-on-exec); -errno,
 * also that of a failed exec (so a missing program is told apart from one that dies). */
int spawn_with_socket(char *const argv[], pid_t *ret_pid, int *ret_fd);
