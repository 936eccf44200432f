/* What one client still has to get: one frame in flight, one overwritable newest frame per topic, a few replies. Pure
 * but for the blobs' reference counts; so a client that does not read costs a bounded amount of memory and never gets
 * stale results. Replies leave before pushed frames, status before results. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/blob.h"

#define OUTBOX_REPLIES_MAX 16

enum outbox_topic { OUTBOX_STATUS, OUTBOX_RESULT, OUTBOX_TOPICS };

/* All zero is the empty one. */
struct outbox {
    struct blob *flight; /* being sent; its first `sent` bytes are gone */
    size_t sent;
    struct blob *newest[OUTBOX_TOPICS];
    struct blob *reply[OUTBOX_REPLIES_MAX]; /* a ring */
    unsigned reply_first, reply_count;
    uint32_t dropped; /* results overwritten since one was last taken into flight */
};

/* Each takes over the reference of `b`. */
int outbox_reply(struct outbox *o, struct blob *b); /* -ENOBUFS, and `b` is dropped, when full */
void outbox_push(struct outbox *o, enum outbox_topic topic, struct blob *b); /* overwrites; results are counted */

bool outbox_replies_full(const struct outbox *o);
bool outbox_empty(const struct outbox *o);

/* True if the next frame to start is a pushed one (no reply waits, nothing is in flight, something is pushed). */
bool outbox_next_is_push(const struct outbox *o);

/* Puts the next frame in flight if nothing is. Returns the frame in flight or NULL. A result after dropped ones is
 * copied and its dropped_since_last set; ones without loss are shared. NULL also without memory for the copy: the
 * result stays. */
struct blob *outbox_start(struct outbox *o);

/* `n` more bytes of the frame in flight were sent. Returns true if it is done. */
bool outbox_sent(struct outbox *o, size_t n);

/* Forgets a pushed frame that has not started, without counting it: the subscription changed. */
void outbox_forget(struct outbox *o, enum outbox_topic topic);
void outbox_clear(struct outbox *o);
