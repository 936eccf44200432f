// The worker's end of the socketpair to gazed: records out, control in.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/wire.h"

struct gazed_link {
    int fd;
    uint8_t in[WIRE_IN_MAX];
    size_t filled;
    uint8_t out[WIRE_RESULT_MAX];
};

void gazed_link_init(struct gazed_link *l, int fd);
// Sends one record whole. -EPIPE: gazed is gone; -ETIMEDOUT: it has not read for 5 s; -EINVAL, -ENOSPC: the record
// breaks the protocol's rules.
int gazed_link_send(struct gazed_link *l, const struct wire_msg *msg);
// Reads what has arrived without waiting. Returns 1 and a control record, 0 when there is no whole one yet, -EPIPE at
// the end of the connection, -EBADMSG for anything that is no control record.
int gazed_link_receive(struct gazed_link *l, struct wire_control *ret_control);
