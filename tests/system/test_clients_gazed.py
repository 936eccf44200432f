#!/usr/bin/env python3
"""gazectl, the libgaze example and gaze.py against a real gazed, whose worker is a fake that sends results."""
import json
import os
import subprocess
import sys
import time

sys.path[:0] = [os.path.dirname(__file__)]

from gazed_fixture import Gazed, wait_for  # noqa: E402
from tap import equal, run  # noqa: E402

import gaze  # noqa: E402  (the fixture makes it importable)

BIN = os.path.join(os.path.abspath(os.environ.get("O", "build")), "bin")


def program(name, *args):
    p = subprocess.run([os.path.join(BIN, name), *args], capture_output=True, text=True, timeout=30)
    return p.returncode, p.stdout, p.stderr


def gazectl_status():
    with Gazed() as g:
        with g.connect() as c:
            g.wait_up(c)
        code, out, err = program("gazectl", "--socket", g.socket, "status")
        equal((code, err, out.splitlines()[0].split()[0]), (0, "", "state"))
        code, out, _ = program("gazectl", "--socket", g.socket, "status", "--json")
        status = json.loads(out)
        equal((code, status["clients"]), (0, 1))
        assert status["state"] in gaze.STATES, status
        equal(program("gazectl", "--socket", g.socket, "version")[1].splitlines()[1].split()[0], "gazed")


def gazectl_watch():
    with Gazed() as g:
        code, out, err = program("gazectl", "--socket", g.socket, "watch", "--count", "5")
        equal((code, err), (0, ""))
        assert len(out.splitlines()) >= 5 and all(line.startswith("frame ") for line in out.splitlines()), out
        code, out, err = program("gazectl", "--socket", g.socket, "watch", "--json", "--count", "5", "--fields",
                                 "landmarks,aus,zones")
        equal((code, err), (0, ""))
        results = [json.loads(line) for line in out.splitlines()]
        equal(len(results), 5)
        seqs = [r["seq"] for r in results]
        equal(seqs, sorted(set(seqs)))
        for r in results:
            assert r["t_publish_ns"] >= r["t_ns"] > 0, r


def rate_is_kept():
    with Gazed() as g, g.connect() as c:
        results = c.results(timeout=5, rate_hz=5)
        next(results)
        begin = time.monotonic()
        for _ in range(4):
            next(results)
        assert 0.5 <= time.monotonic() - begin <= 2, time.monotonic() - begin


def binary_and_json_agree():
    """Two clients of the same frames: what JSON rounds is what binary has."""
    with Gazed(script={"landmarks": True}) as g, g.connect() as a, g.connect() as b:
        a.subscribe(landmarks=True)
        b.subscribe(landmarks=True, as_json=True)
        binary, text = {}, {}

        def common():
            r, j = a.next(1), b.next(1)
            binary.update({r.seq: r} if r else {})
            text.update({j["seq"]: j} if j else {})
            return sorted(set(binary) & set(text))

        seq = wait_for(common)[0]
        r, j = binary[seq], text[seq]
        equal((r.capture_ns, list(r.frame), len(r.faces)), (j["t_ns"], j["frame"], len(j["faces"])))
        equal([len(f.landmarks) for f in r.faces], [78])
        for f, g_ in zip(r.faces, j["faces"]):
            equal((f.id, len(f.landmarks)), (g_["id"], len(g_["landmarks"])))
            assert f.yaw is None or abs(f.yaw - g_["gaze"]["yaw"]) < 0.00051


def libgaze_example():
    with Gazed() as g:
        p = subprocess.Popen([os.path.join(BIN, "..", "examples", "gaze-watch"), g.socket], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        with g.connect() as c:
            assert wait_for(lambda: c.status().frames > 3)
            equal(c.status().clients, 2)
        g.stop()
        equal((p.wait(5), p.stderr.read().startswith("the connection is lost")), (1, True))
        p.stdout.close()
        p.stderr.close()


def stop_is_told():
    with Gazed() as g, g.connect() as c:
        c.subscribe()
        g.stop()
        try:
            while c.next(5):
                pass
            raise AssertionError("no word of the end")
        except gaze.GazeError as e:
            assert str(e), e


def invalid_requests():
    with Gazed() as g, g.connect() as c:
        try:
            c._request(gaze.Subscribed, lambda s: gaze.encode(gaze.SUBSCRIBE, s, bytes(16)), 3)
            raise AssertionError("a subscription to nothing was granted")
        except gaze.Refused as e:
            equal(e.code, 6)
        granted = c._request(gaze.Subscribed, lambda s: gaze.encode_subscribe(s, 0xFFFFFFFF, 0xFFFFFFFF), 3)
        equal((granted.topics, granted.fields), (3, 7))
        equal(c.ping().cookie > 0, True)


run([gazectl_status, gazectl_watch, rate_is_kept, binary_and_json_agree, libgaze_example, stop_is_told,
     invalid_requests])
