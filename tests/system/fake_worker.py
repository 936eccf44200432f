#!/usr/bin/env python3
"""Speaks the worker's side of daemon/worker_process.h, as its script in $FAKE_WORKER (JSON) says:

  has       kinds of devices that there are here (default ["cpu", "ref"])
  load_s    time in state STARTING (default 0)
  fps       results a second while the camera is on (default 100)
  faces     faces in each result (default 1); landmarks: with 78 landmarks each
  on        {kind: what to do 50 ms after loading on this kind}: "crash", "exit", "hang", "garbage", "bad-record";
            "early-crash" and "mute" before it has said a word
  stubborn  ignore SIGTERM, QUIT and the end of the socket
  log       a file to which each start and each command is added as a line of JSON
"""
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time

KINDS = {"npu": 1, "gpu": 2, "cpu": 3, "ref": 4, "sim": 5}
STARTING, RUNNING, PAUSED = 0, 2, 3
script = json.loads(os.environ.get("FAKE_WORKER", "{}"))
arguments = dict(a[2:].split("=", 1) for a in sys.argv[1:])


def log(**what):
    if "log" in script:
        with open(script["log"], "a") as f:
            f.write(json.dumps({"t": time.monotonic(), "pid": os.getpid(), **what}) + "\n")


def frame(kind, payload):
    return struct.pack("<IHHII", 16 + len(payload), kind, 0, 0, 0) + payload


def text(s, size):
    return s.encode()[:size - 1].ljust(size, b"\0")


def wstatus(state, device, words):
    return frame(0xF002, struct.pack("<HHIHH4x", state, KINDS[device], 30000, 1280, 720)
                 + text("file:fake", 64) + text("MJPG", 32) + text(f"fake {device}", 64) + text("none", 32)
                 + text("fake", 128) + text(words, 128) + text("", 128))


def heartbeat(state, frames, dropped):
    return frame(0xF001, struct.pack("<QQQHxxxxxx", time.monotonic_ns(), frames, dropped, state))


def face(number, landmarks):
    count = 78 if landmarks else 0
    fixed = struct.pack("<HHHBBII26f", 120 + 4 * count, 120, count, 0, 0, number, 15, 0.9,
                        100, 100, 200, 200, 0, 0, 600, 0, 0, -1, *([1.0] * 15))
    return fixed + struct.pack("<hh", 80, 160) * count


def result(frames, device):
    n = script.get("faces", 1)
    marks = script.get("landmarks", False)
    return frame(6, struct.pack("<HHIQQQIIHHB3x32s", 80, n, 1 if marks else 0, frames, time.monotonic_ns(), 0, 0, 0,
                                1280, 720, KINDS[device], text(device, 32))
                 + b"".join(face(i + 1, marks) for i in range(n)))


def misbehave(what, out):
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif what == "exit":
        os._exit(3)
    elif what == "hang":
        time.sleep(1000)
    elif what == "garbage":
        out.sendall(b"GET / HTTP/1.1\r\nHost: gazed\r\n\r\n")
        time.sleep(1000)
    elif what == "bad-record":
        out.sendall(frame(9, b"\0" * 132))  # well formed, but no message of a worker
        time.sleep(1000)


def commands(out):
    """Returns True or False for the camera, None for nothing; ends on QUIT or when gazed is gone."""
    camera = None
    while select.select([out], [], [], 0)[0]:
        data = out.recv(24, socket.MSG_WAITALL)
        if len(data) < 24:
            log(event="eof")
            os._exit(0)
        kind, command, value = struct.unpack("<4xH10xH2xI", data)
        log(event="control", command=command, value=value)
        if command == 2 and not script.get("stubborn"):
            os._exit(0)
        if command == 1:
            camera = value == 1
    return camera


def main():
    out = socket.socket(fileno=int(arguments["fd"]))
    log(event="start", arguments=arguments, core=resource.getrlimit(resource.RLIMIT_CORE),
        environment=[k for k in os.environ if k.startswith(("NOTIFY_", "WATCHDOG_", "LISTEN_"))],
        files={n: os.readlink("/proc/self/fd/" + n) for n in os.listdir("/proc/self/fd")
               if os.path.exists("/proc/self/fd/" + n)})
    if script.get("stubborn"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    device = next(k for k in arguments["device"].split(",") if k in script.get("has", ["cpu", "ref"]))
    deed = script.get("on", {}).get(device)
    if deed == "mute":
        time.sleep(1000)
    if deed == "early-crash":
        os.kill(os.getpid(), signal.SIGABRT)
    out.sendall(wstatus(STARTING, device, "loading"))
    end = time.monotonic() + script.get("load_s", 0)
    while time.monotonic() < end:
        out.sendall(heartbeat(STARTING, 0, 0))
        time.sleep(0.05)
    camera, frames = False, 0
    out.sendall(wstatus(PAUSED, device, "nobody watches"))
    period = 1 / script.get("fps", 100)
    due = beat = time.monotonic()
    deed_at = due + 0.05
    while True:
        now = time.monotonic()
        if now >= beat:
            out.sendall(heartbeat(RUNNING if camera else PAUSED, frames, frames // 10))
            beat = now + 0.1
        if deed and now >= deed_at:
            misbehave(deed, out)
        if camera and now >= due:
            frames += 1
            out.sendall(result(frames, device))
            due = max(due + period, now - period)
        wake = min(beat, due if camera else beat, deed_at if deed else beat)
        select.select([out], [], [], max(0, wake - time.monotonic()))
        wanted = commands(out)
        if wanted is not None and wanted != camera:
            camera, due = wanted, time.monotonic()
            words = "frames come in" if camera else "nobody watches"
            out.sendall(wstatus(RUNNING if camera else PAUSED, device, words))


main()
