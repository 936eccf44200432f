/* libgaze: gaze and faces from gazed, for C and C++ programs.
 *
 * One handle is one connection. Nothing runs in the background: results arrive in the callbacks of a listener, from
 * inside gaze_dispatch(). There are no threads, no globals, no signals, and the library prints nothing. A handle may be
 * used from one thread at a time. Functions return 0 (or a count) or a negative errno value.
 *
 * Angles are degrees: yaw > 0 looks toward the image's left, pitch > 0 up, (0, 0) straight into the camera. Pixels are
 * those of the camera frame; positions are millimetres, x right, y down, z forward from the camera. Times are
 * CLOCK_MONOTONIC nanoseconds. A face's left and right are the person's own.
 *
 * The structs only grow at their end; `size` says how much of a struct is there.
 */
#ifndef GAZE_H
#define GAZE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GAZE_API __attribute__((visibility("default")))

#define GAZE_FACES_MAX      16
#define GAZE_LANDMARKS_MAX  78 /* 68 face points, then 5 iris points of each eye */
#define GAZE_DEFAULT_SOCKET "/run/gazed/gazed.sock"

struct gaze;

enum gaze_topic {
    GAZE_TOPIC_RESULTS = 1,
    GAZE_TOPIC_STATUS = 2 /* each change of the service's state */
};

/* Parts of a face that are sent only when asked for. */
enum gaze_field { GAZE_FIELD_LANDMARKS = 1, GAZE_FIELD_AUS = 2, GAZE_FIELD_ZONES = 4 };

enum gaze_encoding {
    GAZE_BINARY = 0, /* results arrive in listener.result, status in listener.status */
    GAZE_JSON = 1    /* both arrive as text in listener.json */
};

enum gaze_face_flag {
    GAZE_FACE_GAZE = 1,       /* gaze, its angles and sigma are measured */
    GAZE_FACE_HEAD = 2,       /* head pose and origin are measured */
    GAZE_FACE_BLINK = 4,      /* blink values are measured */
    GAZE_FACE_SCREEN = 8,     /* the point on the screen is valid */
    GAZE_FACE_CALIBRATED = 16 /* this person's calibration was applied */
};

enum gaze_state {
    GAZE_STARTING = 0,
    GAZE_WAITING_FOR_CAMERA = 1,
    GAZE_RUNNING = 2,
    GAZE_PAUSED = 3, /* ready; the camera is closed while nobody is subscribed */
    GAZE_DEGRADED = 4
};

struct gaze_point {
    float x_px, y_px;
};

struct gaze_au {
    uint16_t au;     /* FACS number */
    uint8_t side;    /* 0 both, 1 left, 2 right */
    uint8_t pad;     /* 0 */
    float intensity; /* 0..5 */
};

struct gaze_zone {
    uint32_t id;
    uint32_t dwell_ms; /* since the gaze entered it */
};

struct gaze_face {
    uint32_t size;      /* of this struct in the library at hand */
    uint32_t id;        /* stable while the face is tracked */
    uint32_t flags;     /* enum gaze_face_flag; what has no flag is 0 */
    float score;        /* 0..1 */
    float box_px[4];    /* x, y, width, height */
    float origin_mm[3]; /* where the gaze ray starts */
    float gaze[3];      /* its direction, a unit vector */
    float yaw_deg;      /* of `gaze`, filtered over time */
    float pitch_deg;
    float raw_yaw_deg; /* unfiltered */
    float raw_pitch_deg;
    float norm_yaw_deg; /* in the normalised camera's frame */
    float norm_pitch_deg;
    float sigma_deg; /* expected error of the gaze, one standard deviation */
    float head_yaw_deg;
    float head_pitch_deg;
    float head_roll_deg;
    float blink_left; /* 0 open .. 1 closed */
    float blink_right;
    float quality;   /* 0..1 */
    float screen[2]; /* point looked at: (0,0) the screen's upper left corner, (1,1) its lower right one */
    uint32_t landmark_count;
    uint32_t au_count;
    uint32_t zone_count;
    const struct gaze_point *landmarks;
    const struct gaze_au *aus;
    const struct gaze_zone *zones;
};

/* One camera frame. All pointers in it are valid until the callback returns. */
struct gaze_result {
    uint32_t size;
    uint32_t face_count;
    uint64_t seq;
    uint64_t capture_ns;         /* when the camera's driver had the frame */
    uint64_t publish_ns;         /* when gazed sent it */
    uint32_t dropped_since_last; /* results that this client was too slow for, or did not want (rate) */
    uint32_t camera_id;
    uint32_t frame_width_px;
    uint32_t frame_height_px;
    uint32_t device_kind; /* see gaze_device_kind_name() */
    const char *device;
    const struct gaze_face *const *faces; /* face_count pointers */
};

struct gaze_status {
    uint32_t size;  /* gaze_get_status(): set it to sizeof(struct gaze_status) first */
    uint32_t state; /* enum gaze_state */
    uint32_t device_kind;
    float fps; /* results a second, measured */
    uint32_t frame_width_px;
    uint32_t frame_height_px;
    uint32_t worker_pid; /* 0: no worker now */
    uint32_t worker_restarts;
    uint32_t clients;
    uint32_t latency_p50_us; /* capture to publish */
    uint32_t latency_p99_us;
    uint64_t frames;  /* analysed */
    uint64_t dropped; /* captured but not analysed */
    uint64_t uptime_ns;
    char source[64];
    char format[32];
    char device[64];
    char tier[32];
    char models[128];
    char text[128]; /* the state in words */
    char why[128];  /* why no better device is used; empty if the best one is */
};

/* Called from gaze_dispatch() and gaze_get_status*(). A NULL callback is skipped. A callback may call any function with
 * the handle except gaze_dispatch(), gaze_reconnect() and gaze_get_status*() (-EBUSY); it may close the handle. */
struct gaze_listener {
    uint32_t size; /* sizeof(struct gaze_listener) */
    void (*result)(void *userdata, const struct gaze_result *result);
    void (*status)(void *userdata, const struct gaze_status *status);
    /* One line of JSON with its newline and a final NUL (not counted in len): a result has "seq", a status "state". */
    void (*json)(void *userdata, const char *text, size_t len);
    /* The server refused a request, or is about to close the connection. code: see docs/PROTOCOL.md, ERROR. */
    void (*error)(void *userdata, int code, const char *text);
    /* The connection is gone (negative errno). Called once; the handle stays valid for gaze_reconnect(). */
    void (*disconnected)(void *userdata, int r);
};

struct gaze_subscription {
    uint32_t size;   /* sizeof(struct gaze_subscription) */
    uint32_t topics; /* enum gaze_topic, or-ed */
    uint32_t fields; /* enum gaze_field, or-ed */
    uint32_t encoding;
    float rate_hz; /* at most so many results a second; 0 = every frame; up to 1000 */
};

/* Connects and greets, for at most 2 s. path: NULL takes $GAZED_SOCKET or GAZE_DEFAULT_SOCKET. name: of the program, as
 * gazed logs it, cut to 31 bytes. listener is copied. Returns 0 and a handle that gaze_close() frees, or: -ENOENT or
 * -ECONNREFUSED (not running), -EACCES (not in group gaze), -EBUSY (too many clients), -EPROTONOSUPPORT (another major
 * version), -ETIMEDOUT, -EPROTO (not a gazed), -ENAMETOOLONG (path), -EINVAL, -ENOMEM or another connect(2) error. */
GAZE_API int gaze_open(const char *path, const char *name, const struct gaze_listener *listener, void *userdata,
                       struct gaze **ret_gaze);

/* Closes and frees; NULL is allowed. From inside a callback the memory lives until the running function returns. */
GAZE_API void gaze_close(struct gaze *gaze);

/* For poll(2): the descriptor (it changes in gaze_reconnect(); -1 without a connection) and the events to wait for. */
GAZE_API int gaze_get_fd(const struct gaze *gaze);
GAZE_API short gaze_get_events(const struct gaze *gaze);

/* Waits up to timeout_ms (0 not at all, -1 for ever) for the socket, sends what is queued, reads, and calls the
 * listener. Returns the number of messages handled (0 after the time or a signal), or a negative errno once when the
 * connection is lost (after listener.disconnected), then -ENOTCONN; -EBUSY inside a callback; -ECANCELED if a callback
 * closed it. */
GAZE_API int gaze_dispatch(struct gaze *gaze, int timeout_ms);

/* Replaces the subscription. Sent at once if the socket takes it, else by the next gaze_dispatch(). A refusal arrives
 * in listener.error. Returns 0, -EINVAL (a value out of range), -ENOTCONN, -EAGAIN (too many requests queued). */
GAZE_API int gaze_subscribe(struct gaze *gaze, const struct gaze_subscription *subscription);

/* Ends the subscription of these topics. */
GAZE_API int gaze_unsubscribe(struct gaze *gaze, uint32_t topics);

/* Asks for the service's status and waits for it; what else arrives meanwhile goes to the listener. At most
 * status->size bytes are filled. Returns 0, -ETIMEDOUT, -EREMOTEIO (the server refused), or as gaze_dispatch(). */
GAZE_API int gaze_get_status(struct gaze *gaze, int timeout_ms, struct gaze_status *status);

/* The same as a line of JSON with a final newline and NUL. -ENOSPC if it has no room in cap bytes (4096 are enough). */
GAZE_API int gaze_get_status_json(struct gaze *gaze, int timeout_ms, char *buf, size_t cap);

/* Connects again after a loss, with the same path and name, and renews the subscription. Errors as gaze_open(); the
 * handle stays valid, so it may be called again after a pause. */
GAZE_API int gaze_reconnect(struct gaze *gaze);

/* Versions: of the library, and of the server behind a handle ("gazed 0.1.0"; valid until gaze_reconnect/close). */
GAZE_API const char *gaze_version(void);
GAZE_API const char *gaze_server_version(const struct gaze *gaze);

/* "running", "waiting-for-camera"; "npu", "cpu"; never NULL. */
GAZE_API const char *gaze_state_name(uint32_t state);
GAZE_API const char *gaze_device_kind_name(uint32_t kind);

#ifdef __cplusplus
}
#endif

#endif
