/* The listening socket. */
#include "daemon/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"

#define BACKLOG           128
#define LIVENESS_TRIES    11
#define LIVENESS_PAUSE_MS 50

int listen_take_activated(struct listen_socket *ret_socket, char ret_message[LISTEN_MESSAGE_MAX])
{
    int n = sd_listen_fds(1);
    if (n == 0)
        return 0;
    if (n != 1 || sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_STREAM, 1, NULL, 0) <= 0) {
        snprintf(ret_message, LISTEN_MESSAGE_MAX,
                 "the service manager passed %d descriptors: wanted one listening unix stream socket", n);
        return -EINVAL;
    }
    int flags = fcntl(SD_LISTEN_FDS_START, F_GETFL);
    if (flags < 0 || fcntl(SD_LISTEN_FDS_START, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    *ret_socket = (struct listen_socket){.fd = SD_LISTEN_FDS_START};
    return 1;
}

static bool refuses(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool refused =
        fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return refused;
}

/* True if `address` is a socket that nobody listens on. Either answer may be of a moment only: another daemon may be
 * between bind and listen, and one that was killed while it started its worker is outlived by the child's copy of its
 * socket until the child executes. So a socket is stale when it refuses twice, and live when it does not for long. */
static bool is_stale(const struct sockaddr_un *address)
{
    const struct timespec pause = {.tv_nsec = LIVENESS_PAUSE_MS * 1000000};
    struct stat st;
    if (lstat(address->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    int refused = 0;
    for (int i = 0; i < LIVENESS_TRIES && refused < 2; i++) {
        if (i > 0)
            nanosleep(&pause, NULL);
        refused = refuses(address) ? refused + 1 : 0;
    }
    return refused == 2;
}

static int bind_restricted(int fd, const struct sockaddr_un *address)
{
    mode_t old = umask(0117); /* so there is no moment in which others may connect */
    int r = bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
    umask(old);
    return r;
}

static void make_folder(const char *path)
{
    char folder[108];
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return;
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = '\0';
    if (mkdir(folder, 0755) == 0)
        log_debug("made the folder %s", folder);
}

static void give_to_group(const char *path, const char *name)
{
    const struct group *g = *name ? getgrnam(name) : NULL;
    if (!g)
        log_debug("no group \"%s\": only this user and root can connect", name);
    else if (lchown(path, (uid_t)-1, g->gr_gid) < 0)
        log_warning("%s stays out of group %s: %s", path, name, strerror(errno));
}

int listen_open(const char *path, const char *group, struct listen_socket *ret_socket,
                char ret_message[LISTEN_MESSAGE_MAX])
{
    struct listen_socket s = {.fd = -1, .own = true};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat st = {0};
    int r;

    if (strlen(path) >= sizeof(address.sun_path)) {
        snprintf(ret_message, LISTEN_MESSAGE_MAX, "socket path is longer than %zu bytes", sizeof(address.sun_path) - 1);
        return -ENAMETOOLONG;
    }
    strcpy(address.sun_path, path);
    strcpy(s.path, path);
    make_folder(path);
    s.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    r = s.fd < 0 ? -errno : bind_restricted(s.fd, &address);
    if (r == -EADDRINUSE && is_stale(&address)) {
        log_notice("%s was left by a daemon that is gone: replaced", path);
        r = unlink(path) < 0 && errno != ENOENT ? -errno : bind_restricted(s.fd, &address);
    }
    if (r == 0) {
        give_to_group(path, group);
        r = lstat(path, &st) < 0 || listen(s.fd, BACKLOG) < 0 ? -errno : 0;
    }
    if (r < 0) {
        snprintf(ret_message, LISTEN_MESSAGE_MAX, "can't listen on %s: %s", path,
                 r == -EADDRINUSE ? "another daemon does, or it is no socket" : strerror(-r));
        if (s.fd >= 0)
            close(s.fd);
        return r;
    }
    s.dev = st.st_dev;
    s.ino = st.st_ino;
    *ret_socket = s;
    return 0;
}

void listen_close(struct listen_socket *s)
{
    struct stat st;
    if (s->own && lstat(s->path, &st) == 0 && st.st_dev == s->dev && st.st_ino == s->ino)
        unlink(s->path);
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}
