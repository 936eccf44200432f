/* Gaze wire v1: the names of states, devices, errors and message types, for people and for JSON. */
#include "wire/wire.h"

#define NAME(table, i) ((i) < sizeof(table) / sizeof((table)[0]) && (table)[i] ? (table)[i] : "unknown")

const char *wire_state_name(uint16_t state)
{
    static const char *const names[] = {
        [WIRE_STARTING] = "starting", [WIRE_WAITING_FOR_CAMERA] = "waiting-for-camera",
        [WIRE_RUNNING] = "running",   [WIRE_PAUSED] = "paused",
        [WIRE_DEGRADED] = "degraded",
    };

    return NAME(names, state);
}

const char *wire_device_kind_name(uint16_t kind)
{
    static const char *const names[] = {
        [WIRE_DEVICE_NONE] = "none",
        [WIRE_DEVICE_NPU] = "npu",
        [WIRE_DEVICE_GPU] = "gpu",
        [WIRE_DEVICE_CPU] = "cpu",
        [WIRE_DEVICE_REFERENCE] = "reference",
        [WIRE_DEVICE_SIMULATOR] = "simulator",
    };

    return NAME(names, kind);
}

const char *wire_error_name(uint16_t code)
{
    static const char *const names[] = {
        [0] = "no error",
        [WIRE_E_BAD_MESSAGE] = "bad message",
        [WIRE_E_TOO_BIG] = "message too big",
        [WIRE_E_VERSION] = "other protocol version",
        [WIRE_E_NOT_GREETED] = "no HELLO",
        [WIRE_E_UNKNOWN_TYPE] = "unknown message type",
        [WIRE_E_INVALID] = "invalid value",
        [WIRE_E_TOO_MANY] = "too many clients",
        [WIRE_E_RATE] = "too many requests",
        [WIRE_E_SLOW] = "client too slow",
        [WIRE_E_SHUTDOWN] = "shutting down",
        [WIRE_E_INTERNAL] = "internal error",
    };

    return NAME(names, code);
}

const char *wire_type_name(uint16_t type)
{
    static const char *const names[] = {
        [WIRE_HELLO] = "HELLO",
        [WIRE_WELCOME] = "WELCOME",
        [WIRE_SUBSCRIBE] = "SUBSCRIBE",
        [WIRE_SUBSCRIBED] = "SUBSCRIBED",
        [WIRE_UNSUBSCRIBE] = "UNSUBSCRIBE",
        [WIRE_RESULT] = "RESULT",
        [WIRE_GET_STATUS] = "GET_STATUS",
        [WIRE_STATUS] = "STATUS",
        [WIRE_ERROR] = "ERROR",
        [WIRE_PING] = "PING",
        [WIRE_PONG] = "PONG",
        [WIRE_BYE] = "BYE",
    };

    switch (type) {
    case WIRE_HEARTBEAT:
        return "HEARTBEAT";
    case WIRE_WSTATUS:
        return "WSTATUS";
    case WIRE_CONTROL:
        return "CONTROL";
    default:
        return NAME(names, type);
    }
}
