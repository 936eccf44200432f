// When to open, restart and give up a camera: pure decisions over events and the time.
//
// A stream that stalls (5 periods, at least 1 s) is restarted; if that brings no frame the camera is opened anew. A
// camera that can't be opened is tried again after a pause that doubles from 0.1 to 1 s, so that it is back within 2 s
// of its return; a change of devices (udev) is tried at once. What opens but gives nothing that can be read is left
// alone for longer and longer, up to half a minute.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CAMERA_RETRY_FIRST_NS INT64_C(100000000)
#define CAMERA_RETRY_MAX_NS   INT64_C(1000000000)
#define CAMERA_USELESS_MAX_NS INT64_C(30000000000)
#define CAMERA_STALL_MIN_NS   INT64_C(1000000000)
#define CAMERA_STALL_PERIODS  5

enum camera_phase { CAMERA_OFF, CAMERA_WAITING, CAMERA_STREAMING, CAMERA_ENDED };

enum camera_event {
    CAMERA_TICK,     // time has passed
    CAMERA_WANTED,   // somebody is subscribed
    CAMERA_UNWANTED, // nobody is
    CAMERA_PLUGGED,  // a video device came or went
    CAMERA_OPENED,   // DO_OPEN or DO_RESTART succeeded
    CAMERA_FAILED,   // DO_OPEN or DO_RESTART failed, or reading did
    CAMERA_FRAME,    // a frame came
    CAMERA_DAMAGED,  // one came that can't be read: the stream lives, but is no better for it
    CAMERA_USELESS,  // none of a file's frames can be read
    CAMERA_END,      // a file is at its end
};

enum camera_action {
    CAMERA_DO_NOTHING,
    CAMERA_DO_OPEN,    // close if open, open, start; then feed OPENED or FAILED
    CAMERA_DO_RESTART, // stop and start the stream; then feed OPENED or FAILED
    CAMERA_DO_CLOSE,
};

// All zero is the start.
struct camera_watch {
    enum camera_phase phase;
    int64_t retry_ns; // WAITING: when to open
    int64_t alive_ns; // STREAMING: last frame, or the start
    int64_t pause_ns; // next pause
    bool restarted;   // the stream was restarted and no frame has come since
};

// fps: of the camera, 0 = unknown.
enum camera_action camera_watch_step(struct camera_watch *w, enum camera_event event, double fps, int64_t now_ns);
// When the next CAMERA_TICK is due; INT64_MAX = none.
int64_t camera_watch_deadline_ns(const struct camera_watch *w, double fps);
