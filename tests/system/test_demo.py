#!/usr/bin/env python3
"""scripts/demo.sh with made-up programs: its picture is of this run, and a failure of any of them is its own."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path[:0] = [os.path.dirname(__file__)]

from tap import equal, run  # noqa: E402

ANALYZE = """#!/bin/sh
case "$*" in
*v4l2*) exit 1 ;; # no camera
esac
[ -z "$NO_PICTURE" ] || { echo nothing; exit 0; }
while [ "$1" != --overlay ]; do shift; done
echo >"$2/clip.mjpeg-00075.png"
echo "frame 0"
echo "mean angular error 1.00 degrees"
exit "${ANALYZE_CODE:-0}"
"""
GAZECTL = """#!/bin/sh
echo '{"state":"running"}'
"""
GAZED = """#!/bin/sh
trap 'exit "${GAZED_CODE:-0}"' TERM
while :; do sleep 0.1; done
"""


def demo(**environment):
    """(exit code, output, names of the pictures) of a run in a folder with an old picture."""
    folder = tempfile.mkdtemp(prefix="gazed-demo-")
    try:
        os.makedirs(os.path.join(folder, "bin"))
        os.makedirs(os.path.join(folder, "demo"))
        for name, text in (("gaze-analyze", ANALYZE), ("gazectl", GAZECTL), ("gazed", GAZED)):
            with open(os.path.join(folder, "bin", name), "w") as f:
                f.write(text)
            os.chmod(f.name, 0o755)
        with open(os.path.join(folder, "demo", "z-old.png"), "w"):
            pass
        env = {**os.environ, "O": folder, "NO_PICTURE": "", **environment}
        p = subprocess.run(["scripts/demo.sh"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env,
                           timeout=100)
        return p.returncode, p.stdout, [n for n in os.listdir(os.path.join(folder, "demo")) if n.endswith(".png")]
    finally:
        shutil.rmtree(folder)


def the_picture_is_of_this_run():
    code, out, pictures = demo()
    equal((code, pictures), (0, ["clip.mjpeg-00075.png"]))
    lines = out.splitlines()
    equal(lines[-2], "mean angular error 1.00 degrees")
    assert lines[-1].startswith("overlay picture: ") and lines[-1].endswith("/demo/clip.mjpeg-00075.png"), out


def failures_are_told():
    for what, words in (({"GAZED_CODE": "3"}, "did not stop cleanly: exit code 3"),
                        ({"NO_PICTURE": "1"}, "no overlay picture was written"), ({"ANALYZE_CODE": "1"}, "")):
        code, out, _ = demo(**what)
        assert code != 0 and words in out, (what, code, out)


run([the_picture_is_of_this_run, failures_are_told])
