#!/usr/bin/env python3
"""A program whose output can't be written (a full disk) says so and fails: here standard output is /dev/full."""
import os
import subprocess

import tap

O = os.environ.get("O", "build")
PROGRAMS = ["npu-info", "npu-ops", "npu-asm", "npu-quantize", "npu-convert", "npu-bench", "npu-explain", "gaze-train", "gaze-eval",
            "gaze-render", "gaze-clip"]
OUTPUTS = [["npu-info"], ["npu-info", "--json"],
           ["npu-ops", "support", "--device", "ref", "--op", "relu"],
           ["npu-ops", "support", "--device", "ref", "--op", "relu", "--json"],
           ["npu-ops", "test", "--device", "ref", "--op", "relu", "--json"]]


def run(command, to):
    with open(to, "w") as out:
        p = subprocess.run([os.path.join(O, "bin", command[0]), *command[1:]], stdout=out, stderr=subprocess.PIPE,
                           universal_newlines=True)
    return p.returncode, p.stderr


def fails_only_when_full(command):
    if not os.path.exists("/dev/full"):
        raise tap.Skip("no /dev/full")
    code, said = run(command, "/dev/null")
    assert code == 0, "%s: exit code %d: %s" % (" ".join(command), code, said)
    code, said = run(command, "/dev/full")
    assert code == 1, "%s > /dev/full: exit code %d" % (" ".join(command), code)
    tap.equal(said, command[0] + ": the output can't be written\n")


def help_and_version():
    for program in PROGRAMS:
        fails_only_when_full([program, "--help"])
        fails_only_when_full([program, "--version"])


def results():
    for command in OUTPUTS:
        fails_only_when_full(command)


tap.run([help_and_version, results])
