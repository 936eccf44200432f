/* The listening socket: from systemd, or our own with care for the file that a crashed one left. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct listen_socket {
    int fd;
    bool own;  /* we bound it and remove its file */
    dev_t dev; /* of the file, so that only ours is removed */
    ino_t ino;
    char path[108];
};

#define LISTEN_MESSAGE_MAX 256

/* Takes the socket that systemd passed. Returns 1 and sets it, 0 if none was passed, -EINVAL with a message if
 * something else was (not one listening unix stream socket). */
int listen_take_activated(struct listen_socket *ret_socket, char ret_message[LISTEN_MESSAGE_MAX]);

/* Binds `path`, mode 0660, group `group` if there is such a group and we may. Makes the last folder of the path if
 * missing. A socket file that nobody listens on is replaced. -EADDRINUSE if somebody does, or if it is no socket; other
 * -errno. */
int listen_open(const char *path, const char *group, struct listen_socket *ret_socket,
                char ret_message[LISTEN_MESSAGE_MAX]);

/* Closes; removes our own file if it is still ours. */
void listen_close(struct listen_socket *s);
