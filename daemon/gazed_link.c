// Framing on the worker's socket.
#include "daemon/gazed_link.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define SEND_TIMEOUT_MS 5000

void gazed_link_init(struct gazed_link *l, int fd)
{
    l->fd = fd;
    l->filled = 0;
}

int gazed_link_send(struct gazed_link *l, const struct wire_msg *msg)
{
    size_t size;
    int r = wire_encode(l->out, sizeof(l->out), msg, &size);
    for (size_t done = 0; r >= 0 && done < size;) {
        ssize_t n = send(l->fd, l->out + done, size - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            done += (size_t)n;
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN)
            return errno == ECONNRESET ? -EPIPE : -errno;
        struct pollfd p = {.fd = l->fd, .events = POLLOUT};
        int ready = poll(&p, 1, SEND_TIMEOUT_MS);
        if (ready == 0)
            return -ETIMEDOUT;
        if (ready < 0 && errno != EINTR)
            return -errno;
    }
    return r;
}

int gazed_link_receive(struct gazed_link *l, struct wire_control *ret_control)
{
    struct wire_header header;
    int r = wire_peek(l->in, l->filled, sizeof(l->in), &header);
    if (r == 0) {
        ssize_t n = recv(l->fd, l->in + l->filled, sizeof(l->in) - l->filled, MSG_DONTWAIT);
        if (n == 0)
            return -EPIPE;
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : errno == ECONNRESET ? -EPIPE : -errno;
        l->filled += (size_t)n;
        r = wire_peek(l->in, l->filled, sizeof(l->in), &header);
    }
    if (r <= 0)
        return r < 0 ? -EBADMSG : 0;

    static struct wire_msg msg; // large; one thread
    r = wire_decode(l->in, header.size, &msg);
    if (r >= 0 && msg.type != WIRE_CONTROL)
        r = -EBADMSG;
    l->filled -= header.size;
    memmove(l->in, l->in + header.size, l->filled);
    if (r < 0)
        return -EBADMSG;
    *ret_control = msg.control;
    return 1;
}
