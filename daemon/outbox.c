/* What one client still has to get. */
#include "daemon/outbox.h"

#include <assert.h>
#include <errno.h>

#include "wire/wire.h"

int outbox_reply(struct outbox *o, struct blob *b)
{
    if (o->reply_count == OUTBOX_REPLIES_MAX) {
        blob_unref(b);
        return -ENOBUFS;
    }
    o->reply[(o->reply_first + o->reply_count++) % OUTBOX_REPLIES_MAX] = b;
    return 0;
}

void outbox_push(struct outbox *o, enum outbox_topic topic, struct blob *b)
{
    if (topic == OUTBOX_RESULT && o->newest[topic])
        o->dropped++;
    blob_unref(o->newest[topic]);
    o->newest[topic] = b;
}

bool outbox_replies_full(const struct outbox *o)
{
    return o->reply_count == OUTBOX_REPLIES_MAX;
}

bool outbox_empty(const struct outbox *o)
{
    return !o->flight && o->reply_count == 0 && !o->newest[OUTBOX_STATUS] && !o->newest[OUTBOX_RESULT];
}

bool outbox_next_is_push(const struct outbox *o)
{
    return !o->flight && o->reply_count == 0 && !outbox_empty(o);
}

/* The newest result, as a copy that tells of the dropped ones if there were any. */
static struct blob *take_result(struct outbox *o)
{
    struct blob *b = o->newest[OUTBOX_RESULT];
    if (o->dropped > 0) {
        struct blob *copy = blob_new(b->data, b->size);
        if (!copy)
            return NULL;
        int r = wire_patch_dropped(copy->data, copy->size, o->dropped);
        assert(r == 0); /* only encoded RESULTs are pushed */
        (void)r;
        blob_unref(b);
        b = copy;
        o->dropped = 0;
    }
    o->newest[OUTBOX_RESULT] = NULL;
    return b;
}

struct blob *outbox_start(struct outbox *o)
{
    if (o->flight)
        return o->flight;
    if (o->reply_count > 0) {
        o->flight = o->reply[o->reply_first];
        o->reply_first = (o->reply_first + 1) % OUTBOX_REPLIES_MAX;
        o->reply_count--;
    } else if (o->newest[OUTBOX_STATUS]) {
        o->flight = o->newest[OUTBOX_STATUS];
        o->newest[OUTBOX_STATUS] = NULL;
    } else if (o->newest[OUTBOX_RESULT]) {
        o->flight = take_result(o);
    }
    o->sent = 0;
    return o->flight;
}

bool outbox_sent(struct outbox *o, size_t n)
{
    assert(o->flight && n <= o->flight->size - o->sent);
    o->sent += n;
    if (o->sent < o->flight->size)
        return false;
    o->flight = blob_unref(o->flight);
    o->sent = 0;
    return true;
}

void outbox_forget(struct outbox *o, enum outbox_topic topic)
{
    o->newest[topic] = blob_unref(o->newest[topic]);
    if (topic == OUTBOX_RESULT)
        o->dropped = 0;
}

void outbox_clear(struct outbox *o)
{
    o->flight = blob_unref(o->flight);
    outbox_forget(o, OUTBOX_STATUS);
    outbox_forget(o, OUTBOX_RESULT);
    while (o->reply_count > 0) {
        blob_unref(o->reply[o->reply_first]);
        o->reply_first = (o->reply_first + 1) % OUTBOX_REPLIES_MAX;
        o->reply_count--;
    }
    *o = (struct outbox){0};
}
