#!/usr/bin/env python3
"""gazed and its clients: greeting, subscriptions, limits, and clients without manners."""
import os
import random
import socket
import struct
import sys
import time

sys.path[:0] = [os.path.dirname(__file__)]

from gazed_fixture import Gazed, gaze, wait_for  # noqa: E402
from tap import equal, raises, run  # noqa: E402

E_BAD_MESSAGE, E_TOO_BIG, E_VERSION, E_NOT_GREETED, E_UNKNOWN_TYPE, E_INVALID, E_TOO_MANY, E_RATE, E_SLOW = range(1, 10)


def status_says_what_the_worker_said():
    with Gazed(script={"load_s": 0.2}) as g, g.connect() as c:
        equal(c.status().state, "starting")
        s = g.wait_up(c)
        equal((s.state, s.text, s.device_kind, s.device, s.source, s.format, s.frame),
              ("paused", "nobody watches", "cpu", "fake cpu", "file:fake", "MJPG", (1280, 720)))
        assert s.worker_pid > 0 and s.clients == 1 and s.worker_restarts == 0
        equal(c.welcome.version, "0.1.0")


def results_come_in_order_and_in_time():
    with Gazed() as g, g.connect() as c:
        got, ages = [], []
        for r in c.results(timeout=3):
            got.append(r)
            ages.append(time.monotonic_ns() - r.capture_ns)
            assert r.capture_ns < r.publish_ns <= time.monotonic_ns()
            if len(got) == 50:
                break
        equal(got[0].seq, 1)
        for a, b in zip(got, got[1:]):
            equal(b.seq, a.seq + 1 + b.dropped)
        assert sorted(ages)[25] < 5e6, sorted(ages)
        s = c.status()
        assert 50 < s.fps < 110 and 0 < s.latency_p50_us < 5000 and s.frames >= 50, s


def fields_encodings_and_rates_are_each_clients_own():
    with Gazed(script={"landmarks": True, "faces": 2}) as g, g.connect() as plain, g.connect() as full, \
            g.connect() as text, g.connect() as slow:
        plain.subscribe()
        full.subscribe(landmarks=True)
        text.subscribe(landmarks=True, as_json=True)
        slow.subscribe(rate_hz=10)
        a, b, c = plain.next(3), full.next(3), text.next(3)
        equal([len(f.landmarks) for f in a.faces], [0, 0])
        equal([len(f.landmarks) for f in b.faces], [78, 78])
        equal([len(f["landmarks"]) for f in c["faces"]], [78, 78])
        n, end = 0, time.monotonic() + 1.5
        while time.monotonic() < end:
            n += slow.next(0.1) is not None
        assert 10 <= n <= 17, n
        r = slow.next(1)
        equal(r.dropped, 0)  # left out as asked, not lost


def camera_is_on_only_while_somebody_watches():
    def commands():
        return [e["value"] for e in g.worker_events("control") if e["command"] == 1]

    with Gazed() as g, g.connect() as a:
        equal(g.wait_up(a).state, "paused")
        with g.connect() as b:
            a.subscribe(results=False, status=True)
            equal(commands(), [])
            b.subscribe()
            assert wait_for(lambda: commands() == [1])
            gone = time.monotonic()
        assert wait_for(lambda: commands() == [1, 0], 3)
        off = g.worker_events("control")[-1]["t"]
        assert 0.9 < off - gone < 2.5, off - gone
        a.subscribe()
        assert wait_for(lambda: commands() == [1, 0, 1], 3)
        a.unsubscribe()
        time.sleep(0.3)
        a.subscribe()  # back within a second: the camera stays on
        time.sleep(1.2)
        equal(commands(), [1, 0, 1])


def status_is_pushed_on_change():
    with Gazed(script={"load_s": 0.3}) as g, g.connect() as c, g.connect() as watcher:
        c.subscribe(results=False, status=True)
        states = [c.next(2).state]
        equal(states, ["starting"])
        g.wait_up(watcher)
        watcher.subscribe()
        while "running" not in states:
            states.append(c.next(2).state)
        assert "paused" in states, states
        c.subscribe(results=False, status=True, as_json=True)
        equal(c.next(2)["state"], "running")


def many_clients_up_to_the_limits():
    with Gazed("--max-clients=40", "--max-clients-per-uid=30") as g:
        clients = [g.connect() for _ in range(30)]
        for c in clients:
            c.subscribe()
        for c in clients:
            got = [c.next(2) for _ in range(10)]
            for a, b in zip(got, got[1:]):
                equal(b.seq, a.seq + 1 + b.dropped)
        equal(raises(gaze.Refused, g.connect).code, E_TOO_MANY)
        equal(clients[0].status().clients, 30)
        clients.pop().close()
        wait_for(lambda: clients[0].status().clients == 29)
        g.connect().close()
        for c in clients:
            c.close()
    with Gazed("--max-clients=3") as g:
        held = [g.connect() for _ in range(3)]
        equal(raises(gaze.Refused, g.connect).code, E_TOO_MANY)
        equal(len(held), 3)


def unknown_and_invalid_requests_go_on():
    with Gazed() as g:
        c = g.raw()
        for kind in (99, 2, 6, 0xF001, 0xF003):  # unknown, the server's, the worker's
            c.send(gaze.encode(kind, 7, b"\0" * 8))
            kind_, serial, whole = c.frame()
            equal((kind_, serial) + struct.unpack_from("<HH", whole, 16), (gaze.ERROR, 7, E_UNKNOWN_TYPE, kind))
        for bad in (struct.pack("<IIIH2x", 0, 0, 0, 0), struct.pack("<IIIH2x", 1, 0, 1000001, 0),
                    struct.pack("<IIIH2x", 1, 0, 0, 2)):
            c.send(gaze.encode(gaze.SUBSCRIBE, 8, bad))
            equal(c.error(), E_INVALID)
        c.send(gaze.encode(gaze.GET_STATUS, 9, struct.pack("<H2x", 7)))
        equal(c.error(), E_INVALID)
        c.send(gaze.encode_hello(3, "again"))
        equal(c.error(), E_INVALID)
        c.send(gaze.encode(gaze.SUBSCRIBE, 10, struct.pack("<IIIH2x", 0xFFFFFFFF, 0xFFFFFFFF, 1000000, 0)))
        kind, serial, whole = c.frame()
        equal((kind, serial) + struct.unpack_from("<II", whole, 16), (gaze.SUBSCRIBED, 10, 3, 7))
        c.close()


def requests_above_the_rate_are_not_done():
    with Gazed() as g:
        c = g.raw()
        start = time.monotonic()
        c.send(b"".join(gaze.encode(gaze.PING, i + 1, b"\0" * 8) for i in range(80)))
        kinds = [c.frame() for _ in range(80)]
        took = time.monotonic() - start
        refused = sum(k[0] == gaze.ERROR for k in kinds)
        equal(sorted(k[1] for k in kinds), list(range(1, 81)))  # each is answered
        assert refused >= 1 and took > 0.5, (refused, took)
        time.sleep(1)
        c.send(gaze.encode(gaze.PING, 100, b"\0" * 8))
        equal(c.frame()[0], gaze.PONG)


def connections_without_manners_end():
    with Gazed() as g, g.connect() as good:
        good.subscribe()
        cases = [
            (b"GET / HTTP/1.1\r\n\r\n", E_BAD_MESSAGE, "this is no frame"),
            (struct.pack("<IHHII", 257, 1, 0, 1, 0), E_TOO_BIG, "the frame is larger than 256 bytes"),
            (struct.pack("<IHHII", 0xFFFFFFFF, 1, 0, 1, 0), E_TOO_BIG, "the frame is larger than 256 bytes"),
            (struct.pack("<IHHII", 15, 1, 0, 1, 0), E_BAD_MESSAGE, "this is no frame"),
            (struct.pack("<IHHII", 20, 1, 0, 1, 9) + b"\0" * 4, E_BAD_MESSAGE, "this is no frame"),
            (gaze.encode(gaze.HELLO, 1, b"\1\0"), E_BAD_MESSAGE, "the payload does not fit its type"),
            (gaze.encode(gaze.PING, 1, b"\0" * 8), E_NOT_GREETED, "the first message must be HELLO"),
            (gaze.encode(99, 1, b""), E_NOT_GREETED, "the first message must be HELLO"),
            (gaze.encode(gaze.HELLO, 1, struct.pack("<HH4x32s", 2, 0, b"new")), E_VERSION,
             "this socket speaks major version 1"),
        ]
        for data, code, text in cases:
            c = g.raw(hello=False)
            c.send(data)
            equal((data[:16], c.error_and_text()), (data[:16], (code, text)))
            assert c.ended(), data
            c.close()
            assert wait_for(lambda: g.log().count(f'client "" of uid {os.getuid()} left: {text}\n')), (text, g.log())
        rng = random.Random(7)
        for _ in range(200):
            c = g.raw(hello=rng.random() < 0.5)
            try:
                c.send(rng.randbytes(rng.randrange(1, 2000)))
            except OSError:
                pass
            c.close()
        assert g.process.poll() is None
        good.process()
        assert good.next(1) is not None
        wait_for(lambda: good.status().clients == 1)
        equal(good.status().clients, 1)


def frames_in_pieces_and_in_heaps():
    with Gazed() as g:
        c = g.raw(hello=False)
        for byte in gaze.encode_hello(1, "slowly"):
            c.send(bytes([byte]))
        equal(c.frame()[0], gaze.WELCOME)
        c.send(gaze.encode(gaze.PING, 5, b"\0" * 8) * 5 + gaze.encode(gaze.PING, 6, b"\0" * 8)[:9])
        equal([c.frame()[1] for _ in range(5)], [5] * 5)
        c.send(gaze.encode(gaze.PING, 6, b"\0" * 8)[9:])
        equal(c.frame()[:2], (gaze.PONG, 6))
        # The largest frame that is taken: a HELLO of a newer minor with 256 bytes.
        d = g.raw(hello=False)
        d.send(gaze.encode(gaze.HELLO, 1, struct.pack("<HH4x32s", 1, 9, b"newer").ljust(240, b"x")))
        equal(d.frame()[0], gaze.WELCOME)


def silent_and_slow_clients_end():
    with Gazed(script={"landmarks": True, "faces": 16}) as g, g.connect() as good:
        good.subscribe()
        silent, start = g.raw(hello=False), time.monotonic()
        slow = g.raw()
        slow.send(gaze.encode_subscribe(2, 1, 7))  # and never reads
        equal(silent.error(), E_NOT_GREETED)
        assert silent.ended() and 1.9 < time.monotonic() - start < 4, time.monotonic() - start
        equal(good.status().clients, 2)
        ages = []
        while time.monotonic() - start < 6.5:
            r = good.next(1)
            ages.append((time.monotonic_ns() - r.capture_ns) / 1e6)
        assert wait_for(lambda: good.status().clients == 1, 2), "the slow client is still there"
        assert "too slow" in g.log()
        equal(slow.error(), E_SLOW)
        assert slow.ended()
        ages.sort()
        assert ages[len(ages) // 2] < 10, ages[-20:]


def a_laggard_gets_the_newest_and_the_count_of_lost_ones():
    with Gazed(script={"landmarks": True, "faces": 8}) as g, g.connect() as c:
        c.subscribe(landmarks=True)
        before = c.next(2)
        time.sleep(1.5)
        waiting = []
        while (r := c.next(1)).dropped == 0:
            waiting.append(r)
            before = r
        equal(r.seq, before.seq + r.dropped + 1)
        assert r.dropped > 100, r.dropped
        assert len(waiting) < 10, len(waiting)  # stale ones in the kernel's buffer
        equal(c.next(1).dropped, 0)


def clients_hear_of_the_end():
    with Gazed() as g:
        c = g.connect()
        c.subscribe()
        c.next(2)
        raw = g.raw()
        equal(g.stop(), 0)
        kind, _, whole = raw.frame()
        equal((kind, struct.unpack_from("<H", whole, 16)[0]), (gaze.BYE, 10))
        assert raw.ended()
        raises(gaze.ConnectionLost, lambda: [c.next(1) for _ in range(100)])
        assert not os.path.exists(g.socket)


def descriptors_and_memory_stay_flat():
    def descriptors():
        try:
            return len(os.listdir(f"/proc/{g.process.pid}/fd"))
        except PermissionError:  # not even its own user may look into it
            return None

    def resident():
        with open(f"/proc/{g.process.pid}/statm") as f:
            return int(f.read().split()[1]) * 4

    with Gazed(script={"fps": 1000}) as g, g.connect() as good:
        good.subscribe()
        good.next(5)
        settled = descriptors()

        def churn(n):
            for i in range(n):
                s = socket.socket(socket.AF_UNIX)
                s.connect(g.socket)
                s.send(gaze.encode_hello(1, "x") + gaze.encode_subscribe(2, 3, 7, as_json=bool(i % 2)))
                s.close()
                good.process()
            # The last connections may not be accepted yet: they come and go for a while after.
            assert wait_for(lambda: good.status().clients == 1 and descriptors() == settled), (descriptors(), settled)
            return resident()

        before = churn(300)
        after = churn(1000)
        assert after - before < 256, (before, after)


run([status_says_what_the_worker_said, results_come_in_order_and_in_time,
     fields_encodings_and_rates_are_each_clients_own, camera_is_on_only_while_somebody_watches,
     status_is_pushed_on_change, many_clients_up_to_the_limits, unknown_and_invalid_requests_go_on,
     requests_above_the_rate_are_not_done, connections_without_manners_end, frames_in_pieces_and_in_heaps,
     silent_and_slow_clients_end, a_laggard_gets_the_newest_and_the_count_of_lost_ones, clients_hear_of_the_end,
     descriptors_and_memory_stay_flat])
