/* libgaze inside: the connection's state, and the way from wire messages to the public structs. */
#pragma once

#include <stdbool.h>

#include "client/gaze.h"
#include "wire/wire.h"

#define GAZE_GREET_MS     2000 /* for connect, HELLO and WELCOME together */
#define GAZE_QUEUE_MAX    1024 /* bytes of requests that wait for the socket */
#define GAZE_DISPATCH_MAX 64   /* reads of one gaze_dispatch(), so that a fast server cannot hold the caller */

/* The public view of one result; the pointers inside lead into this struct and into the wire result. */
struct gaze_view {
    struct gaze_result result;
    struct gaze_face face[WIRE_FACES_MAX];
    const struct gaze_face *face_pointer[WIRE_FACES_MAX];
    struct gaze_point landmark[WIRE_FACES_MAX][WIRE_LANDMARKS_MAX];
    struct gaze_au au[WIRE_FACES_MAX][WIRE_AUS_MAX];
    struct gaze_zone zone[WIRE_FACES_MAX][WIRE_ZONES_MAX];
};

/* A request whose reply somebody waits for. */
struct gaze_wait {
    uint32_t serial; /* 0: nobody waits */
    bool done;
    int r;
    struct gaze_status *status; /* one of these two is filled */
    char *json;
    size_t json_cap;
};

struct gaze {
    int fd;
    bool inside; /* a callback may be running */
    bool closed; /* gaze_close() was called inside */
    bool greeted;
    uint32_t serial;
    char name[WIRE_NAME_MAX];
    char path[108]; /* as in sockaddr_un */
    char server[2 * WIRE_NAME_MAX];
    struct gaze_listener listener;
    void *userdata;
    struct wire_subscribe subscription; /* topics 0: none */
    struct gaze_wait wait;
    size_t in_len, out_len;
    uint8_t out[GAZE_QUEUE_MAX];
    uint8_t in[WIRE_OUT_MAX + 1]; /* and a NUL behind JSON text */
    struct wire_msg msg;
    struct gaze_view view;
};

/* Fills `view` from a decoded RESULT. */
void gaze_view_set(struct gaze_view *view, const struct wire_result *wire);

/* Fills at most status->size bytes of `status`; sets status->size to what was filled. */
void gaze_status_set(struct gaze_status *status, const struct wire_status *wire);

/* Decodes and handles the frame at the front of gaze->in; may call the listener. Returns 0 or a negative errno that
 * ends the connection. */
int gaze_handle_frame(struct gaze *gaze, const struct wire_header *header);
