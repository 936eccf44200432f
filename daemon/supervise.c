/* When to start, kill and restart the worker, and on which device. */
#include "daemon/supervise.h"

#include <string.h>

void supervise_init(struct supervise *s, uint64_t heartbeat_ns, uint64_t startup_ns,
                    const int device[SUPERVISE_DEVICES_MAX], uint64_t now_ns)
{
    memset(s, 0, sizeof(*s));
    supervise_set(s, heartbeat_ns, startup_ns, device);
    s->due_ns = now_ns;
}

void supervise_set(struct supervise *s, uint64_t heartbeat_ns, uint64_t startup_ns,
                   const int device[SUPERVISE_DEVICES_MAX])
{
    s->heartbeat_ns = heartbeat_ns;
    s->startup_ns = startup_ns;
    memcpy(s->device, device, sizeof(s->device));
    memset(s->strikes, 0, sizeof(s->strikes));
    s->first = 0;
}

static size_t device_count(const struct supervise *s)
{
    size_t n = 0;
    while (n < SUPERVISE_DEVICES_MAX && s->device[n] != 0)
        n++;
    return n;
}

static size_t index_of(const struct supervise *s, int kind)
{
    size_t i = 0, n = device_count(s);
    while (i < n && s->device[i] != kind)
        i++;
    return i;
}

bool supervise_quarantined(const struct supervise *s, int kind, uint64_t now_ns)
{
    return s->strikes[kind] >= SUPERVISE_STRIKES && now_ns - s->struck_ns[kind] < SUPERVISE_QUARANTINE_NS;
}

size_t supervise_devices(const struct supervise *s, uint64_t now_ns, int ret_device[SUPERVISE_DEVICES_MAX])
{
    size_t n = device_count(s), out = 0;
    for (size_t i = 0; i < n; i++) {
        int kind = s->device[(s->first + i) % n];
        if (!supervise_quarantined(s, kind, now_ns))
            ret_device[out++] = kind;
    }
    for (size_t i = 0; out == 0 && i < n; i++) /* nothing to lose */
        ret_device[i] = s->device[(s->first + i) % n];
    return out ? out : n;
}

void supervise_running(struct supervise *s, int kind)
{
    if (kind <= 0 || kind >= SUPERVISE_KINDS)
        return;
    size_t i = 0;
    while (i < SUPERVISE_DEVICES_MAX && s->offer[i] != kind)
        i++;
    while (i < SUPERVISE_DEVICES_MAX && i-- > 0)
        s->strikes[s->offer[i]] = 0;
    s->running = kind;
}

int supervise_better(const struct supervise *s)
{
    size_t end = index_of(s, s->running ? s->running : s->offer[0]);
    for (size_t i = 0; i < end; i++)
        if (s->strikes[s->device[i]] > 0)
            return s->device[i];
    return 0;
}

/* When a better device that failed may be tried again: UINT64_MAX = never. */
static uint64_t retry_ns(const struct supervise *s)
{
    int better = s->running ? supervise_better(s) : 0;
    if (s->phase != SUPERVISE_UP || better == 0)
        return UINT64_MAX;
    if (s->strikes[better] >= SUPERVISE_STRIKES)
        return s->struck_ns[better] + SUPERVISE_QUARANTINE_NS;
    if (s->idle_ns)
        return s->idle_ns + SUPERVISE_RETRY_IDLE_NS;
    return s->up_ns + (s->strikes[better] > 1 ? 4 * SUPERVISE_RETRY_NS : SUPERVISE_RETRY_NS);
}

uint64_t supervise_deadline_ns(const struct supervise *s)
{
    uint64_t retry;
    switch (s->phase) {
    case SUPERVISE_DOWN:
        return s->due_ns;
    case SUPERVISE_STARTING:
        return s->beat_ns + s->startup_ns;
    case SUPERVISE_UP:
        retry = retry_ns(s);
        return retry < s->beat_ns + s->heartbeat_ns ? retry : s->beat_ns + s->heartbeat_ns;
    case SUPERVISE_ENDING:
        return s->beat_ns + SUPERVISE_END_NS;
    case SUPERVISE_KILLED:
        return s->beat_ns + SUPERVISE_ABANDON_NS;
    case SUPERVISE_STOPPED:
        break;
    }
    return UINT64_MAX;
}

bool supervise_makes_progress(const struct supervise *s, uint64_t now_ns)
{
    return s->phase == SUPERVISE_STOPPED || now_ns < supervise_deadline_ns(s) + SUPERVISE_SECOND_NS;
}

static void enter(struct supervise *s, enum supervise_phase phase, uint64_t now_ns)
{
    s->phase = phase;
    s->beat_ns = now_ns;
}

static uint64_t backoff_ns(unsigned failures)
{
    if (failures <= 1)
        return 0;
    if (failures > 7)
        return SUPERVISE_BACKOFF_MAX_NS;
    uint64_t d = SUPERVISE_BACKOFF_FIRST_NS << (failures - 2);
    return d < SUPERVISE_BACKOFF_MAX_NS ? d : SUPERVISE_BACKOFF_MAX_NS;
}

/* The device takes the blame: a strike, and the ones behind it are offered next. */
static void strike(struct supervise *s, uint64_t now_ns)
{
    int kind = s->running ? s->running : s->offer[0];
    if (kind == 0)
        return;
    /* Out of quarantine it had one more try. */
    s->strikes[kind] = s->strikes[kind] < SUPERVISE_STRIKES ? s->strikes[kind] + 1 : SUPERVISE_STRIKES;
    s->struck_ns[kind] = now_ns;
    size_t i = index_of(s, kind), n = device_count(s);
    s->first = i < n ? (i + 1) % n : 0;
}

/* The worker has failed: counts, and says whom to blame. */
static void fail(struct supervise *s, bool by_others, uint64_t now_ns)
{
    s->failures++;
    if (!by_others || s->failures >= SUPERVISE_STRIKES)
        strike(s, now_ns);
}

/* The worker is gone. */
static void down(struct supervise *s, uint64_t now_ns)
{
    s->running = 0;
    if (s->stop) {
        enter(s, SUPERVISE_STOPPED, now_ns);
        return;
    }
    enter(s, SUPERVISE_DOWN, now_ns);
    s->restarts++;
    s->due_ns = now_ns + backoff_ns(s->failures);
}

static enum supervise_action kill_it(struct supervise *s, bool failed, uint64_t now_ns)
{
    if (failed)
        fail(s, false, now_ns);
    enter(s, SUPERVISE_KILLED, now_ns);
    return SUPERVISE_DO_KILL;
}

static enum supervise_action end_it(struct supervise *s, uint64_t now_ns)
{
    enter(s, SUPERVISE_ENDING, now_ns);
    return SUPERVISE_DO_END;
}

static enum supervise_action tick(struct supervise *s, uint64_t now_ns)
{
    if (now_ns < supervise_deadline_ns(s))
        return SUPERVISE_DO_NOTHING;
    switch (s->phase) {
    case SUPERVISE_DOWN:
        return SUPERVISE_DO_SPAWN;
    case SUPERVISE_UP:
        if (now_ns < s->beat_ns + s->heartbeat_ns) { /* so it is time to try a better device */
            int better = supervise_better(s);
            if (s->strikes[better] >= SUPERVISE_STRIKES)
                s->strikes[better] = SUPERVISE_STRIKES - 1;
            s->first = index_of(s, better);
            return end_it(s, now_ns);
        }
        return kill_it(s, true, now_ns);
    case SUPERVISE_STARTING:
        return kill_it(s, true, now_ns);
    case SUPERVISE_ENDING:
        return kill_it(s, false, now_ns);
    case SUPERVISE_KILLED:
        down(s, now_ns);
        return SUPERVISE_DO_ABANDON;
    case SUPERVISE_STOPPED:
        break;
    }
    return SUPERVISE_DO_NOTHING;
}

static void beat(struct supervise *s, enum supervise_event event, uint64_t now_ns)
{
    bool loading = event == SUPERVISE_BEAT_LOADING;
    if (s->phase != SUPERVISE_STARTING && s->phase != SUPERVISE_UP)
        return; /* the last words of one that ends */
    if (s->phase == SUPERVISE_STARTING && !loading)
        s->up_ns = now_ns;
    /* An up worker that compiles again (a model was changed) gets the longer patience too. */
    enter(s, loading ? SUPERVISE_STARTING : SUPERVISE_UP, now_ns);
    if (event != SUPERVISE_BEAT_IDLE)
        s->idle_ns = 0;
    else if (s->idle_ns == 0)
        s->idle_ns = now_ns;
    if (!loading && now_ns - s->up_ns >= SUPERVISE_GOOD_RUN_NS)
        s->failures = 0;
    if (!loading && s->running && now_ns - s->up_ns >= SUPERVISE_FORGIVE_NS)
        s->strikes[s->running] = 0;
}

static enum supervise_action exited(struct supervise *s, bool by_others, uint64_t now_ns)
{
    if (s->phase == SUPERVISE_STARTING || s->phase == SUPERVISE_UP)
        fail(s, by_others, now_ns);
    if (s->phase != SUPERVISE_DOWN && s->phase != SUPERVISE_STOPPED)
        down(s, now_ns);
    return SUPERVISE_DO_NOTHING;
}

static enum supervise_action stop_or_restart(struct supervise *s, bool stop, uint64_t now_ns)
{
    s->stop = s->stop || stop;
    s->failures = 0;
    if (s->phase == SUPERVISE_STARTING || s->phase == SUPERVISE_UP)
        return end_it(s, now_ns);
    if (s->phase == SUPERVISE_DOWN && s->stop)
        enter(s, SUPERVISE_STOPPED, now_ns);
    else if (s->phase == SUPERVISE_DOWN)
        s->due_ns = now_ns;
    return SUPERVISE_DO_NOTHING;
}

static void spawned(struct supervise *s, uint64_t now_ns)
{
    memset(s->offer, 0, sizeof(s->offer));
    supervise_devices(s, now_ns, s->offer);
    s->running = 0;
    s->idle_ns = 0;
    enter(s, SUPERVISE_STARTING, now_ns);
}

enum supervise_action supervise_step(struct supervise *s, enum supervise_event event, uint64_t now_ns)
{
    switch (event) {
    case SUPERVISE_TICK:
        return tick(s, now_ns);
    case SUPERVISE_SPAWNED:
        spawned(s, now_ns);
        break;
    case SUPERVISE_SPAWN_FAILED: /* no device is to blame */
        s->failures++;
        down(s, now_ns);
        break;
    case SUPERVISE_BEAT_LOADING:
    case SUPERVISE_BEAT:
    case SUPERVISE_BEAT_IDLE:
        beat(s, event, now_ns);
        break;
    case SUPERVISE_GARBAGE:
        if (s->phase == SUPERVISE_STARTING || s->phase == SUPERVISE_UP)
            return kill_it(s, true, now_ns);
        break;
    case SUPERVISE_EXITED:
    case SUPERVISE_EXITED_BY_OTHERS:
        return exited(s, event == SUPERVISE_EXITED_BY_OTHERS, now_ns);
    case SUPERVISE_RESTART:
    case SUPERVISE_STOP:
        return stop_or_restart(s, event == SUPERVISE_STOP, now_ns);
    }
    return SUPERVISE_DO_NOTHING;
}
