/* One connection to gazed's socket: greeting, requests, subscription, and what it still has to get. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "daemon/blob.h"
#include "daemon/bucket.h"
#include "daemon/outbox.h"
#include "wire/wire.h"

/* What an outsider can drive. */
#define CLIENT_HELLO_NS       UINT64_C(2000000000) /* from connecting to HELLO */
#define CLIENT_SLOW_NS        UINT64_C(5000000000) /* without write progress */
#define CLIENT_LINGER_NS      UINT64_C(1000000000) /* to take the last message */
#define CLIENT_REQUESTS_HZ    50
#define CLIENT_REQUESTS_BURST 32
#define CLIENT_THROTTLE_NS    UINT64_C(100000000) /* not read from, after a request above the rate */
#define CLIENT_SNDBUF_BYTES   8192                /* the kernel doubles it; more would hide stale results */
#define CLIENT_INBOX_BYTES    (2 * WIRE_IN_MAX)

struct client;

/* The server's part. None of them may settle a client. */
struct client_hooks {
    void (*closed)(struct client *c, const char *why, void *userdata); /* takes it out of the list; it is freed then */
    void (*subscribed)(struct client *c, void *userdata);              /* the subscription changed */
    void (*status)(struct wire_status *ret_status, void *userdata);
    void *userdata;
};

struct client {
    struct client *next, *prev; /* the server's list */
    const struct client_hooks *hooks;
    int fd;
    uid_t uid;
    sd_event_source *io, *timer;
    char name[WIRE_NAME_MAX]; /* from HELLO; not trusted */

    bool greeted;
    bool closing; /* nothing is read any more; gone when the outbox is empty */
    const char *closing_why;
    const char *why; /* set: the connection is to be closed now; static text */
    uint64_t hello_by_ns, linger_until_ns;
    uint64_t throttled_until_ns; /* 0 = not */
    uint64_t progress_ns;        /* blocked: since when no byte left; 0 = not blocked */
    struct bucket requests, results;

    struct wire_subscribe subscription; /* granted; topics 0 = none */
    struct outbox outbox;
    size_t in_size;
    uint8_t in[CLIENT_INBOX_BYTES];
};

/* Takes over `fd` (a connected, non-blocking stream socket) on success. -ENOMEM or what sd-event says. */
int client_new(sd_event *event, int fd, uid_t uid, const struct client_hooks *hooks, struct client **ret_client);
void client_free(struct client *c);

/* Call after putting something into the outbox from outside of the hooks: sends what can be sent now. May free the
 * client. */
void client_settle(struct client *c);

/* True if the subscription's rate allows a result now; counts it. */
bool client_wants_result(struct client *c, uint64_t now_ns);

/* BYE, then closed as soon as it is taken. `text` is static. May free the client. */
void client_say_bye(struct client *c, enum wire_error_code reason, const char *text);
