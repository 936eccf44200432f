/* One connection: bytes in, decisions, bytes out. Functions set `why` to close; client_settle() at the end of each
 * entry from outside is the only place that frees. */
#include "daemon/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/publish.h"

static void reply(struct client *c, const struct wire_msg *msg)
{
    struct blob *b = publish_encode(msg);
    if (!b)
        c->why = "out of memory";
    else
        outbox_reply(&c->outbox, b); /* there is room: no request is read without */
}

static void reply_error(struct client *c, enum wire_error_code code, const struct wire_header *to, const char *text)
{
    struct wire_msg m = {.type = WIRE_ERROR, .serial = to ? to->serial : 0};
    m.error.code = (uint16_t)code;
    m.error.type = to ? to->type : 0;
    wire_set_text(m.error.text, sizeof(m.error.text), text);
    reply(c, &m);
}

/* The last message: nothing is read after it, what else waits is forgotten. */
static void begin_closing(struct client *c, const char *why)
{
    c->closing = true;
    c->closing_why = why;
    c->linger_until_ns = clock_now_ns() + CLIENT_LINGER_NS;
    outbox_forget(&c->outbox, OUTBOX_STATUS);
    outbox_forget(&c->outbox, OUTBOX_RESULT);
    if (c->subscription.topics) {
        c->subscription.topics = 0;
        c->hooks->subscribed(c, c->hooks->userdata);
    }
}

static void fail(struct client *c, enum wire_error_code code, const struct wire_header *to, const char *text)
{
    reply_error(c, code, to, text);
    begin_closing(c, text);
}

static void handle_hello(struct client *c, const struct wire_msg *m, const struct wire_header *h)
{
    if (c->greeted) {
        reply_error(c, WIRE_E_INVALID, h, "HELLO was said before");
        return;
    }
    if (m->hello.major != WIRE_MAJOR) {
        fail(c, WIRE_E_VERSION, h, "this socket speaks major version 1");
        return;
    }
    c->greeted = true;
    memcpy(c->name, m->hello.client, sizeof(c->name));
    struct wire_msg w = {.type = WIRE_WELCOME, .serial = h->serial};
    w.welcome = (struct wire_welcome){
        .major = WIRE_MAJOR,
        .minor = WIRE_MINOR,
        .in_max = WIRE_IN_MAX,
        .out_max = WIRE_OUT_MAX,
        .faces_max = WIRE_FACES_MAX,
        .requests_hz = CLIENT_REQUESTS_HZ,
        .topics = WIRE_TOPICS_ALL,
        .fields = WIRE_FIELDS_ALL,
    };
    wire_set_text(w.welcome.server, sizeof(w.welcome.server), "gazed");
    wire_set_text(w.welcome.version, sizeof(w.welcome.version), GAZED_VERSION);
    reply(c, &w);
}

static void reply_subscribed(struct client *c, uint32_t serial)
{
    struct wire_msg m = {.type = WIRE_SUBSCRIBED, .serial = serial};
    m.subscribe = c->subscription;
    reply(c, &m);
    if (!(c->subscription.topics & WIRE_TOPIC_STATUS))
        outbox_forget(&c->outbox, OUTBOX_STATUS);
    if (!(c->subscription.topics & WIRE_TOPIC_RESULTS))
        outbox_forget(&c->outbox, OUTBOX_RESULT);
    c->hooks->subscribed(c, c->hooks->userdata);
}

static void handle_subscribe(struct client *c, const struct wire_subscribe *s, const struct wire_header *h)
{
    if (wire_check_subscribe(s) < 0) {
        reply_error(c, WIRE_E_INVALID, h, "no topic, a rate above 1 kHz or an unknown encoding");
        return;
    }
    c->subscription = (struct wire_subscribe){
        .topics = s->topics & WIRE_TOPICS_ALL,
        .fields = s->fields & WIRE_FIELDS_ALL,
        .rate_mhz = s->rate_mhz,
        .encoding = s->encoding,
    };
    /* Half an interval of slack: a camera's jitter does not halve the rate when both are equal. */
    c->results = bucket_make(s->rate_mhz / 1000.0, 1.5);
    outbox_forget(&c->outbox, OUTBOX_RESULT); /* made for the old subscription */
    outbox_forget(&c->outbox, OUTBOX_STATUS);
    reply_subscribed(c, h->serial);
}

static void handle_get_status(struct client *c, uint16_t encoding, const struct wire_header *h)
{
    if (encoding > WIRE_JSON) {
        reply_error(c, WIRE_E_INVALID, h, "unknown encoding");
        return;
    }
    struct wire_msg m = {.type = WIRE_STATUS, .serial = h->serial};
    m.flags = encoding == WIRE_JSON ? WIRE_FLAG_JSON : 0;
    c->hooks->status(&m.status, c->hooks->userdata);
    reply(c, &m);
}

static void handle_ping(struct client *c, uint64_t cookie, const struct wire_header *h)
{
    struct wire_msg m = {.type = WIRE_PONG, .serial = h->serial};
    m.pong.cookie = cookie;
    m.pong.time_ns = clock_now_ns();
    reply(c, &m);
}

static void handle_message(struct client *c, const struct wire_msg *m, const struct wire_header *h)
{
    switch (m->type) {
    case WIRE_HELLO:
        handle_hello(c, m, h);
        break;
    case WIRE_SUBSCRIBE:
        handle_subscribe(c, &m->subscribe, h);
        break;
    case WIRE_UNSUBSCRIBE:
        c->subscription.topics &= ~m->unsubscribe.topics;
        reply_subscribed(c, h->serial);
        break;
    case WIRE_GET_STATUS:
        handle_get_status(c, m->get_status.encoding, h);
        break;
    case WIRE_PING:
        handle_ping(c, m->ping.cookie, h);
        break;
    case WIRE_BYE:
        c->why = "said BYE";
        break;
    default: /* the wire library knows a request that this file does not */
        reply_error(c, WIRE_E_INTERNAL, h, "not implemented");
    }
}

static void handle_frame(struct client *c, const struct wire_header *h)
{
    static struct wire_msg m; /* large; the daemon has one thread */
    bool ours = wire_type_senders(h->type) & WIRE_FROM_CLIENT;

    if (!c->greeted && h->type != WIRE_HELLO) {
        fail(c, WIRE_E_NOT_GREETED, h, "the first message must be HELLO");
    } else if (!bucket_take(&c->requests, clock_now_ns())) {
        reply_error(c, WIRE_E_RATE, h, "too many requests a second");
        c->throttled_until_ns = clock_now_ns() + CLIENT_THROTTLE_NS;
    } else if (!ours) {
        reply_error(c, WIRE_E_UNKNOWN_TYPE, h, "no request that this server knows");
    } else if (wire_decode(c->in, h->size, &m) < 0) {
        fail(c, WIRE_E_BAD_MESSAGE, h, "the payload does not fit its type");
    } else {
        handle_message(c, &m, h);
    }
}

/* Handles whole frames in the inbox while there is room for replies. */
static void handle_inbox(struct client *c)
{
    while (!c->why && !c->closing && !c->throttled_until_ns && !outbox_replies_full(&c->outbox)) {
        struct wire_header h;
        int r = wire_peek(c->in, c->in_size, WIRE_IN_MAX, &h);
        if (r == 0)
            return;
        if (r == -EMSGSIZE)
            fail(c, WIRE_E_TOO_BIG, NULL, "the frame is larger than 256 bytes");
        else if (r < 0)
            fail(c, WIRE_E_BAD_MESSAGE, NULL, "this is no frame");
        else {
            handle_frame(c, &h);
            c->in_size -= h.size;
            memmove(c->in, c->in + h.size, c->in_size);
        }
    }
}

/* One read a wake-up: a client that sends much waits for its next turn. */
static void receive(struct client *c)
{
    if (c->closing || c->throttled_until_ns || c->in_size == sizeof(c->in))
        return;
    ssize_t n = recv(c->fd, c->in + c->in_size, sizeof(c->in) - c->in_size, MSG_DONTWAIT);
    if (n > 0)
        c->in_size += (size_t)n;
    else if (n == 0)
        c->why = "gone";
    else if (errno != EAGAIN && errno != EINTR)
        c->why = "read error";
}

/* The kernel calls a stream writable when three quarters of its buffer are free. A pushed frame starts only then, so
 * that the newest waits here, where it can be overwritten, and not behind stale ones in the buffer. */
static bool socket_is_drained(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT);
}

static void flush(struct client *c)
{
    bool blocked = false;
    while (!c->why && !blocked) {
        if (outbox_next_is_push(&c->outbox) && !socket_is_drained(c->fd)) {
            blocked = true;
            break;
        }
        struct blob *b = outbox_start(&c->outbox);
        if (!b)
            break;
        ssize_t n = send(c->fd, b->data + c->outbox.sent, b->size - c->outbox.sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0) {
            outbox_sent(&c->outbox, (size_t)n);
            c->progress_ns = 0;
        } else if (errno == EAGAIN) {
            blocked = true;
        } else if (errno != EINTR) {
            c->why = "gone";
        }
    }
    if (!blocked)
        c->progress_ns = 0;
    else if (c->progress_ns == 0)
        c->progress_ns = clock_now_ns();
}

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t deadline_ns(const struct client *c)
{
    uint64_t t = UINT64_MAX;
    if (!c->greeted && !c->closing)
        t = c->hello_by_ns;
    if (c->closing)
        t = earliest(t, c->linger_until_ns);
    if (c->progress_ns)
        t = earliest(t, c->progress_ns + CLIENT_SLOW_NS);
    if (c->throttled_until_ns)
        t = earliest(t, c->throttled_until_ns);
    return t;
}

/* Does what can be done now, then asks the event loop for what is missing. Frees the client if it is to be closed. */
void client_settle(struct client *c)
{
    bool was_full;
    do { /* replies that left make room for requests that wait in the inbox */
        handle_inbox(c);
        was_full = outbox_replies_full(&c->outbox);
        flush(c);
    } while (was_full && !outbox_replies_full(&c->outbox) && !c->why && !c->closing);

    if (c->closing && outbox_empty(&c->outbox) && !c->why)
        c->why = c->closing_why;
    if (!c->why) {
        uint32_t events = c->progress_ns ? EPOLLOUT : 0;
        if (!c->closing && !c->throttled_until_ns && !outbox_replies_full(&c->outbox))
            events |= EPOLLIN;
        uint64_t t = deadline_ns(c);
        if (sd_event_source_set_io_events(c->io, events) < 0 ||
            sd_event_source_set_time(c->timer, t == UINT64_MAX ? t : t / 1000 + 1) < 0 ||
            sd_event_source_set_enabled(c->timer, t == UINT64_MAX ? SD_EVENT_OFF : SD_EVENT_ONESHOT) < 0)
            c->why = "event loop";
    }
    if (c->why) {
        c->hooks->closed(c, c->why, c->hooks->userdata);
        client_free(c);
    }
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct client *c = userdata;
    if (events & (EPOLLHUP | EPOLLERR))
        c->why = "gone";
    else if (events & EPOLLIN)
        receive(c);
    client_settle(c);
    return 0;
}

/* A frame of which a part was sent can't be broken off for the last word; else there may be room for it. */
static void drop_slow(struct client *c)
{
    if (!c->outbox.flight || c->outbox.sent == 0) {
        outbox_clear(&c->outbox);
        reply_error(c, WIRE_E_SLOW, NULL, "nothing was read for 5 s");
        flush(c);
    }
    c->why = "too slow";
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct client *c = userdata;
    uint64_t now = clock_now_ns();
    if (c->throttled_until_ns && now >= c->throttled_until_ns)
        c->throttled_until_ns = 0;
    if (c->progress_ns && now >= c->progress_ns + CLIENT_SLOW_NS)
        drop_slow(c);
    else if (c->closing && now >= c->linger_until_ns)
        c->why = c->closing_why;
    else if (!c->greeted && !c->closing && now >= c->hello_by_ns)
        fail(c, WIRE_E_NOT_GREETED, NULL, "no HELLO within 2 s");
    client_settle(c);
    return 0;
}

int client_new(sd_event *event, int fd, uid_t uid, const struct client_hooks *hooks, struct client **ret_client)
{
    struct client *c = calloc(1, sizeof(*c));
    int bytes = CLIENT_SNDBUF_BYTES;
    if (!c)
        return -ENOMEM;
    c->fd = -1;
    c->uid = uid;
    c->hooks = hooks;
    c->hello_by_ns = clock_now_ns() + CLIENT_HELLO_NS;
    c->requests = bucket_make(CLIENT_REQUESTS_HZ, CLIENT_REQUESTS_BURST);
    int r = setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) < 0 ? -errno : 0;
    if (r >= 0)
        r = sd_event_add_io(event, &c->io, fd, EPOLLIN, on_io, c);
    if (r >= 0)
        r = sd_event_add_time(event, &c->timer, CLOCK_MONOTONIC, c->hello_by_ns / 1000 + 1, 1000, on_timer, c);
    if (r < 0) {
        client_free(c);
        return r;
    }
    c->fd = fd;
    *ret_client = c;
    return 0;
}

void client_free(struct client *c)
{
    if (!c)
        return;
    sd_event_source_disable_unref(c->io);
    sd_event_source_disable_unref(c->timer);
    outbox_clear(&c->outbox);
    if (c->fd >= 0)
        close(c->fd);
    free(c);
}

bool client_wants_result(struct client *c, uint64_t now_ns)
{
    return (c->subscription.topics & WIRE_TOPIC_RESULTS) && bucket_take(&c->results, now_ns);
}

void client_say_bye(struct client *c, enum wire_error_code reason, const char *text)
{
    struct wire_msg m = {.type = WIRE_BYE};
    m.bye.reason = (uint16_t)reason;
    wire_set_text(m.bye.text, sizeof(m.bye.text), text);
    if (!c->closing) {
        reply(c, &m);
        begin_closing(c, text);
    }
    client_settle(c);
}
