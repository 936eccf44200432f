/* "gaze wire v1": the messages on gazed's socket and between gazed and its worker, as values and as bytes.
 *
 * Pure functions over byte buffers: no I/O, no allocation, no globals. docs/PROTOCOL.md has the byte-exact tables and
 * tests/wire/golden/ the bytes of every message. Shared by the daemon, libgaze, the tests and the fuzzer.
 *
 * A frame is a 16-byte header {u32 size, u16 type, u16 flags, u32 serial, u32 0} and a payload; all integers and IEEE
 * floats are little-endian; `size` counts the header too. Minor versions only append: a reader ignores payload bytes
 * behind those it knows, and a face record carries its own sizes. Angles are degrees, pixels are those of the camera
 * frame, positions are millimetres in the camera's frame (x right, y down, z forward); yaw > 0 is the image's left,
 * pitch > 0 is up, (0, 0) looks straight into the camera. Times are CLOCK_MONOTONIC nanoseconds.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_MAJOR 1 /* another major has another socket name */
#define WIRE_MINOR 0 /* messages and fields are appended, never changed; ids are never reused */

/* Limits: each is enforced by encoder and decoder (the rate by wire_check_subscribe()), and has a test at the limit. */
#define WIRE_HEADER_SIZE   16
#define WIRE_IN_MAX        256   /* bytes of one frame from a client, header included */
#define WIRE_RESULT_MAX    12128 /* bytes of the largest binary RESULT: 16 + 80 + 16 faces * 752 */
#define WIRE_OUT_MAX       65536 /* bytes of one frame from the server (JSON with all landmarks is the largest) */
#define WIRE_FACES_MAX     16
#define WIRE_LANDMARKS_MAX 78 /* 68 face points, then 10 iris points */
#define WIRE_AUS_MAX       32
#define WIRE_ZONES_MAX     8
#define WIRE_RATE_MAX_MHZ  1000000  /* fastest rate limit one can ask for, in Hz/1000: 1 kHz */
#define WIRE_NAME_MAX      32       /* bytes of a name field, NUL included */
#define WIRE_PATH_MAX      64       /* bytes of a source or device field, NUL included */
#define WIRE_TEXT_MAX      128      /* bytes of a text for people, NUL included */
#define WIRE_VALUE_MAX     1.0e6f   /* no float on the wire is larger than this in magnitude, NaN or infinite */
#define WIRE_PIXEL_MAX     65536.0f /* no box edge is further from the frame's corner, in px */

/* Who may send a type is told by wire_type_senders(). */
enum wire_type {
    WIRE_HELLO = 1,       /* client: first message, within 2 s */
    WIRE_WELCOME = 2,     /* server: the reply */
    WIRE_SUBSCRIBE = 3,   /* client: replaces the subscription of this connection */
    WIRE_SUBSCRIBED = 4,  /* server: the reply to SUBSCRIBE and UNSUBSCRIBE: what is granted now */
    WIRE_UNSUBSCRIBE = 5, /* client: removes topics */
    WIRE_RESULT = 6,      /* server (topic RESULTS), and worker to gazed: one camera frame's faces */
    WIRE_GET_STATUS = 7,  /* client: asks for one STATUS */
    WIRE_STATUS = 8,      /* server: the reply, and on each change of state for topic STATUS */
    WIRE_ERROR = 9,       /* server: the request with this serial failed, or (serial 0) the connection did */
    WIRE_PING = 10,       /* client */
    WIRE_PONG = 11,       /* server: the reply */
    WIRE_BYE = 12,        /* either: last message before closing */

    /* 0xf000..0xffff: between gazed and its worker only; a client that sends one is refused. */
    WIRE_HEARTBEAT = 0xf001, /* worker: "the pipeline makes progress" */
    WIRE_WSTATUS = 0xf002,   /* worker: its state changed */
    WIRE_CONTROL = 0xf003,   /* gazed: camera on/off, quit */
};

/* Header flags. Unknown bits are ignored by readers and must be 0 from writers. */
#define WIRE_FLAG_JSON                                                                                                 \
    0x0001u /* RESULT, STATUS: the payload is one line of JSON text with a final newline, not binary */

/* Senders, a bit mask. */
#define WIRE_FROM_CLIENT 0x1u
#define WIRE_FROM_SERVER 0x2u
#define WIRE_FROM_WORKER 0x4u
#define WIRE_FROM_GAZED  0x8u /* gazed speaking to its worker */

/* Topics, a bit mask. */
#define WIRE_TOPIC_RESULTS 0x1u
#define WIRE_TOPIC_STATUS  0x2u
#define WIRE_TOPICS_ALL    0x3u

/* Optional parts of a face record, a bit mask (SUBSCRIBE.fields, RESULT.fields). */
#define WIRE_FIELD_LANDMARKS 0x1u
#define WIRE_FIELD_AUS       0x2u
#define WIRE_FIELD_ZONES     0x4u
#define WIRE_FIELDS_ALL      0x7u

enum wire_encoding {
    WIRE_BINARY = 0,
    WIRE_JSON = 1,
};

/* State of the service (STATUS) and of the worker (WSTATUS, HEARTBEAT). */
enum wire_state {
    WIRE_STARTING = 0,           /* the worker loads models and builds kernels */
    WIRE_WAITING_FOR_CAMERA = 1, /* camera absent, busy or not permitted; `text` says which */
    WIRE_RUNNING = 2,            /* frames come in */
    WIRE_PAUSED = 3,             /* ready; the camera is closed because nobody is subscribed, or by request */
    WIRE_DEGRADED = 4,           /* works, but on a lower device than it should, or with a model missing */
};

enum wire_device_kind {
    WIRE_DEVICE_NONE = 0,
    WIRE_DEVICE_NPU = 1,
    WIRE_DEVICE_GPU = 2,
    WIRE_DEVICE_CPU = 3,
    WIRE_DEVICE_REFERENCE = 4,
    WIRE_DEVICE_SIMULATOR = 5,
};

enum wire_error_code {
    WIRE_E_BAD_MESSAGE = 1,  /* fatal: bytes that are no message */
    WIRE_E_TOO_BIG = 2,      /* fatal: a frame above WIRE_IN_MAX */
    WIRE_E_VERSION = 3,      /* fatal: another major */
    WIRE_E_NOT_GREETED = 4,  /* fatal: not HELLO first, or not in time */
    WIRE_E_UNKNOWN_TYPE = 5, /* a type this server does not know, or one that clients may not send; goes on */
    WIRE_E_INVALID = 6,      /* a value out of range; goes on */
    WIRE_E_TOO_MANY = 7,     /* fatal: too many clients, of all or of this uid */
    WIRE_E_RATE = 8,         /* too many requests a second: this one was not done; goes on */
    WIRE_E_SLOW = 9,         /* fatal: no progress for 5 s */
    WIRE_E_SHUTDOWN = 10,    /* fatal: the service stops */
    WIRE_E_INTERNAL = 11,    /* the server's fault; goes on */
};

enum wire_control_command {
    WIRE_CONTROL_CAMERA = 1, /* value 1 opens the camera, 0 closes it */
    WIRE_CONTROL_QUIT = 2,   /* finish and exit 0; value is 0 */
};

/* Text fields are UTF-8 without control characters and end in NUL inside their array: the decoder refuses others with
 * -EBADMSG, the encoder with -EINVAL (wire_set_text() makes any text fit). Bytes behind the NUL are sent as 0. */

struct wire_header {
    uint32_t size; /* of the frame, header included: WIRE_HEADER_SIZE to the limit of the direction */
    uint16_t type;
    uint16_t flags;
    uint32_t
        serial; /* chosen by the requester, repeated in the reply; 0 in what nobody asked for (RESULT, pushed STATUS) */
};

struct wire_hello {
    uint16_t major, minor;
    char client[WIRE_NAME_MAX];
};

struct wire_welcome {
    uint16_t major, minor;    /* of the server; talk the lower of both minors */
    uint32_t in_max, out_max; /* frame sizes in bytes */
    uint16_t faces_max;
    uint16_t requests_hz; /* sustained requests a second before WIRE_E_RATE */
    uint32_t topics;      /* topics and fields this server knows */
    uint32_t fields;
    char server[WIRE_NAME_MAX];
    char version[WIRE_NAME_MAX];
};

/* SUBSCRIBE and SUBSCRIBED. Asking for unknown topic or field bits is allowed, the reply lacks them. */
struct wire_subscribe {
    uint32_t topics;
    uint32_t fields;
    uint32_t rate_mhz; /* at most this many results per 1000 s; 0 = every frame; up to WIRE_RATE_MAX_MHZ */
    uint16_t encoding; /* enum wire_encoding, for all pushed messages of this connection */
};

struct wire_unsubscribe {
    uint32_t topics;
};

struct wire_get_status {
    uint16_t encoding; /* of the reply */
};

struct wire_au {
    uint16_t au;     /* FACS number */
    uint8_t side;    /* 0 both, 1 the person's left, 2 the person's right */
    float intensity; /* 0..5 */
};

struct wire_zone {
    uint32_t id;
    uint32_t dwell_ms; /* since the gaze entered it */
};

/* wire_face.flags. Fields whose flag is clear are 0. */
#define WIRE_FACE_GAZE       0x1u  /* gaze, angles and sigma are measured */
#define WIRE_FACE_HEAD       0x2u  /* head pose and origin are measured */
#define WIRE_FACE_BLINK      0x4u  /* blink values are measured */
#define WIRE_FACE_SCREEN     0x8u  /* the point on the screen is valid */
#define WIRE_FACE_CALIBRATED 0x10u /* a person's calibration was applied */

struct wire_face {
    uint32_t id;                        /* stable while the face is tracked; not reused in one run of the worker */
    uint32_t flags;                     /* WIRE_FACE_* */
    float score;                        /* 0..1, the finder's confidence */
    float box_px[4];                    /* x, y of the upper left corner, width, height */
    float origin_mm[3];                 /* where the gaze ray starts */
    float gaze[3];                      /* unit vector of the filtered gaze, camera frame */
    float yaw_deg, pitch_deg;           /* of `gaze` */
    float raw_yaw_deg, raw_pitch_deg;   /* before the filter */
    float norm_yaw_deg, norm_pitch_deg; /* the network's output in the normalised camera's frame */
    float sigma_deg;                    /* expected angular error, one standard deviation, >= 0 */
    float head_yaw_deg, head_pitch_deg, head_roll_deg;
    float blink_left, blink_right; /* 0 open .. 1 closed; the person's left and right */
    float quality;                 /* 0..1 */
    float screen[2]; /* point looked at, as a fraction of the screen: (0,0) upper left, (1,1) lower right */

    /* Optional parts: sent only where RESULT.fields has their bit. */
    uint16_t landmark_count; /* 0, or up to WIRE_LANDMARKS_MAX */
    uint8_t au_count;
    uint8_t zone_count;
    float landmark_px[WIRE_LANDMARKS_MAX]
                     [2]; /* sent as i16 eighths of a pixel from the box's corner, saturated at 4096 px */
    struct wire_au au[WIRE_AUS_MAX];
    struct wire_zone zone[WIRE_ZONES_MAX];
};

/* About 19 KiB: keep one, do not put many on the stack. */
struct wire_result {
    uint32_t fields;             /* WIRE_FIELD_*: which optional parts to send; after decoding, which were sent */
    uint64_t seq;                /* counts the frames that were analysed, from 1, across restarts of the worker */
    uint64_t capture_ns;         /* when the driver had the frame */
    uint64_t publish_ns;         /* when gazed handed it to the socket layer (the worker sends its own time) */
    uint32_t dropped_since_last; /* results this client did not get since the one before (0 from the worker) */
    uint32_t camera_id;
    uint16_t frame_width_px, frame_height_px;
    uint8_t device_kind; /* enum wire_device_kind */
    char device[WIRE_NAME_MAX];
    uint16_t face_count;
    struct wire_face face[WIRE_FACES_MAX];
};

struct wire_status {
    uint16_t state;       /* enum wire_state */
    uint16_t device_kind; /* enum wire_device_kind */
    uint32_t fps_mhz;     /* measured rate of results, Hz/1000 */
    uint16_t frame_width_px, frame_height_px;
    uint32_t worker_pid; /* 0: no worker now */
    uint32_t worker_restarts;
    uint32_t clients; /* connected now */
    uint64_t frames;  /* analysed since the start of the service */
    uint64_t dropped; /* captured but not analysed */
    uint64_t uptime_ns;
    uint32_t latency_p50_us, latency_p99_us; /* capture to publish, over the last results; 0 = none yet */
    char source[WIRE_PATH_MAX];              /* "v4l2:/dev/video0", "file:clip.mjpeg" */
    char format[WIRE_NAME_MAX];              /* "MJPG", "YUYV", ... */
    char device[WIRE_PATH_MAX];
    char tier[WIRE_NAME_MAX];   /* the matrix tier in use */
    char models[WIRE_TEXT_MAX]; /* names, comma separated */
    char text[WIRE_TEXT_MAX];   /* the state, for people: "waiting for camera: /dev/video0 is busy (pid 812)" */
    char why[WIRE_TEXT_MAX];    /* why no better device is used; empty if the best one is */
};

struct wire_error {
    uint16_t code; /* enum wire_error_code */
    uint16_t type; /* of the message that failed, 0 if none */
    char text[WIRE_TEXT_MAX];
};

struct wire_ping {
    uint64_t cookie;
};

struct wire_pong {
    uint64_t cookie;  /* that of the PING */
    uint64_t time_ns; /* the server's CLOCK_MONOTONIC */
};

struct wire_bye {
    uint16_t reason; /* enum wire_error_code, 0 = nothing wrong */
    char text[WIRE_TEXT_MAX];
};

struct wire_heartbeat {
    uint64_t time_ns; /* the worker's CLOCK_MONOTONIC when it was made */
    uint64_t frames;  /* analysed by this worker */
    uint64_t dropped; /* captured by this worker but not analysed */
    uint16_t state;   /* enum wire_state */
};

struct wire_wstatus {
    uint16_t state;       /* enum wire_state */
    uint16_t device_kind; /* enum wire_device_kind */
    uint32_t fps_mhz;     /* of the camera's format, Hz/1000; 0 = unknown */
    uint16_t frame_width_px, frame_height_px;
    char source[WIRE_PATH_MAX]; /* as in wire_status */
    char format[WIRE_NAME_MAX];
    char device[WIRE_PATH_MAX];
    char tier[WIRE_NAME_MAX];
    char models[WIRE_TEXT_MAX];
    char text[WIRE_TEXT_MAX];
    char why[WIRE_TEXT_MAX];
};

struct wire_control {
    uint16_t command; /* enum wire_control_command */
    uint32_t value;
};

/* One message. `type` selects the member. With WIRE_FLAG_JSON in `flags` (RESULT and STATUS) wire_decode() fills
 * `json`. */
struct wire_msg {
    uint16_t type;
    uint16_t flags;
    uint32_t serial;
    union {
        struct wire_hello hello;
        struct wire_welcome welcome;
        struct wire_subscribe subscribe; /* SUBSCRIBE and SUBSCRIBED */
        struct wire_unsubscribe unsubscribe;
        struct wire_result result;
        struct wire_get_status get_status;
        struct wire_status status;
        struct wire_error error;
        struct wire_ping ping;
        struct wire_pong pong;
        struct wire_bye bye;
        struct wire_heartbeat heartbeat;
        struct wire_wstatus wstatus;
        struct wire_control control;
        struct {
            const char *text; /* into the frame given to wire_decode(); not NUL-terminated */
            size_t size;
        } json;
    };
};

/* Reads the header at the front of `buf`, of which `len` bytes have arrived. `max` is the largest frame that the
 * receiver takes (WIRE_IN_MAX on the server for clients, WIRE_OUT_MAX elsewhere).
 * Returns 1 if the whole frame is in `buf`, 0 if more bytes are needed (ret_header is set once 16 are there, else
 * untouched), -EMSGSIZE if the frame is larger than `max`, -EBADMSG if it can be no header (size < 16, last word not
 * 0). After a negative status the stream cannot be read on: close it. */
int wire_peek(const uint8_t *buf, size_t len, size_t max, struct wire_header *ret_header);

/* Decodes one whole frame of `size` bytes (header.size). Says nothing of who may send it: see wire_type_senders().
 * Returns 0; -EBADMSG if the payload is too short, inconsistent, above a count limit, has bad text, a float that is not
 * finite or above WIRE_VALUE_MAX;
 * -EOPNOTSUPP if the type is unknown (ret_msg then has type, flags and serial: answer WIRE_E_UNKNOWN_TYPE or skip it).
 * On -EBADMSG ret_msg holds type and serial if the header could be read, its members are undefined. */
int wire_decode(const uint8_t *frame, size_t size, struct wire_msg *ret_msg);

/* Encodes `msg` as one frame. With WIRE_FLAG_JSON in msg->flags, RESULT and STATUS are written as JSON text.
 * In a RESULT only the optional parts in result.fields are written, so one result serves all field masks.
 * Returns 0 and the frame's size, -ENOSPC if `cap` is too small (WIRE_OUT_MAX is always enough, WIRE_RESULT_MAX for
 * binary), -EINVAL if the message breaks a rule that the decoder would refuse, -EOPNOTSUPP for an unknown type. */
int wire_encode(uint8_t *buf, size_t cap, const struct wire_msg *msg, size_t *ret_size);

/* The server's check of a SUBSCRIBE: 0, or -EINVAL (answer WIRE_E_INVALID) for no topic at all, a rate above
 * WIRE_RATE_MAX_MHZ or an unknown encoding. Unknown topic and field bits are no error: grant what is known. */
int wire_check_subscribe(const struct wire_subscribe *subscribe);

/* Changes dropped_since_last in an encoded RESULT, binary or JSON, so that a result formatted once serves all clients.
 * Returns 0, or -EINVAL if `frame` is not a RESULT made by wire_encode(). */
int wire_patch_dropped(uint8_t *frame, size_t size, uint32_t dropped_since_last);

/* Same for the publish time (`"t_publish_ns"` in JSON). */
int wire_patch_publish(uint8_t *frame, size_t size, uint64_t publish_ns);

/* Who may send `type`: a mask of WIRE_FROM_*; 0 for an unknown type. The server answers WIRE_E_UNKNOWN_TYPE to a type
 * without WIRE_FROM_CLIENT. */
unsigned wire_type_senders(uint16_t type);

/* Copies `text` into a text field: cut at a whole UTF-8 character to fit `cap` (NUL included), control characters and
 * invalid bytes replaced by '?', the rest zeroed. NULL is taken as "". */
void wire_set_text(char *field, size_t cap, const char *text);

/* Names for people and for JSON, never NULL: "running", "waiting-for-camera", "npu", "bad message", "RESULT". */
const char *wire_state_name(uint16_t state);
const char *wire_device_kind_name(uint16_t kind);
const char *wire_error_name(uint16_t code);
const char *wire_type_name(uint16_t type);

/* JSON text of one line with a final newline, as in the payload of a frame with WIRE_FLAG_JSON; no header, no NUL.
 * Returns 0 and the length, -ENOSPC or -EINVAL as wire_encode(). */
int wire_json_result(char *buf, size_t cap, const struct wire_result *result, size_t *ret_len);
int wire_json_status(char *buf, size_t cap, const struct wire_status *status, size_t *ret_len);
