#!/usr/bin/env python3
"""client/python/gaze.py: its own decoder against the golden bytes, and the client against a server of golden bytes."""
import asyncio
import json
import os
import random
import struct
import sys
import time

sys.path[:0] = ["client/python", os.path.dirname(__file__)]

import gaze  # noqa: E402
from fake_gazed import GET_STATUS, HELLO, PING, SUBSCRIBE, FakeGazed, error, golden  # noqa: E402
from tap import equal, raises, run  # noqa: E402


def message(name):
    return gaze.decode(golden(name))[2]


def golden_result():
    r = message("result_one")
    equal((r.seq, r.capture_ns, r.publish_ns), (5000000001, 7200123456789, 7200144000111))
    equal((r.dropped, r.camera, r.frame), (2, 1, (1280, 720)))
    equal((r.device_kind, r.device, len(r.faces)), ("cpu", "pocl-znver3", 1))
    f = r.faces[0]
    equal((f.id, f.score, f.box, f.quality), (7, 0.96875, (320.5, 180.25, 200, 220), 0.875))
    equal((f.origin_mm, f.gaze), ((-12.5, 30, 612.75), (-0.25, 0.125, -0.9609375)))
    equal((f.yaw, f.pitch, f.raw_yaw, f.raw_pitch), (14.5, -7.25, 15.125, -7.5))
    equal((f.norm_yaw, f.norm_pitch, f.sigma), (10, -5.5, 3.25))
    equal((f.head_yaw, f.head_pitch, f.head_roll), (4.5, -1.75, 0.625))
    equal((f.blink_left, f.blink_right, f.screen, f.calibrated), (0.125, 0.0625, (0.25, 0.75), False))
    equal(f.landmarks, [(320.5 + 2.125 * i, 179.25 + 2.5 * i) for i in range(78)])
    equal((f.aus, f.zones), ({"AU1": 0, "AU2L": 0.125}, [gaze.Zone(100, 0)]))
    json.dumps(r.asdict())


def golden_others():
    equal(message("result_empty").faces, [])
    equal(message("result_plain").faces[0].calibrated, True)
    faces = message("result_max").faces
    equal((len(faces), len(faces[15].aus), len(faces[15].zones), faces[15].id), (16, 32, 8, 22))
    equal(faces[15].zones[7], gaze.Zone(107, 1750))
    equal(message("welcome"), gaze.Welcome(1, 0, 256, 65536, 16, 20, 3, 7, "gazed", "0.1.0"))
    equal(message("subscribed"), gaze.Subscribed(1, 0, 15.0, False))
    equal(message("error"), gaze.ErrorMessage(6, 3, "rate above 1000 Hz"))
    equal(message("pong"), gaze.Pong(0x1122334455667788, 123456789012345))
    equal(message("bye"), gaze.Bye(10, "the service stops"))
    s = message("status")
    equal((s.state, s.device_kind, s.fps, s.frame), ("degraded", "cpu", 29.97, (1280, 720)))
    equal((s.worker_pid, s.worker_restarts, s.clients), (4242, 2, 3))
    equal((s.frames, s.dropped, s.uptime_ns), (5000000000, 17, 3600000000000))
    equal((s.latency_p50_us, s.latency_p99_us, s.source, s.format), (21000, 38000, "v4l2:/dev/video0", "MJPG"))
    equal((s.device, s.tier), ('cpu: "Example" processor', "float16 vectors"))
    equal((s.text, s.why), ("läuft auf einem langsameren Gerät", "-EACCES: not in group render"))


def golden_json_says_the_same():
    j, b = message("result_json"), message("result_one")
    f, face = j["faces"][0], b.faces[0]
    equal((j["seq"], j["t_ns"], j["t_publish_ns"], j["dropped"]), (b.seq, b.capture_ns, b.publish_ns, b.dropped))
    equal((j["camera"], tuple(j["frame"]), j["device"]), (1, b.frame, {"kind": "cpu", "name": "pocl-znver3"}))
    equal((f["id"], f["head"], f["sigma_deg"]), (7, {"yaw": 4.5, "pitch": -1.75, "roll": 0.625}, 3.25))
    equal((f["gaze"]["yaw"], f["gaze"]["pitch"], len(f["gaze"]["vector"])), (face.yaw, face.pitch, 3))
    equal((f["gaze_raw"], f["gaze_normalised"]), ({"yaw": 15.125, "pitch": -7.5}, {"yaw": 10.0, "pitch": -5.5}))
    for (x, y), (u, v) in zip(f["landmarks"], face.landmarks):
        assert abs(x - u) <= 0.0501 and abs(y - v) <= 0.0501
    equal((len(f["landmarks"]), f["zones"]), (78, [{"id": 100, "dwell_ms": 0}]))
    unseen = j["faces"][1]
    equal([unseen[k] for k in ("gaze", "gaze_raw", "head", "blink", "screen", "sigma_deg", "origin_mm")], [None] * 7)
    s, t = message("status_json"), message("status")
    equal((s["state"], s["text"], s["device"]["name"], s["fps"]), (t.state, t.text, t.device, t.fps))
    equal((s["worker"], s["latency_us"]), ({"pid": 4242, "restarts": 2}, {"p50": 21000, "p99": 38000}))


def encodes_golden_requests():
    equal(gaze.encode_hello(1, "example"), golden("hello"))
    equal(gaze.encode_subscribe(2, 3, 3, 15.0, True), golden("subscribe"))
    equal(gaze.encode(gaze.UNSUBSCRIBE, 3, struct.pack("<I", 2)), golden("unsubscribe"))
    equal(gaze.encode(gaze.GET_STATUS, 4, struct.pack("<H2x", 1)), golden("get_status"))
    equal(gaze.encode(gaze.PING, 6, struct.pack("<Q", 0x1122334455667788)), golden("ping"))
    equal(gaze.encode_hello(1, "ä" * 40)[24:], ("ä" * 15).encode() + b"\0\0")
    equal(gaze.encode_hello(1, "a\nb")[24:28], b"a?b\0")
    raises(ValueError, gaze.encode_subscribe, 1, 1, 0, 1000.001)
    equal(len(gaze.encode_subscribe(1, 1, 0, 1000.0)), 32)


def hostile_bytes():
    """Every cut, and random mutations: a ProtocolError or a message, nothing else."""
    rng = random.Random(1)
    for name in ("result_one", "status", "welcome", "error", "bye", "pong", "subscribed"):
        frame = golden(name)
        for cut in range(len(frame)):
            raises(gaze.ProtocolError, gaze.decode, frame[:cut])
            if cut >= 16:
                raises(gaze.ProtocolError, gaze.decode, struct.pack("<I", cut) + frame[4:cut])
        for _ in range(4000):
            changed = bytearray(frame)
            for _ in range(rng.randint(1, 4)):
                changed[rng.randrange(4, len(frame))] = rng.randrange(256)
            try:
                gaze.decode(bytes(changed))
            except gaze.ProtocolError:
                pass


def limits():
    """At each limit a message is read, one beyond it is refused."""
    def frame(size):
        return struct.pack("<IHHII", size, 6, 1, 0, 0) + b'{"seq":1}'.ljust(size - 17) + b"\n"

    with FakeGazed(pushes=[frame(gaze.OUT_MAX), frame(gaze.OUT_MAX + 1)]) as server:
        with gaze.connect(server.path) as g:
            g.subscribe()
            equal(g.next(5), {"seq": 1})
            raises(gaze.ProtocolError, g.next, 5)
    for offset, beyond in ((18, 17), (100, 79), (102, 33), (103, 9)):  # faces, landmarks, AUs, zones of result_max
        changed = bytearray(golden("result_max"))
        equal(changed[offset], beyond - 1)
        changed[offset] = beyond
        raises(gaze.ProtocolError, gaze.decode, bytes(changed))


def newer_minor():
    """Bytes appended to messages, faces and fixed parts are skipped, unknown types are no error."""
    for name in ("welcome", "status", "result_one", "error"):
        frame = golden(name)
        longer = struct.pack("<I", len(frame) + 8) + frame[4:] + b"\xee" * 8
        equal(gaze.decode(longer), gaze.decode(frame))
    r = golden("result_one")
    fixed, face = r[16:96], r[96:]
    longer = (struct.pack("<H", 88) + fixed[2:] + b"\xee" * 8 + struct.pack("<HH", len(face) + 16, 128) + face[4:120]
              + b"\xee" * 8 + face[120:] + b"\xee" * 8)
    equal(gaze.decode(struct.pack("<I", 16 + len(longer)) + r[4:16] + longer), gaze.decode(r))
    equal(gaze.decode(struct.pack("<IHHII", 20, 99, 0, 0, 0) + b"abcd"), (99, 0, None))


def live_session():
    with FakeGazed(pushes=[golden("result_one")] * 3 + [golden("result_empty")], slice_=7) as server:
        with gaze.connect(server.path, name="test") as g:
            equal((g.welcome.server, g.welcome.version), ("gazed", "0.1.0"))
            equal(g.status().state, "degraded")
            equal(g.ping().time_ns, 5)
            results = g.results(timeout=5, landmarks=True, rate_hz=30)
            equal([next(results).seq for _ in range(4)], [5000000001] * 3 + [1])
            equal(g.unsubscribe().topics, 0)
        equal([r[0] for r in server.requests], [1, 7, 10, 3, 5])
        equal(struct.unpack("<IIIHH", server.requests[3][2]), (1, 1, 30000, 0, 0))
        equal([r[1] for r in server.requests], [1, 2, 3, 4, 5])


def json_results():
    with FakeGazed(pushes=[golden("result_json")]) as server, gaze.connect(server.path) as g:
        equal(next(g.results(timeout=5, as_json=True))["faces"][0]["id"], 7)
        equal(struct.unpack("<IIIHH", server.requests[1][2])[3], 1)


def environment_path():
    with FakeGazed() as server:
        os.environ["GAZED_SOCKET"] = server.path
        try:
            gaze.connect().close()
        finally:
            del os.environ["GAZED_SOCKET"]
        equal(server.requests[0][2][8:16], b"gaze.py\0")


def no_server():
    raises(FileNotFoundError, gaze.connect, "/tmp/there-is-no-such-socket")
    with FakeGazed() as server:
        path = server.path
    raises(OSError, gaze.connect, path)


def failures_of_greeting():
    def case(kind, answer, **options):
        with FakeGazed({HELLO: answer}) as server:
            return raises(kind, gaze.connect, server.path, **options)

    equal(case(gaze.Refused, lambda s, p: error(7, 0, b"too many clients")).code, 7)
    case(gaze.ProtocolError, lambda s, p: golden("welcome", s)[:16] + b"\2\0" + golden("welcome")[18:])
    case(gaze.ProtocolError, lambda s, p: b"HTTP/1.1 400 Bad Request\r\n\r\n")
    case(gaze.ProtocolError, lambda s, p: golden("pong", s))
    case(gaze.ConnectionLost, lambda s, p: None)
    begin = time.monotonic()
    case(TimeoutError, lambda s, p: b"", timeout=0.3)
    assert 0.2 < time.monotonic() - begin < 2


def refusals_go_on():
    with FakeGazed({SUBSCRIBE: lambda s, p: error(6, s, b"no such topic")}) as server:
        with gaze.connect(server.path) as g:
            refused = raises(gaze.Refused, g.subscribe)
            equal((refused.code, str(refused)), (6, "no such topic (error 6)"))
            equal(g.status().clients, 3)
            raises(ValueError, g.subscribe, results=False)
            raises(ValueError, g.subscribe, rate_hz=-1)


def lost_connection():
    with FakeGazed(pushes=[golden("result_one"), golden("bye")], close_after_push=True) as server:
        with gaze.connect(server.path) as g:
            results = g.results(timeout=5)
            equal(next(results).seq, 5000000001)
            equal(str(raises(gaze.ConnectionLost, next, results)), "the service stops")
            raises(gaze.ConnectionLost, g.status)


def times_out():
    with FakeGazed({PING: lambda s, p: b"", GET_STATUS: lambda s, p: b""}) as server:
        with gaze.connect(server.path) as g:
            raises(TimeoutError, g.ping, timeout=0.1)
            raises(TimeoutError, g.status, timeout=0.1)
            g.subscribe()
            equal(g.next(0.05), None)
            equal(g.process(), [])


def pending_is_bounded():
    with FakeGazed(pushes=[golden("result_empty")] * 100 + [golden("result_one")]) as server:
        with gaze.connect(server.path) as g:
            g.subscribe()
            g.status()
            messages = g.process()
            equal(len(messages), gaze.PENDING_MAX)
            equal(messages[-1].seq, 5000000001)


def with_asyncio():
    async def first(path):
        loop, got = asyncio.get_running_loop(), []
        done = loop.create_future()
        with gaze.connect(path) as g:
            def readable():
                got.extend(g.process())
                if len(got) >= 2 and not done.done():
                    done.set_result(None)

            g.subscribe()
            readable()
            loop.add_reader(g, readable)
            await asyncio.wait_for(done, 5)
            loop.remove_reader(g)
        return [r.seq for r in got]

    with FakeGazed(pushes=[golden("result_one"), golden("result_empty")]) as server:
        equal(asyncio.run(first(server.path)), [5000000001, 1])


run([golden_result, golden_others, golden_json_says_the_same, encodes_golden_requests, hostile_bytes, limits, newer_minor,
     live_session, json_results, environment_path, no_server, failures_of_greeting, refusals_go_on, lost_connection,
     times_out, pending_is_bounded, with_asyncio])
