/* The clients' side of gazed. */
#include "daemon/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/bucket.h"
#include "daemon/client.h"
#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/publish.h"

#define ACCEPT_BATCH       4 /* a wake-up */
#define ACCEPT_PERIOD_USEC 100000
#define ACCEPT_WAKES       25 /* a period: who connects in a loop, or a lack of descriptors, can't keep us busy */

struct server {
    struct client_hooks client_hooks;
    struct server_hooks hooks;
    sd_event *event;
    sd_event_source *listen, *status_soon;
    int listen_fd;
    struct client *clients;
    unsigned count, max, max_per_uid, watchers;
    struct publish result, status;
    struct bucket log_lines; /* that clients can provoke */
};

static void count_watchers(struct server *s)
{
    unsigned n = 0;
    for (struct client *c = s->clients; c; c = c->next)
        n += (c->subscription.topics & WIRE_TOPIC_RESULTS) != 0;
    if (n != s->watchers) {
        s->watchers = n;
        s->hooks.watchers(n, s->hooks.userdata);
    }
}

static void on_closed(struct client *c, const char *why, void *userdata)
{
    struct server *s = userdata;
    if (c->prev)
        c->prev->next = c->next;
    else
        s->clients = c->next;
    if (c->next)
        c->next->prev = c->prev;
    s->count--;
    if (bucket_take(&s->log_lines, clock_now_ns()))
        log_debug("client \"%s\" of uid %u left: %s", c->name, (unsigned)c->uid, why);
    count_watchers(s);
}

static void push_status(struct server *s, struct client *c)
{
    struct blob *b = publish_frame(&s->status, c->subscription.encoding, 0);
    if (b)
        outbox_push(&c->outbox, OUTBOX_STATUS, blob_ref(b));
}

static void new_status(struct server *s)
{
    struct wire_status status = {0};
    s->hooks.status(&status, s->hooks.userdata);
    publish_status(&s->status, &status);
}

static void on_subscribed(struct client *c, void *userdata)
{
    struct server *s = userdata;
    count_watchers(s);
    if (c->subscription.topics & WIRE_TOPIC_STATUS) { /* the present state, so that nobody has to ask for it */
        new_status(s);
        push_status(s, c);
    }
}

static void on_status(struct wire_status *ret_status, void *userdata)
{
    struct server *s = userdata;
    s->hooks.status(ret_status, s->hooks.userdata);
}

static int on_status_soon(sd_event_source *source, void *userdata)
{
    struct server *s = userdata;
    new_status(s);
    for (struct client *c = s->clients, *next; c; c = next) {
        next = c->next;
        if (c->subscription.topics & WIRE_TOPIC_STATUS) {
            push_status(s, c);
            client_settle(c);
        }
    }
    return 0;
}

static void refuse(int fd, const char *text)
{
    uint8_t frame[WIRE_HEADER_SIZE + 256];
    struct wire_msg m = {.type = WIRE_ERROR};
    size_t size;
    m.error.code = WIRE_E_TOO_MANY;
    wire_set_text(m.error.text, sizeof(m.error.text), text);
    if (wire_encode(frame, sizeof(frame), &m, &size) == 0) {
        ssize_t n = send(fd, frame, size, MSG_DONTWAIT | MSG_NOSIGNAL); /* a new socket has room */
        (void)n;
    }
    close(fd);
}

static void welcome(struct server *s, int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    unsigned same = 0;
    struct client *c;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) {
        close(fd);
        return;
    }
    for (c = s->clients; c; c = c->next)
        same += c->uid == peer.uid;
    if (s->count >= s->max || same >= s->max_per_uid) {
        refuse(fd, s->count >= s->max ? "too many clients" : "too many clients of this user");
        if (bucket_take(&s->log_lines, clock_now_ns()))
            log_notice("a client of uid %u was refused: %u are connected, %u of them of this user", (unsigned)peer.uid,
                       s->count, same);
        return;
    }
    int r = client_new(s->event, fd, peer.uid, &s->client_hooks, &c);
    if (r < 0) {
        log_error("no new client: %s", strerror(-r));
        close(fd);
        return;
    }
    c->next = s->clients;
    if (s->clients)
        s->clients->prev = c;
    s->clients = c;
    s->count++;
}

static int on_connection(sd_event_source *source, int listen_fd, uint32_t events, void *userdata)
{
    struct server *s = userdata;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            welcome(s, fd);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            if (errno != EAGAIN && bucket_take(&s->log_lines, clock_now_ns()))
                log_error("can't accept a client: %s", strerror(errno));
            break;
        }
    }
    return 0;
}

int server_new(sd_event *event, int listen_fd, const struct server_hooks *hooks, struct server **ret_server)
{
    struct server *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->event = event;
    s->hooks = *hooks;
    s->client_hooks = (struct client_hooks){on_closed, on_subscribed, on_status, s};
    s->log_lines = bucket_make(2, 20);
    s->max = s->max_per_uid = 1;
    int r = sd_event_add_io(event, &s->listen, listen_fd, EPOLLIN, on_connection, s);
    if (r >= 0)
        r = sd_event_source_set_priority(s->listen, SD_EVENT_PRIORITY_NORMAL + 10); /* those who are in come first */
    if (r >= 0)
        r = sd_event_source_set_ratelimit(s->listen, ACCEPT_PERIOD_USEC, ACCEPT_WAKES);
    if (r >= 0)
        r = sd_event_add_defer(event, &s->status_soon, on_status_soon, s);
    if (r >= 0)
        r = sd_event_source_set_enabled(s->status_soon, SD_EVENT_OFF);
    if (r < 0) {
        server_free(s);
        return r;
    }
    *ret_server = s;
    return 0;
}

struct server *server_free(struct server *s)
{
    if (!s)
        return NULL;
    while (s->clients) {
        struct client *c = s->clients;
        s->clients = c->next;
        client_free(c);
    }
    sd_event_source_disable_unref(s->listen);
    sd_event_source_disable_unref(s->status_soon);
    publish_end(&s->result);
    publish_end(&s->status);
    free(s);
    return NULL;
}

void server_set_limits(struct server *s, unsigned max_clients, unsigned max_clients_per_uid)
{
    s->max = max_clients;
    s->max_per_uid = max_clients_per_uid;
}

unsigned server_client_count(const struct server *s)
{
    return s->count;
}

void server_publish_result(struct server *s, const struct wire_result *result)
{
    uint64_t now = clock_now_ns();
    publish_result(&s->result, result);
    for (struct client *c = s->clients, *next; c; c = next) {
        next = c->next;
        if (!client_wants_result(c, now))
            continue;
        struct blob *b = publish_frame(&s->result, c->subscription.encoding, c->subscription.fields);
        if (b) {
            outbox_push(&c->outbox, OUTBOX_RESULT, blob_ref(b));
            client_settle(c);
        }
    }
}

void server_status_changed(struct server *s)
{
    sd_event_source_set_enabled(s->status_soon, SD_EVENT_ONESHOT);
}

void server_shut_down(struct server *s)
{
    s->listen = sd_event_source_disable_unref(s->listen);
    for (struct client *c = s->clients, *next; c; c = next) {
        next = c->next;
        client_say_bye(c, WIRE_E_SHUTDOWN, "the service stops");
    }
}
