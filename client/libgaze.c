/* libgaze: the connection. Non-blocking socket, one input buffer, one small queue of requests. */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "client/libgaze_private.h"

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void drop_connection(struct gaze *g)
{
    if (g->fd >= 0)
        close(g->fd);
    g->fd = -1;
    g->greeted = false;
    g->in_len = g->out_len = 0;
}

/* Ends the time in which callbacks may run. Frees the handle if one of them closed it: g is gone then. */
static int leave(struct gaze *g, int r)
{
    g->inside = false;
    if (!g->closed)
        return r;
    drop_connection(g);
    free(g);
    return -ECANCELED;
}

static int flush_queue(struct gaze *g)
{
    ssize_t n;

    while (g->out_len > 0) {
        n = send(g->fd, g->out, g->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -errno;
        g->out_len -= (size_t)n;
        memmove(g->out, g->out + n, g->out_len);
    }
    return 0;
}

/* Queues one request and sends what the socket takes. A send error shows in the next gaze_dispatch(). */
static int request(struct gaze *g, struct wire_msg *m, uint32_t *ret_serial)
{
    size_t size;
    int r;

    if (g->fd < 0)
        return -ENOTCONN;
    m->serial = ++g->serial ? g->serial : ++g->serial;
    r = wire_encode(g->out + g->out_len, sizeof(g->out) - g->out_len, m, &size);
    if (r < 0)
        return r == -ENOSPC ? -EAGAIN : r;
    g->out_len += size;
    flush_queue(g);
    if (ret_serial)
        *ret_serial = m->serial;
    return 0;
}

/* Handles all whole frames in the buffer. Returns their number or what ends the connection. */
static int handle_frames(struct gaze *g)
{
    struct wire_header h;
    int r, count = 0;

    while (!g->closed && g->fd >= 0) {
        r = wire_peek(g->in, g->in_len, WIRE_OUT_MAX, &h);
        if (r == 0)
            break;
        if (r < 0)
            return -EPROTO;
        r = gaze_handle_frame(g, &h);
        if (r < 0)
            return r;
        g->in_len -= h.size;
        memmove(g->in, g->in + h.size, g->in_len);
        count++;
    }
    return count;
}

/* Reads and handles until the socket is empty. Returns the number of messages, or what ends the connection. */
static int receive(struct gaze *g)
{
    int r, count = 0;
    ssize_t n;

    for (int reads = 0; reads < GAZE_DISPATCH_MAX && !g->closed; reads++) {
        n = recv(g->fd, g->in + g->in_len, WIRE_OUT_MAX - g->in_len, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0)
            return n < 0 ? -errno : -ECONNRESET;
        g->in_len += (size_t)n;
        r = handle_frames(g);
        if (r < 0)
            return r;
        count += r;
    }
    return count;
}

/* One wait and one round of sending and receiving, without the listener's `disconnected`. */
static int turn(struct gaze *g, int timeout_ms)
{
    struct pollfd p = {.fd = g->fd, .events = gaze_get_events(g)};
    int r = poll(&p, 1, timeout_ms), sent;

    if (r <= 0)
        return r < 0 && errno != EINTR ? -errno : 0;
    sent = flush_queue(g);
    r = receive(g); /* also after a failed send: the server's last words may be there */
    return r < 0 ? r : sent < 0 ? sent : r;
}

static int lost(struct gaze *g, int r)
{
    drop_connection(g);
    if (!g->closed && g->listener.disconnected)
        g->listener.disconnected(g->userdata, r);
    return r;
}

/* A socket connected to g->path, or a negative errno. A full backlog is waited for. */
static int connect_socket(const struct gaze *g, int64_t deadline_ms)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int r, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    memcpy(address.sun_path, g->path, sizeof(address.sun_path));
    while (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        r = errno;
        if ((r == EAGAIN || r == EINTR) && now_ms() < deadline_ms) {
            poll(NULL, 0, 10);
            continue;
        }
        close(fd);
        return r == EAGAIN ? -ETIMEDOUT : -r;
    }
    return fd;
}

static int greet(struct gaze *g)
{
    struct wire_msg *m = &g->msg;
    int64_t left_ms, deadline_ms = now_ms() + GAZE_GREET_MS;
    int r = connect_socket(g, deadline_ms);

    if (r < 0)
        return r;
    g->fd = r;
    *m = (struct wire_msg){.type = WIRE_HELLO, .hello = {.major = WIRE_MAJOR, .minor = WIRE_MINOR}};
    memcpy(m->hello.client, g->name, sizeof(m->hello.client));
    r = request(g, m, NULL);
    while (r >= 0 && !g->greeted && !g->closed) {
        left_ms = deadline_ms - now_ms();
        r = left_ms <= 0 ? -ETIMEDOUT : turn(g, (int)left_ms);
    }
    if (r >= 0 && !g->closed && g->subscription.topics) {
        *m = (struct wire_msg){.type = WIRE_SUBSCRIBE, .subscribe = g->subscription};
        r = request(g, m, NULL);
    }
    if (r < 0)
        drop_connection(g);
    return r < 0 ? r : 0;
}

int gaze_open(const char *path, const char *name, const struct gaze_listener *listener, void *userdata,
              struct gaze **ret_gaze)
{
    struct gaze *g;
    int r;

    if (listener && listener->size < sizeof(listener->size))
        return -EINVAL;
    if (!path || !*path)
        path = getenv("GAZED_SOCKET");
    if (!path || !*path)
        path = GAZE_DEFAULT_SOCKET;
    if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return -ENAMETOOLONG;
    g = calloc(1, sizeof(*g));
    if (!g)
        return -ENOMEM;
    g->fd = -1;
    strcpy(g->path, path);
    wire_set_text(g->name, sizeof(g->name), name);
    if (listener)
        memcpy(&g->listener, listener, listener->size < sizeof(*listener) ? listener->size : sizeof(*listener));
    g->userdata = userdata;
    r = greet(g);
    if (r < 0) {
        free(g);
        return r;
    }
    *ret_gaze = g;
    return 0;
}

void gaze_close(struct gaze *g)
{
    if (!g)
        return;
    g->closed = true;
    if (!g->inside)
        leave(g, 0);
}

int gaze_get_fd(const struct gaze *g)
{
    return g->fd;
}

short gaze_get_events(const struct gaze *g)
{
    return g->out_len ? POLLIN | POLLOUT : POLLIN;
}

int gaze_dispatch(struct gaze *g, int timeout_ms)
{
    int r;

    if (g->inside)
        return -EBUSY;
    if (g->fd < 0)
        return -ENOTCONN;
    g->inside = true;
    r = turn(g, timeout_ms);
    if (r < 0)
        r = lost(g, r);
    return leave(g, r);
}

int gaze_reconnect(struct gaze *g)
{
    int r;

    if (g->inside)
        return -EBUSY;
    drop_connection(g);
    g->inside = true;
    r = greet(g);
    return leave(g, r);
}

int gaze_subscribe(struct gaze *g, const struct gaze_subscription *s)
{
    struct gaze_subscription full = {0};
    struct wire_msg m = {.type = WIRE_SUBSCRIBE};
    int r;

    if (s->size < offsetof(struct gaze_subscription, rate_hz) + sizeof(s->rate_hz) ||
        !(s->rate_hz >= 0 && s->rate_hz <= WIRE_RATE_MAX_MHZ / 1000.0f) || s->encoding > GAZE_JSON)
        return -EINVAL;
    memcpy(&full, s, s->size < sizeof(full) ? s->size : sizeof(full));
    m.subscribe = (struct wire_subscribe){.topics = full.topics,
                                          .fields = full.fields,
                                          .rate_mhz = (uint32_t)lrintf(ceilf(full.rate_hz * 1000.0f)),
                                          .encoding = (uint16_t)full.encoding};
    if (wire_check_subscribe(&m.subscribe) < 0)
        return -EINVAL;
    r = request(g, &m, NULL);
    if (r == 0)
        g->subscription = m.subscribe;
    return r;
}

int gaze_unsubscribe(struct gaze *g, uint32_t topics)
{
    struct wire_msg m = {.type = WIRE_UNSUBSCRIBE, .unsubscribe = {.topics = topics}};
    int r = request(g, &m, NULL);

    if (r == 0)
        g->subscription.topics &= ~topics;
    return r;
}

/* Sends GET_STATUS and takes turns until g->wait is done. */
static int wait_for_status(struct gaze *g, int timeout_ms, struct gaze_wait wait)
{
    struct wire_msg m = {.type = WIRE_GET_STATUS, .get_status = {.encoding = wait.json ? WIRE_JSON : WIRE_BINARY}};
    int64_t left_ms = timeout_ms, deadline_ms = now_ms() + timeout_ms;
    int r;

    if (g->inside)
        return -EBUSY;
    g->wait = wait;
    r = request(g, &m, &g->wait.serial);
    if (r < 0)
        return r;
    g->inside = true;
    while (!g->wait.done && !g->closed) {
        r = turn(g, timeout_ms < 0 ? -1 : (int)left_ms);
        if (r < 0 && !g->wait.done) {
            g->wait.serial = 0;
            return leave(g, lost(g, r));
        }
        left_ms = deadline_ms - now_ms();
        if (timeout_ms >= 0 && left_ms <= 0 && !g->wait.done) {
            g->wait.done = true;
            g->wait.r = -ETIMEDOUT;
        }
    }
    g->wait.serial = 0;
    return leave(g, g->wait.r);
}

int gaze_get_status(struct gaze *g, int timeout_ms, struct gaze_status *status)
{
    if (status->size < sizeof(status->size))
        return -EINVAL;
    return wait_for_status(g, timeout_ms, (struct gaze_wait){.status = status});
}

int gaze_get_status_json(struct gaze *g, int timeout_ms, char *buf, size_t cap)
{
    return wait_for_status(g, timeout_ms, (struct gaze_wait){.json = buf, .json_cap = cap});
}

const char *gaze_server_version(const struct gaze *g)
{
    return g->server;
}
