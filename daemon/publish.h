/* One result, formatted once for each encoding and field mask that somebody asked for, and shared by all who did. */
#pragma once

#include "daemon/blob.h"
#include "wire/wire.h"

/* Frames made of the present result. All zero is empty. */
struct publish {
    struct wire_msg msg;                       /* the result, or the status */
    struct blob *made[2][WIRE_FIELDS_ALL + 1]; /* by encoding and fields */
};

/* Begins a new result or status: copies it, forgets the frames of the one before. */
void publish_result(struct publish *p, const struct wire_result *result);
void publish_status(struct publish *p, const struct wire_status *status);
void publish_end(struct publish *p);

/* The frame in this encoding with these fields (ignored for a status), borrowed until the next publish call; NULL
 * without memory, or if a value can't be encoded. */
struct blob *publish_frame(struct publish *p, enum wire_encoding encoding, uint32_t fields);

/* One message as a frame of its own: a reply. NULL without memory, or if it can't be encoded. */
struct blob *publish_encode(const struct wire_msg *msg);
