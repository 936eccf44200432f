/* One result, formatted once and shared. */
#include "daemon/publish.h"

struct blob *publish_encode(const struct wire_msg *msg)
{
    static uint8_t scratch[WIRE_OUT_MAX]; /* the daemon has one thread */
    size_t size;
    if (wire_encode(scratch, sizeof(scratch), msg, &size) < 0)
        return NULL;
    return blob_new(scratch, size);
}

void publish_end(struct publish *p)
{
    for (unsigned e = 0; e < 2; e++)
        for (unsigned f = 0; f <= WIRE_FIELDS_ALL; f++)
            p->made[e][f] = blob_unref(p->made[e][f]);
}

void publish_result(struct publish *p, const struct wire_result *result)
{
    publish_end(p);
    p->msg.type = WIRE_RESULT;
    p->msg.serial = 0;
    p->msg.result = *result;
}

void publish_status(struct publish *p, const struct wire_status *status)
{
    publish_end(p);
    p->msg.type = WIRE_STATUS;
    p->msg.serial = 0;
    p->msg.status = *status;
}

struct blob *publish_frame(struct publish *p, enum wire_encoding encoding, uint32_t fields)
{
    uint32_t had = p->msg.type == WIRE_RESULT ? p->msg.result.fields : 0;
    struct blob **b = &p->made[encoding == WIRE_JSON][fields & had & WIRE_FIELDS_ALL];
    if (!*b) {
        p->msg.flags = encoding == WIRE_JSON ? WIRE_FLAG_JSON : 0;
        if (p->msg.type == WIRE_RESULT)
            p->msg.result.fields = fields & had;
        *b = publish_encode(&p->msg);
        if (p->msg.type == WIRE_RESULT)
            p->msg.result.fields = had;
    }
    return *b;
}
