/* libgaze: what each message from the server means to the handle and its listener. */
#include <errno.h>
#include <string.h>

#include "client/libgaze_private.h"

static int handle_welcome(struct gaze *g, const struct wire_welcome *w)
{
    char *end;

    if (w->major != WIRE_MAJOR)
        return -EPROTONOSUPPORT;
    g->greeted = true;
    end = stpcpy(g->server, w->server);
    *end++ = ' ';
    strcpy(end, w->version);
    return 0;
}

/* Errors end the greeting; later those with the serial of a waiting request end only that. */
static int handle_error(struct gaze *g, const struct wire_error *e, uint32_t serial)
{
    if (!g->greeted) {
        if (e->code == WIRE_E_VERSION)
            return -EPROTONOSUPPORT;
        return e->code == WIRE_E_TOO_MANY ? -EBUSY : -ECONNABORTED;
    }
    if (serial && serial == g->wait.serial) {
        g->wait.done = true;
        g->wait.r = -EREMOTEIO;
    }
    if (g->listener.error)
        g->listener.error(g->userdata, e->code, e->text);
    return 0;
}

static void handle_status(struct gaze *g, const struct wire_status *w, uint32_t serial)
{
    struct gaze_status status = {.size = sizeof(status)};

    if (serial && serial == g->wait.serial && g->wait.status) {
        gaze_status_set(g->wait.status, w);
        g->wait.done = true;
    } else if (serial == 0 && g->listener.status) {
        gaze_status_set(&status, w);
        g->listener.status(g->userdata, &status);
    }
}

/* The text lies at the front of g->in, so the byte behind it may be another frame's: it is put back. */
static void handle_json(struct gaze *g, size_t frame_size)
{
    char *text = (char *)g->in + WIRE_HEADER_SIZE;
    size_t len = frame_size - WIRE_HEADER_SIZE;
    char behind = text[len];

    text[len] = 0;
    if (g->msg.type == WIRE_STATUS && g->msg.serial && g->msg.serial == g->wait.serial && g->wait.json) {
        g->wait.done = true;
        if (len < g->wait.json_cap)
            memcpy(g->wait.json, text, len + 1);
        else
            g->wait.r = -ENOSPC;
    } else if (g->msg.serial == 0 && g->listener.json) {
        g->listener.json(g->userdata, text, len);
    }
    text[len] = behind;
}

int gaze_handle_frame(struct gaze *g, const struct wire_header *header)
{
    struct wire_msg *m = &g->msg;
    int r = wire_decode(g->in, header->size, m);

    if (r == -EOPNOTSUPP)
        return 0; /* of a newer minor */
    if (r < 0)
        return -EPROTO;
    if (!g->greeted && m->type != WIRE_WELCOME && m->type != WIRE_ERROR && m->type != WIRE_BYE)
        return -EPROTO;
    if ((m->flags & WIRE_FLAG_JSON) && (m->type == WIRE_RESULT || m->type == WIRE_STATUS)) {
        handle_json(g, header->size);
        return 0;
    }
    switch (m->type) {
    case WIRE_WELCOME:
        return handle_welcome(g, &m->welcome);
    case WIRE_RESULT:
        if (g->listener.result) {
            gaze_view_set(&g->view, &m->result);
            g->listener.result(g->userdata, &g->view.result);
        }
        return 0;
    case WIRE_STATUS:
        handle_status(g, &m->status, m->serial);
        return 0;
    case WIRE_ERROR:
        return handle_error(g, &m->error, m->serial);
    case WIRE_BYE:
        if (m->bye.reason && g->greeted && g->listener.error)
            g->listener.error(g->userdata, m->bye.reason, m->bye.text);
        return -ECONNRESET;
    default:
        return 0; /* SUBSCRIBED, PONG: nobody waits for them */
    }
}
