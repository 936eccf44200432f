/* The clients' side of gazed: accepts, limits, sends results and status to those who subscribed. */
#pragma once

#include <systemd/sd-event.h>

#include "wire/wire.h"

struct server;

struct server_hooks {
    void (*watchers)(unsigned count, void *userdata); /* so many connections are subscribed to results now */
    void (*status)(struct wire_status *ret_status, void *userdata);
    void *userdata;
};

/* `listen_fd` is listening and non-blocking; it stays the caller's and must live as long as the server. */
int server_new(sd_event *event, int listen_fd, const struct server_hooks *hooks, struct server **ret_server);
struct server *server_free(struct server *s);

/* Limits for connections to come. */
void server_set_limits(struct server *s, unsigned max_clients, unsigned max_clients_per_uid);

unsigned server_client_count(const struct server *s);

/* To all that are subscribed, as their fields, encoding and rate say. The result's dropped_since_last must be 0. */
void server_publish_result(struct server *s, const struct wire_result *result);

/* Asks for a status and sends it to all that are subscribed, soon and once, however often this is called until then. */
void server_status_changed(struct server *s);

/* Accepts no more, says BYE to all. */
void server_shut_down(struct server *s);
