#!/usr/bin/env python3
"""gazectl: its output, its exit codes and its advice, against a server of golden bytes."""
import json
import os
import subprocess
import sys

sys.path[:0] = [os.path.dirname(__file__)]

from fake_gazed import GET_STATUS, HELLO, SUBSCRIBE, FakeGazed, error, golden  # noqa: E402
from tap import equal, run  # noqa: E402

GAZECTL = os.path.join(os.environ.get("O", "build"), "bin", "gazectl")


def gazectl(*args, path=None):
    env = {k: v for k, v in os.environ.items() if k != "GAZED_SOCKET"}
    if path:
        env["GAZED_SOCKET"] = path
    p = subprocess.run([GAZECTL, *args], capture_output=True, text=True, timeout=20, env=env)
    return p.returncode, p.stdout, p.stderr


def status():
    with FakeGazed() as server:
        code, out, err = gazectl("status", path=server.path)
    equal((code, err), (0, ""))
    for line in ("state     degraded: läuft auf einem langsameren Gerät", "source    v4l2:/dev/video0  MJPG 1280x720",
                 "rate      30.0 results/s", "no better device: -EACCES: not in group render", "worker    pid 4242, 2 restarts",
                 "uptime    1:00:00  (gazed 0.1.0)", "21.0 ms median, 38.0 ms p99"):
        assert line in out, (line, out)


def status_json():
    with FakeGazed(slice_=100) as server:
        code, out, err = gazectl("--socket", server.path, "status", "--json")
    equal((code, err, json.loads(out)["clients"]), (0, "", 3))


def watch():
    with FakeGazed(pushes=[golden("result_one"), golden("result_empty")] * 3) as server:
        code, out, err = gazectl("watch", "--count", "3", path=server.path)
        equal(server.requests[1][2][:12].hex(), "010000000000000000000000")
    equal((code, err), (0, ""))
    lines = out.splitlines()
    equal(len(lines), 3)
    equal(lines[0], "frame 5000000001  face 7  yaw  +14.5  pitch   -7.2  sigma  3.2  head   +4.5   -1.8   +0.6   613 mm  "
                    "blink 0.12 0.06  screen 0.25 0.75")
    equal(lines[1], "frame 1  no face")


def watch_json():
    with FakeGazed(pushes=[golden("result_json")] * 5) as server:
        code, out, _ = gazectl("watch", "--json", "--count=2", "--rate", "7.5", "--fields", "landmarks,zones",
                               "--socket", server.path)
        equal(server.requests[1][2].hex(), "01000000" "05000000" "4c1d0000" "01000000")
    equal((code, len(out.splitlines())), (0, 2))
    equal(json.loads(out.splitlines()[1])["faces"][0]["id"], 7)


def watch_for_seconds():
    with FakeGazed(pushes=[golden("result_one")]) as server:
        code, out, err = gazectl("watch", "--seconds", "0.3", path=server.path)
    equal((code, len(out.splitlines()), err), (0, 1, ""))
    with FakeGazed() as server:
        code, out, err = gazectl("watch", "--seconds", "0.3", path=server.path)
    equal((code, out), (1, ""))
    assert "no result came; gazed is degraded" in err, err


def connection_lost():
    with FakeGazed(pushes=[golden("result_one"), golden("bye")], close_after_push=True) as server:
        code, out, err = gazectl("watch", path=server.path)
    equal((code, len(out.splitlines())), (1, 1))
    assert "the service stops" in err and err.startswith("gazectl: "), err


def refused():
    with FakeGazed({SUBSCRIBE: lambda s, p: error(6, s, b"no such topic"), GET_STATUS: lambda s, p: error(8, s)}) as server:
        code, _, err = gazectl("watch", path=server.path)
        equal((code, "no such topic" in err), (1, True))
        code, _, err = gazectl("status", path=server.path)
        equal((code, "refused" in err), (1, True))


def no_connection():
    code, out, err = gazectl("status", "--socket", "/tmp/there-is-no-such-socket")
    equal((code, out), (3, ""))
    assert "is gazed running? try: systemctl start gazed" in err, err
    code, _, err = gazectl("status", "--socket", "/" + "x" * 200)
    equal((code, "too long" in err), (3, True))
    for answer, advice in ((lambda s, p: error(7, 0), "as many clients as it takes"),
                           (lambda s, p: error(3, 0), "this version of gaze wire"),
                           (lambda s, p: b"HTTP/1.1 400 Bad Request\r\n\r\n", "this version of gaze wire"),
                           (lambda s, p: b"", "does not answer")):
        with FakeGazed({HELLO: answer}) as server:
            code, _, err = gazectl("watch", path=server.path)
        equal((code, advice in err), (3, True))


def version():
    code, out, _ = gazectl("version", "--socket", "/tmp/there-is-no-such-socket")
    equal((code, out.split()[0]), (0, "gazectl"))
    with FakeGazed() as server:
        equal(gazectl("version", path=server.path)[1].splitlines()[1], "gazed 0.1.0")
    code, out, err = gazectl("--version")
    equal((code, out.split()[0], out.count("\n"), err), (0, "gazectl", 1, ""))


def lost_output_is_a_failure():
    with FakeGazed(pushes=[golden("result_one")] * 3) as server, open("/dev/full", "w") as full:
        for args in (["status"], ["status", "--json"], ["watch", "--count", "2"], ["watch", "--json", "--count", "2"],
                     ["version"], ["--version"], ["--help"]):
            p = subprocess.run([GAZECTL, *args], stdout=full, stderr=subprocess.PIPE, text=True, timeout=20,
                               env=dict(os.environ, GAZED_SOCKET=server.path))
            equal((args, p.returncode, p.stderr.splitlines()[-1]), (args, 1, "gazectl: the output could not be written"))


def wrong_usage():
    for args in ([], ["dance"], ["status", "x"], ["status", "--count", "1"], ["watch", "--count", "0"], ["--nonsense"],
                 ["watch", "--count", "1.5"], ["watch", "--count", "many"], ["watch", "--rate", "0"], ["version", "--json"],
                 ["watch", "--rate", "1000.1"], ["watch", "--seconds", "-1"], ["watch", "--seconds", "nan"],
                 ["watch", "--json", "--fields", "nose"], ["watch", "--fields", "aus"], ["watch", "--rate"]):
        code, out, err = gazectl(*args)
        equal((args, code, out), (args, 2, ""))
        assert "Try: gazectl --help" in err, (args, err)
    code, out, _ = gazectl("--help")
    equal((code, "Exit codes" in out), (0, True))


run([status, status_json, watch, watch_json, watch_for_seconds, connection_lost, refused, no_connection, version,
     lost_output_is_a_failure, wrong_usage])
