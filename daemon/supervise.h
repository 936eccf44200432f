/* When to start, kill and restart the worker, and on which device: a table of decisions over events and the time. Pure.
 *
 * The caller feeds every event to supervise_step() and does what it returns, then calls it again with SUPERVISE_TICK
 * until it returns SUPERVISE_DO_NOTHING; it sets a timer for supervise_deadline_ns() and feeds SUPERVISE_TICK then.
 *
 * A worker that falls silent, sends what is no record, dies of its own or can't be started has failed: its device gets
 * a strike and the next worker is offered the devices behind it first. Three strikes put a device into quarantine. A
 * worker that somebody else killed (SIGKILL, SIGTERM: the administrator, the kernel's memory killer) blames no device,
 * unless it goes on. Restarts are immediate at first; while they don't help they back off. A device that failed once or
 * twice is tried again after a while, or as soon as nobody watches. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SUPERVISE_DEVICES_MAX      5
#define SUPERVISE_KINDS            6 /* enum wire_device_kind */
#define SUPERVISE_STRIKES          3
#define SUPERVISE_SECOND_NS        UINT64_C(1000000000)
#define SUPERVISE_BACKOFF_FIRST_NS UINT64_C(100000000) /* before the second restart; doubles */
#define SUPERVISE_BACKOFF_MAX_NS   (5 * SUPERVISE_SECOND_NS)
#define SUPERVISE_GOOD_RUN_NS      (10 * SUPERVISE_SECOND_NS)   /* after so long, failures in a row are forgotten */
#define SUPERVISE_FORGIVE_NS       (600 * SUPERVISE_SECOND_NS)  /* and after so long, the device's strikes */
#define SUPERVISE_QUARANTINE_NS    (3600 * SUPERVISE_SECOND_NS) /* then it may have one more try */
#define SUPERVISE_RETRY_NS         (60 * SUPERVISE_SECOND_NS) /* a better device after one strike; 4 times after two */
#define SUPERVISE_RETRY_IDLE_NS    (5 * SUPERVISE_SECOND_NS)  /* the same when nobody watches */
#define SUPERVISE_END_NS           (2 * SUPERVISE_SECOND_NS)  /* from SIGTERM to SIGKILL */
#define SUPERVISE_ABANDON_NS       SUPERVISE_SECOND_NS        /* from SIGKILL to going on without it */

enum supervise_phase {
    SUPERVISE_DOWN,     /* no worker; one is started at due_ns */
    SUPERVISE_STARTING, /* it loads and compiles */
    SUPERVISE_UP,
    SUPERVISE_ENDING, /* asked to end: a planned restart or the end of the service */
    SUPERVISE_KILLED, /* SIGKILL sent, not dead yet (a process in a driver may take long) */
    SUPERVISE_STOPPED,
};

enum supervise_event {
    SUPERVISE_TICK,             /* time has passed */
    SUPERVISE_SPAWNED,          /* DO_SPAWN succeeded */
    SUPERVISE_SPAWN_FAILED,     /* DO_SPAWN did not */
    SUPERVISE_BEAT_LOADING,     /* a record came, the state is STARTING */
    SUPERVISE_BEAT,             /* a record came, somebody watches */
    SUPERVISE_BEAT_IDLE,        /* a record came, nobody watches */
    SUPERVISE_GARBAGE,          /* bytes that are no record (a closed socket is not: its exit or its silence follows) */
    SUPERVISE_EXITED,           /* it ended: an exit code, or a signal of its own making */
    SUPERVISE_EXITED_BY_OTHERS, /* it ended by a signal that somebody sent and we did not */
    SUPERVISE_RESTART,          /* the settings changed */
    SUPERVISE_STOP,             /* the service ends */
};

enum supervise_action {
    SUPERVISE_DO_NOTHING,
    SUPERVISE_DO_SPAWN,   /* with supervise_devices(); then feed SPAWNED or SPAWN_FAILED */
    SUPERVISE_DO_END,     /* SIGTERM */
    SUPERVISE_DO_KILL,    /* SIGKILL */
    SUPERVISE_DO_ABANDON, /* close its socket, forget it, reap it whenever it dies */
};

struct supervise {
    /* Settings. */
    uint64_t heartbeat_ns, startup_ns;
    int device[SUPERVISE_DEVICES_MAX]; /* enum wire_device_kind, best first; the rest 0 */
    /* State. */
    enum supervise_phase phase;
    bool stop;                        /* the service ends: no more restarts */
    uint64_t due_ns;                  /* DOWN: when to start */
    uint64_t beat_ns;                 /* last sign of life, or when the present phase began */
    uint64_t up_ns;                   /* UP: since when */
    uint64_t idle_ns;                 /* UP: since when nobody watches, 0 = somebody does */
    unsigned failures;                /* in a row */
    unsigned restarts;                /* of all */
    size_t first;                     /* index in `device` of the one to offer first */
    int offer[SUPERVISE_DEVICES_MAX]; /* what the present worker was offered; the rest 0 */
    int running;                      /* kind that it says it uses, 0 = not said */
    unsigned strikes[SUPERVISE_KINDS];
    uint64_t struck_ns[SUPERVISE_KINDS]; /* the last strike */
};

/* A worker is due at once. */
void supervise_init(struct supervise *s, uint64_t heartbeat_ns, uint64_t startup_ns,
                    const int device[SUPERVISE_DEVICES_MAX], uint64_t now_ns);

/* New settings: strikes are forgiven. The caller feeds SUPERVISE_RESTART if the worker must be restarted for them. */
void supervise_set(struct supervise *s, uint64_t heartbeat_ns, uint64_t startup_ns,
                   const int device[SUPERVISE_DEVICES_MAX]);

enum supervise_action supervise_step(struct supervise *s, enum supervise_event event, uint64_t now_ns);

/* The worker has said on which kind of device it runs. Those it was offered before that one are not there: a strike
 * that they took for something else is forgotten. */
void supervise_running(struct supervise *s, int kind);

/* When the next SUPERVISE_TICK is due; UINT64_MAX = none. */
uint64_t supervise_deadline_ns(const struct supervise *s);

/* The devices to offer, most wanted first. Returns how many. All of them if all are in quarantine. */
size_t supervise_devices(const struct supervise *s, uint64_t now_ns, int ret_device[SUPERVISE_DEVICES_MAX]);

bool supervise_quarantined(const struct supervise *s, int kind, uint64_t now_ns);

/* The best device that is not used because it failed, 0 if none: the service is degraded. */
int supervise_better(const struct supervise *s);

/* True while all is as it should be: the worker beats in time, or supervision is at work on it (for the watchdog). */
bool supervise_makes_progress(const struct supervise *s, uint64_t now_ns);
