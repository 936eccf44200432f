#!/usr/bin/env python3
"""gazed with its real worker on files: what clients get of clips and pictures, when the camera is open, restarts."""
import json
import os
import resource
import signal
import sys
import time

sys.path[:0] = [os.path.dirname(__file__)]

from gazed_fixture import note, wait_for  # noqa: E402
from service_fixture import (CENTRE, CENTRE_BOX, HEIGHT, PITCH_DEG, SIGMA_DEG, WIDTH, YAW_DEG,  # noqa: E402
                             Service, jpeg, png, program, results, spots, status_with, write, y4m)
from tap import equal, run  # noqa: E402

ONE = jpeg(spots(CENTRE))
NONE = jpeg(spots())
CLIP = write("clip.mjpeg", ONE * 8)
GAP_LIMIT_S = 1.0  # without results, after a worker was killed
GROWTH_KIB = 300  # of a worker in 300 frames; one leaked row of a frame each would be 256 bytes * 300


def near(got, want, slack):
    assert abs(got - want) <= slack, f"{got} is not within {slack} of {want}"


def is_the_face(face):
    """What the stand-in networks say of a spot in the middle."""
    for got, want in zip(face.box, CENTRE_BOX):
        near(got, want, 1)
    assert face.score > 0.9 and face.quality > 0, face
    near(face.norm_yaw, YAW_DEG, 1.5)
    near(face.norm_pitch, PITCH_DEG, 1.5)
    near(face.sigma, SIGMA_DEG, 0.1)
    near(sum(v * v for v in face.gaze), 1, 1e-3)
    near(face.blink_right, 0.119, 0.01)
    near(face.blink_left, 0.881, 0.01)
    near(face.head_roll, 0, 2)
    assert abs(face.head_yaw) < 10 and abs(face.head_pitch) < 10, face
    assert 200 < face.origin_mm[2] < 1500, face


def a_clip_becomes_results():
    for device, kind in (("ref", "reference"), ("cpu,ref", "cpu")):
        with Service(f"file:{CLIP}", device=device) as g, g.connect() as c:
            s = g.wait_up(c)
            equal((s.state, s.device_kind), ("paused", kind))
            c.subscribe(landmarks=True)
            got = results(c, 12)
            seqs = [r.seq for r in got]
            equal(seqs, sorted(set(seqs)))
            ids = {f.id for r in got[2:] for f in r.faces}
            equal(ids, {1})  # the clip begins again, the face stays
            for r in got:
                equal((r.frame, r.device_kind), ((WIDTH, HEIGHT), kind))
                assert 0 < r.capture_ns <= r.publish_ns, r
            for r in got[2:]:
                equal(len(r.faces), 1)
                is_the_face(r.faces[0])
                equal(len(r.faces[0].landmarks), 78)
            s = c.status()
            equal((s.state, s.source, s.format, s.frame), ("running", "file:clip.mjpeg", "MJPG", (WIDTH, HEIGHT)))
            equal((s.models, s.clients, s.worker_restarts), ("face_finder,landmarks,gaze_vit", 1, 0))
            assert s.frames >= 12 and s.latency_p99_us >= s.latency_p50_us > 0 and s.worker_pid > 0, s


def every_kind_of_file():
    folder = os.path.dirname(write("folder/a.png", png(spots(CENTRE))))
    write("folder/b.jpg", ONE)
    write("folder/notes.txt", b"not a picture")
    big = write("big.y4m", y4m([spots((330, 250), width=640, height=480, size=90)] * 4, 640, 480))
    for path, form, size in ((folder, "FILES", (WIDTH, HEIGHT)), (os.path.join(folder, "a.png"), "FILES", (WIDTH, HEIGHT)),
                             (os.path.join(folder, "b.jpg"), "MJPG", (WIDTH, HEIGHT)), (big, "Y4M", (640, 480))):
        with Service(f"file:{path}") as g, g.connect() as c:
            c.subscribe()
            got = results(c, 5)
            equal([(r.frame, len(r.faces)) for r in got[2:]], [(size, 1)] * 3)
            equal(c.status().format, form)
            assert status_with(c, lambda s: s.frame == size)


def faces_come_and_go():
    two = spots((68, 100), (196, 100))
    clip = write("two.y4m", y4m([two] * 12 + [spots()] * 30 + [two] * 12))
    with Service(f"file:{clip}", "--loop=no", "--fast=yes") as g, g.connect() as c:
        c.subscribe()
        got = results(c, 50)
        counts = [len(r.faces) for r in got]
        equal((max(counts), min(counts)), (2, 0))
        first = {f.id for r in got[:12] for f in r.faces}
        equal(first, {1, 2})
        boxes = {f.id: f.box for f in next(r for r in got if len(r.faces) == 2).faces}
        equal(sorted(round(b[0]) for b in boxes.values()), [40, 168])


def the_end_of_a_file():
    with Service(f"file:{CLIP}", "--loop=no", "--fast=yes") as g, g.connect() as c:
        g.wait_up(c)
        c.subscribe()
        equal(len(results(c, 8)), 8)
        s = status_with(c, lambda s: s.state == "paused")
        equal((s.text, s.frames), ("the file is at its end", 8))
        equal(c.next(0.3), None)
        with g.connect() as other:  # who comes now finds it at its end too
            other.subscribe()
            equal(other.next(0.3), None)
        c.unsubscribe()
        assert status_with(c, lambda s: "nobody" in s.text, 5)
        c.subscribe()  # opened anew, it plays from the start
        equal([r.seq for r in results(c, 8)], list(range(9, 17)))


def the_camera_is_open_while_somebody_watches():
    with Service(f"file:{CLIP}") as g, g.connect() as c:
        s = g.wait_up(c)
        pid = s.worker_pid
        equal(is_open(c, pid, CLIP), False)
        with g.connect() as a, g.connect() as b:
            a.subscribe()
            b.subscribe(rate_hz=5)
            results(a, 2)
            equal(is_open(c, pid, CLIP), True)
            a.unsubscribe()
            time.sleep(1.2)
            equal(is_open(c, pid, CLIP), True)  # b is still there
        before, left = waited_s(g.process.pid) + waited_s(pid), time.monotonic()
        assert wait_for(lambda: not is_open(c, pid, CLIP), 4)
        took, others = time.monotonic() - left, waited_s(g.process.pid) + waited_s(pid) - before
        note(f"closed {took:.2f} s after the last client left, {others:.2f} of them without a processor")
        assert 0.9 < took < 2 + others, (took, others)
        s = status_with(c, lambda s: s.state == "paused")
        equal((s.worker_pid, s.worker_restarts), (pid, 0))
        opened = time.monotonic()
        c.subscribe()
        first = results(c, 1)[0]
        note(f"first result {first.publish_ns / 1e6 - opened * 1000:.0f} ms after the subscription")
        equal(is_open(c, pid, CLIP), True)


def holds(pid, path):
    """Whether a process has the file open. PermissionError: nobody may look."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.path.samefile(f"/proc/{pid}/fd/{fd}", path):
                return True
        except FileNotFoundError:  # closed meanwhile
            pass
    return False


def is_open(client, pid, path):
    """Whether the worker has the source open: by its descriptors, or by what it says where nobody may look at them."""
    try:
        return holds(pid, path)
    except PermissionError:  # it can't be dumped: CAP_SYS_PTRACE is needed
        return client.status().state == "running"


def waited_s(pid):
    """How long a process had to wait for a processor: of its threads, the one that waited longest."""
    folder, longest = f"/proc/{pid}/task", 0.0
    for thread in os.listdir(folder):
        try:
            with open(f"{folder}/{thread}/schedstat") as f:
                longest = max(longest, int(f.read().split()[1]) / 1e9)
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile, or the kernel does not say
            pass
    return longest


def gap_of_a_killed_worker(device):
    """Seconds from SIGKILL to the first result of the next worker, and how many of them others had the processors."""
    with Service(f"file:{CLIP}", device=device) as g, g.connect() as c, g.connect() as idle:
        s = g.wait_up(c)
        c.subscribe()
        last = results(c, 5)[-1]
        before = waited_s(g.process.pid)
        os.kill(s.worker_pid, signal.SIGKILL)
        killed = time.monotonic()
        while (r := results(c, 1)[0]).capture_ns / 1e9 < killed:
            last = r
        new = c.status()
        others = waited_s(g.process.pid) - before + waited_s(new.worker_pid)
        assert r.seq > last.seq
        equal((new.worker_restarts, new.clients, new.device_kind), (1, 2, s.device_kind))
        assert new.worker_pid != s.worker_pid
        idle.ping()
        return r.publish_ns / 1e9 - killed, others


def a_killed_worker_is_replaced():
    for device in ("ref", "cpu,ref"):
        for _ in range(3):
            gap, others = gap_of_a_killed_worker(device)
            note(f"{device}: results again {gap * 1000:.0f} ms after SIGKILL, {others * 1000:.0f} without a processor")
            if gap < GAP_LIMIT_S + 1.5 * others:  # that the killed one waits too, to end, is not seen
                break
        else:
            raise AssertionError(f"{gap:.2f} s without results")


def the_worker_stays_as_large_as_it_is():
    """Memory and descriptors over 300 frames, and over closing and opening the source."""
    def measure(pid):
        with open(f"/proc/{pid}/statm") as f:
            resident = int(f.read().split()[1]) * resource.getpagesize() // 1024
        try:
            return len(os.listdir(f"/proc/{pid}/fd")), resident
        except PermissionError:  # as in is_open
            return None, resident

    with Service(f"file:{CLIP}", "--fast=yes") as g, g.connect() as c:
        pid = g.wait_up(c).worker_pid
        c.subscribe()
        assert status_with(c, lambda s: s.frames >= 20, 120)
        before = measure(pid)
        assert status_with(c, lambda s: s.frames >= 320, 120)
        after = measure(pid)
        for _ in range(3):
            c.unsubscribe()
            assert status_with(c, lambda s: s.state == "paused")
            c.subscribe()
            assert status_with(c, lambda s: s.state == "running")
        assert status_with(c, lambda s: s.frames >= 330, 120)
        reopened = measure(pid)
        note(f"descriptors and resident KiB after 20 frames {before}, 320 {after}, opened 3 times more {reopened}")
        equal((after[0], reopened[0]), (before[0], before[0]))
        assert after[1] - before[1] < GROWTH_KIB and reopened[1] - before[1] < GROWTH_KIB, (before, after, reopened)
        equal(c.status().worker_pid, pid)


def a_stopped_worker_is_noticed():
    with Service(f"file:{CLIP}", "--heartbeat-s=1") as g, g.connect() as c:
        pid = g.wait_up(c).worker_pid
        c.subscribe()
        results(c, 2)
        os.kill(pid, signal.SIGSTOP)
        s = status_with(c, lambda s: s.worker_pid not in (0, pid) and s.frame != (0, 0), 20)
        equal(s.worker_restarts, 1)
        assert "gave no sign of life in time: killed" in g.log()
        results(c, 2)


def gazectl_agrees():
    with Service(f"file:{CLIP}") as g, g.connect() as c:
        g.wait_up(c)
        code, out, err = program("gazectl", "--socket", g.socket, "watch", "--json", "--count", "6", "--fields",
                                 "landmarks")
        equal((code, err), (0, ""))
        lines = [json.loads(line) for line in out.splitlines()]
        equal(len(lines), 6)
        face = lines[-1]["faces"][0]
        near(face["gaze_normalised"]["yaw"], YAW_DEG, 1.5)
        equal(len(face["landmarks"]), 78)
        code, out, _ = program("gazectl", "--socket", g.socket, "status")
        equal(code, 0)
        assert "file:clip.mjpeg" in out and "face_finder,landmarks,gaze_vit" in out, out


run([a_clip_becomes_results, every_kind_of_file, faces_come_and_go, the_end_of_a_file,
     the_camera_is_open_while_somebody_watches, a_killed_worker_is_replaced, a_stopped_worker_is_noticed,
     the_worker_stays_as_large_as_it_is, gazectl_agrees])
