/* A server for client tests, in a thread: greets, answers and pushes samples as its script says. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "wire/wire.h"

struct fake_server {
    /* The script, set before fake_server_start(). Connections are served one after the other. */
    uint16_t welcome_major;   /* 0: WIRE_MAJOR */
    uint16_t greet_error;     /* instead of WELCOME: this error code, then close */
    uint16_t subscribe_error; /* instead of SUBSCRIBED */
    bool silent;              /* reads but never answers */
    bool deaf;                /* reads nothing after HELLO */
    bool close_after_push;    /* BYE and close after the pushes */
    unsigned slice;           /* bytes of one send; 0 = whole frames */
    const char *push[8];      /* samples to send after SUBSCRIBE, up to NULL */
    const uint8_t *raw;       /* bytes to send after the pushes */
    size_t raw_size;

    /* What happened. */
    atomic_uint connections, subscribes;
    struct wire_subscribe last_subscribe; /* read it after fake_server_stop() */

    char path[64];
    char folder[32];
    int listener;
    atomic_bool stop;
    pthread_t thread;
};

void fake_server_start(struct fake_server *s);
void fake_server_stop(struct fake_server *s);
