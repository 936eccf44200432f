#!/usr/bin/env python3
"""gazed with its real worker and bad input: each is told clearly, in the log and in the status, and the service goes on."""
import json
import os
import shutil
import struct
import sys
import time

sys.path[:0] = [os.path.dirname(__file__)]

from gazed_fixture import run_gazed, wait_for  # noqa: E402
from service_fixture import (CENTRE, SCRATCH, Service, jpeg, make_models, png, program, results, spots,  # noqa: E402
                             status_with, write, y4m)
from tap import equal, run  # noqa: E402

ONE = jpeg(spots(CENTRE))
CUT = ONE[:len(ONE) * 2 // 3]
CLIP = write("clip.mjpeg", ONE * 8)


def models_with(name, data):
    """A folder with the stand-in weights, one file of it replaced (None: missing)."""
    folder = os.path.join(SCRATCH, f"models-{time.monotonic_ns()}")
    shutil.copytree(make_models(), folder)
    path = os.path.join(folder, name + ".safetensors")
    os.remove(path)
    if data is not None:
        with open(path, "wb") as f:
            f.write(data)
    return folder


def weights(name):
    with open(os.path.join(make_models(), name + ".safetensors"), "rb") as f:
        return f.read()


def with_shape(data, tensor, shape):
    """A safetensors file in which `tensor` is a smaller one of another shape."""
    n = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:8 + n])
    begin = header[tensor]["data_offsets"][0]
    kept = header.pop(tensor)["data_offsets"]
    size = 4
    for d in shape:
        size *= d
    body = data[8 + n:]
    cut = kept[1] - kept[0] - size
    assert cut >= 0
    body = body[:begin + size] + body[kept[1]:]
    for key, value in header.items():
        if key != "__metadata__" and value["data_offsets"][0] >= kept[1]:
            value["data_offsets"] = [v - cut for v in value["data_offsets"]]
    header[tensor] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, begin + size]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def damaged_frames_in_a_clip():
    clip = write("damaged.mjpeg", ONE + CUT + ONE + ONE[:40] + ONE + b"\0" * 500 + ONE)
    with Service(f"file:{clip}", "--loop=no", "--fast=yes") as g, g.connect() as c:
        c.subscribe()
        got = results(c, 4)  # the whole ones, none of them spoilt by a neighbour
        equal([len(r.faces) for r in got[1:]], [1, 1, 1])
        assert status_with(c, lambda s: s.state == "paused" and s.frames == 4)
        assert "file:damaged.mjpeg: damaged frame (1 so far): truncated" in g.log(), g.log()
        equal(c.status().worker_restarts, 0)


def damaged_pictures_in_a_folder():
    write("mixed/1.png", png(spots(CENTRE))[:300])
    write("mixed/2.jpg", b"")
    write("mixed/3.jpg", b"this is text")
    folder = os.path.dirname(write("mixed/4.jpg", ONE))
    with Service(f"file:{folder}", "--fast=yes") as g, g.connect() as c:
        c.subscribe()
        results(c, 3)
        assert "file:mixed: damaged frame (1 so far)" in g.log(), g.log()
        equal(c.status().worker_restarts, 0)


def a_clip_cut_short_while_it_plays():
    """The same worker goes on with what is left, waits while nothing is, and plays what comes back."""
    for name, data in (("shrinks.mjpeg", ONE * 40), ("shrinks.y4m", y4m([spots(CENTRE)] * 40))):
        path = write(name, data)
        with Service(f"file:{path}", "--fps=100") as g, g.connect() as c:
            c.subscribe()
            results(c, 3, 60)
            pid = c.status().worker_pid
            os.truncate(path, len(data) * 3 // 10)  # 12 of 40 frames
            assert wait_for(lambda: "the file was cut short while it played" in g.log(), 5), g.log()
            results(c, 30)
            os.truncate(path, 0)
            s = status_with(c, lambda s: s.state == "waiting-for-camera")
            assert wait_for(lambda: "is empty (0 bytes)" in c.status().text, 5), c.status()
            with open(path, "r+b") as f:
                f.write(data)
            results(c, 3)
            s = status_with(c, lambda s: s.state == "running")
            equal((s.worker_pid, s.worker_restarts), (pid, 0))
            assert g.log().count("warning") <= 6, g.log()


def a_clip_cut_short_that_is_shown_once():
    path = write("once.mjpeg", ONE * 100)
    with Service(f"file:{path}", "--fps=50", "--loop=no") as g, g.connect() as c:
        c.subscribe()
        results(c, 3, 60)
        os.truncate(path, len(ONE) * 2)
        s = status_with(c, lambda s: s.state == "paused")
        equal((s.text, s.worker_restarts), ("the file is at its end", 0))
        assert "of 100 can't be read: the file was cut short while it played" in g.log(), g.log()


def nothing_but_damaged_pictures():
    """Told once, and tried again less and less; mended, results come."""
    write("useless/1.png", png(spots(CENTRE))[:300])
    write("useless/2.jpg", b"")
    bad = write("useless/3.jpg", b"\xff\xd8\xffthis is no picture")
    with Service(f"file:{os.path.dirname(bad)}", "--fps=20") as g, g.connect() as c:
        c.subscribe()
        s = status_with(c, lambda s: s.state == "waiting-for-camera", 60)
        assert s.text.startswith("waiting for camera: file:useless: none of its 3 frames can be read: "), s.text
        begin, log = time.monotonic(), g.log()
        while time.monotonic() - begin < 4:  # the state stays, though it is tried several times
            equal(c.status().state, "waiting-for-camera")
            time.sleep(0.05)
        equal(g.log(), log)
        counts = [log.count(w) for w in ("gazed-worker: warning: waiting", "damaged frame", "no frame for too long")]
        equal(counts, [1, 1, 0])
        with open(bad, "wb") as f:
            f.write(ONE)
        results(c, 2, 15)
        s = status_with(c, lambda s: s.state == "running")
        equal((s.worker_restarts, s.text), (0, ""))


def a_source_that_is_no_picture():
    for name, data, words in (("empty.mjpeg", b"", "is empty (0 bytes)"), ("text.jpg", b"hello " * 50, "neither JPEG"),
                              ("cut.jpg", CUT, "truncated or damaged"), ("bad.y4m", b"YUV4MPEG2 W0\n", "Y4M header")):
        path = write(name, data)
        with Service(f"file:{path}") as g, g.connect() as c:
            c.subscribe()
            s = status_with(c, lambda s: s.state == "waiting-for-camera", 20)
            assert s.text.startswith("waiting for camera: "), s.text
            assert words in g.log(), g.log()
            equal((s.worker_restarts, g.process.poll()), (0, None))


def a_source_that_appears_later():
    path = os.path.join(SCRATCH, "later.mjpeg")
    with Service(f"file:{path}") as g, g.connect() as c:
        c.subscribe()
        s = status_with(c, lambda s: s.state == "waiting-for-camera", 20)
        assert "No such file" in s.text, s.text
        code, out, _ = program("gazectl", "--socket", g.socket, "status")
        assert code == 0 and "waiting for camera: can't open" in out, out
        with open(path + ".new", "wb") as f:
            f.write(ONE * 4)
        os.rename(path + ".new", path)
        begin = time.monotonic()
        results(c, 3)
        assert time.monotonic() - begin < 4
        equal(c.status().state, "running")
        equal(g.log().count("gazed-worker: warning: waiting for camera"), 1)  # not at every try


def no_camera_at_all():
    with Service("v4l2:/dev/video-none") as g, g.connect() as c:
        c.subscribe()
        s = status_with(c, lambda s: s.state == "waiting-for-camera", 20)
        assert s.text.startswith("waiting for camera: ") and "/dev/video-none" in s.text, s.text
        c.ping()
        equal(s.worker_restarts, 0)


def the_networks_fail(models, *words):
    """The message names what is wrong in the log and the status; clients can connect; mended, results come."""
    with Service(f"file:{CLIP}", device="cpu,ref", models=models) as g, g.connect() as c:
        c.subscribe()
        s = status_with(c, lambda s: s.state == "degraded", 60)
        for word in words:
            assert word in s.text, s.text
            assert word in g.log(), g.log()
        code, out, _ = program("gazectl", "--socket", g.socket, "status")
        assert code == 0 and words[0] in out.splitlines()[0], out
        equal((c.next(0.2), s.worker_restarts, g.process.poll()), (None, 0, None))
        for name in ("face_finder", "landmarks", "gaze_vit"):
            shutil.copy(os.path.join(make_models(), name + ".safetensors"), models)
        results(c, 2, 60)
        equal(g.log().count("the networks can't be loaded"), 1)


def a_missing_model():
    the_networks_fail(models_with("landmarks", None), "landmarks.safetensors", "No such file or directory")


def a_model_with_a_wrong_shape():
    data = with_shape(weights("gaze_vit"), "head.weight", [8, 2])
    the_networks_fail(models_with("gaze_vit", data), "head.weight", "[8,2]", "[16,2]")


def a_model_that_is_cut_short_or_no_model():
    for data in (weights("face_finder")[:5000], b"not safetensors at all", b""):
        with Service(f"file:{CLIP}", models=models_with("face_finder", data)) as g, g.connect() as c:
            s = status_with(c, lambda s: s.state == "degraded", 20)
            assert "face_finder" in s.text, s.text
            equal(s.worker_restarts, 0)


def an_unknown_key():
    path = write("gazed.conf", b"source = file:/tmp\nmodle_dir = /tmp\n")
    code, out = run_gazed(f"--config={path}")
    equal(code, 78)
    assert 'unknown key "modle_dir", did you mean "model_dir"?' in out and "gazed.conf:2" in out, out


def a_garbage_client():
    with Service(f"file:{CLIP}") as g, g.connect() as c:
        c.subscribe()
        results(c, 2)
        for data in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 300, b"\0" * 64, os.urandom(200)):
            bad = g.raw(hello=False)
            bad.send(data)
            assert bad.ended(4)
            bad.close()
        got = results(c, 5)
        equal([b.seq - a.seq - b.dropped for a, b in zip(got, got[1:])], [1] * 4)
        assert wait_for(lambda: c.status().clients == 1, 3)
        equal(c.status().worker_restarts, 0)


run([damaged_frames_in_a_clip, damaged_pictures_in_a_folder, a_clip_cut_short_while_it_plays,
     a_clip_cut_short_that_is_shown_once, nothing_but_damaged_pictures, a_source_that_is_no_picture,
     a_source_that_appears_later, no_camera_at_all, a_missing_model, a_model_with_a_wrong_shape,
     a_model_that_is_cut_short_or_no_model, an_unknown_key, a_garbage_client])
