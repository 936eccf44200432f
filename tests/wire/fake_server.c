/* A server for client tests: see fake_server.h. Asserts on what cannot happen in a test. */
#include "tests/wire/fake_server.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/wire/samples.h"

static bool send_bytes(struct fake_server *s, int fd, const uint8_t *p, size_t size)
{
    while (size > 0) {
        size_t part = s->slice && s->slice < size ? s->slice : size;
        ssize_t n = send(fd, p, part, MSG_NOSIGNAL);

        if (n < 0)
            return false;
        p += n;
        size -= (size_t)n;
    }
    return true;
}

static bool send_msg(struct fake_server *s, int fd, const struct wire_msg *m)
{
    uint8_t *frame = malloc(WIRE_OUT_MAX);
    size_t size;
    bool ok;

    assert(frame && wire_encode(frame, WIRE_OUT_MAX, m, &size) == 0);
    ok = send_bytes(s, fd, frame, size);
    free(frame);
    return ok;
}

static bool send_sample(struct fake_server *s, int fd, const char *name, uint32_t serial)
{
    struct wire_msg *m = calloc(1, sizeof(*m));
    bool ok;

    wire_sample_get(name, m);
    m->serial = serial;
    if (m->type == WIRE_WELCOME && s->welcome_major)
        m->welcome.major = s->welcome_major;
    ok = send_msg(s, fd, m);
    free(m);
    return ok;
}

static bool send_error(struct fake_server *s, int fd, uint16_t code, uint32_t serial)
{
    struct wire_msg m = {.type = WIRE_ERROR, .serial = serial, .error = {.code = code, .text = "as the script says"}};

    return send_msg(s, fd, &m);
}

static bool push(struct fake_server *s, int fd)
{
    for (unsigned i = 0; i < 8 && s->push[i]; i++)
        if (!send_sample(s, fd, s->push[i], 0))
            return false;
    if (s->raw_size && !send_bytes(s, fd, s->raw, s->raw_size))
        return false;
    if (s->close_after_push)
        send_sample(s, fd, "bye", 0);
    return !s->close_after_push;
}

/* false: close. */
static bool answer(struct fake_server *s, int fd, const struct wire_msg *m)
{
    if (s->silent)
        return true;
    switch (m->type) {
    case WIRE_HELLO:
        if (s->greet_error)
            return send_error(s, fd, s->greet_error, m->serial), false;
        return send_sample(s, fd, "welcome", m->serial);
    case WIRE_SUBSCRIBE:
        s->last_subscribe = m->subscribe;
        s->subscribes++;
        if (s->subscribe_error)
            return send_error(s, fd, s->subscribe_error, m->serial);
        return send_sample(s, fd, "subscribed", m->serial) && push(s, fd);
    case WIRE_UNSUBSCRIBE:
        return send_sample(s, fd, "subscribed", m->serial);
    case WIRE_GET_STATUS:
        return send_sample(s, fd, m->get_status.encoding == WIRE_JSON ? "status_json" : "status", m->serial);
    default:
        return false;
    }
}

static void serve(struct fake_server *s, int fd)
{
    uint8_t buf[WIRE_IN_MAX];
    size_t len = 0;
    struct wire_header h;
    struct wire_msg *m = calloc(1, sizeof(*m));
    bool go_on = true;

    while (go_on && !s->stop) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ssize_t n;

        if (poll(&p, 1, 20) <= 0)
            continue;
        n = recv(fd, buf + len, sizeof(buf) - len, 0);
        if (n <= 0)
            break;
        len += (size_t)n;
        while (go_on && wire_peek(buf, len, sizeof(buf), &h) == 1) {
            assert(wire_decode(buf, h.size, m) == 0);
            assert(wire_type_senders(m->type) & WIRE_FROM_CLIENT);
            go_on = answer(s, fd, m);
            len -= h.size;
            memmove(buf, buf + h.size, len);
            while (s->deaf && !s->stop)
                usleep(5000);
        }
    }
    free(m);
}

static void *run(void *arg)
{
    struct fake_server *s = arg;

    while (!s->stop) {
        struct pollfd p = {.fd = s->listener, .events = POLLIN};
        int fd;

        if (poll(&p, 1, 20) <= 0)
            continue;
        fd = accept(s->listener, NULL, NULL);
        assert(fd >= 0);
        s->connections++;
        serve(s, fd);
        close(fd);
    }
    return NULL;
}

void fake_server_start(struct fake_server *s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    strcpy(s->folder, "/tmp/gazed-test-XXXXXX");
    assert(mkdtemp(s->folder));
    snprintf(s->path, sizeof(s->path), "%s/gazed.sock", s->folder);
    strcpy(address.sun_path, s->path);
    s->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert(s->listener >= 0);
    assert(bind(s->listener, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(s->listener, 4) == 0);
    assert(pthread_create(&s->thread, NULL, run, s) == 0);
}

void fake_server_stop(struct fake_server *s)
{
    s->stop = true;
    pthread_join(s->thread, NULL);
    close(s->listener);
    unlink(s->path);
    rmdir(s->folder);
}
