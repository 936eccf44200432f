// The camera's state machine.
#include "daemon/camera_watch.h"

static int64_t stall_ns(double fps)
{
    int64_t periods = fps > 0 ? (int64_t)(CAMERA_STALL_PERIODS * 1e9 / fps) : 0;
    return periods > CAMERA_STALL_MIN_NS ? periods : CAMERA_STALL_MIN_NS;
}

static int64_t bounded(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

static enum camera_action wait_then_open(struct camera_watch *w, int64_t max_ns, int64_t now_ns)
{
    int64_t pause_ns = bounded(w->pause_ns, CAMERA_RETRY_FIRST_NS, max_ns);
    w->phase = CAMERA_WAITING;
    w->retry_ns = now_ns + pause_ns;
    w->pause_ns = 2 * pause_ns;
    return CAMERA_DO_CLOSE;
}

static enum camera_action tick(struct camera_watch *w, double fps, int64_t now_ns)
{
    if (w->phase == CAMERA_WAITING && now_ns >= w->retry_ns)
        return CAMERA_DO_OPEN;
    if (w->phase != CAMERA_STREAMING || now_ns - w->alive_ns < stall_ns(fps))
        return CAMERA_DO_NOTHING;
    if (w->restarted)
        return CAMERA_DO_OPEN;
    w->restarted = true;
    return CAMERA_DO_RESTART;
}

enum camera_action camera_watch_step(struct camera_watch *w, enum camera_event event, double fps, int64_t now_ns)
{
    switch (event) {
    case CAMERA_TICK:
        return tick(w, fps, now_ns);
    case CAMERA_WANTED:
        if (w->phase != CAMERA_OFF)
            return CAMERA_DO_NOTHING;
        *w = (struct camera_watch){.phase = CAMERA_WAITING, .retry_ns = now_ns};
        return CAMERA_DO_OPEN;
    case CAMERA_UNWANTED:
        *w = (struct camera_watch){0};
        return CAMERA_DO_CLOSE;
    case CAMERA_PLUGGED:
        if (w->phase != CAMERA_WAITING)
            return CAMERA_DO_NOTHING;
        w->pause_ns = 0;
        return CAMERA_DO_OPEN;
    case CAMERA_OPENED:
        w->phase = CAMERA_STREAMING;
        w->alive_ns = now_ns;
        return CAMERA_DO_NOTHING;
    case CAMERA_FAILED:
    case CAMERA_USELESS:
        if (w->phase == CAMERA_OFF)
            return CAMERA_DO_NOTHING;
        return wait_then_open(w, event == CAMERA_FAILED ? CAMERA_RETRY_MAX_NS : CAMERA_USELESS_MAX_NS, now_ns);
    case CAMERA_DAMAGED:
        w->alive_ns = now_ns;
        return CAMERA_DO_NOTHING;
    case CAMERA_FRAME:
        w->alive_ns = now_ns;
        w->restarted = false;
        w->pause_ns = 0;
        return CAMERA_DO_NOTHING;
    case CAMERA_END:
        w->phase = CAMERA_ENDED;
        return CAMERA_DO_CLOSE;
    }
    return CAMERA_DO_NOTHING;
}

int64_t camera_watch_deadline_ns(const struct camera_watch *w, double fps)
{
    if (w->phase == CAMERA_WAITING)
        return w->retry_ns;
    if (w->phase == CAMERA_STREAMING)
        return w->alive_ns + stall_ns(fps);
    return INT64_MAX;
}
