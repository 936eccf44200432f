#!/usr/bin/env python3
"""scripts/run-tests.py: what counts as a failure of a test program. Each case is a small script that prints TAP."""
import os
import subprocess
import sys
import tempfile

import tap

RUNNER = os.path.join("scripts", "run-tests.py")


def verdict(lines, code=0, *flags):
    """The closing line and exit code for one program that prints these lines and ends so."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "program.py")
        with open(path, "w") as f:
            f.write("import sys\nprint(%r)\nsys.exit(%d)\n" % ("\n".join(lines), code))
        p = subprocess.run([sys.executable, RUNNER, *flags, path], stdout=subprocess.PIPE, universal_newlines=True)
    return p.stdout.splitlines()[-1], p.returncode


def all_of_the_plan_passes():
    tap.equal(verdict(["1..2", "ok 1 - a", "ok 2 - b"]), ("2 passed, 0 failed, 0 skipped", 0))
    # two groups of cmocka, one with a skipped test
    tap.equal(verdict(["1..1", "ok 1 - a", "1..2", "ok 1 - b", "not ok 2 - c # SKIP why"]), ("2 passed, 0 failed, 1 skipped", 0))


def less_than_the_plan_fails():
    tap.equal(verdict(["1..5", "ok 1 - a", "ok 2 - b"]), ("2 passed, 1 failed, 0 skipped", 1))
    tap.equal(verdict(["1..1", "ok 1 - a", "1..2", "ok 1 - b"]), ("2 passed, 1 failed, 0 skipped", 1))
    tap.equal(verdict(["1..3", "ok 1 - a", "ok 2 - b # SKIP why"]), ("1 passed, 1 failed, 1 skipped", 1))


def no_plan_fails():
    tap.equal(verdict(["ok 1 - a", "ok 2 - b"]), ("2 passed, 1 failed, 0 skipped", 1))


def no_test_fails_unless_it_says_why():
    tap.equal(verdict(["1..0"]), ("0 passed, 1 failed, 0 skipped", 1))
    tap.equal(verdict(["hello"]), ("0 passed, 1 failed, 0 skipped", 1))
    # skipped, but nothing passed: a run of nothing is no success
    tap.equal(verdict(["1..0 # SKIP no data"]), ("0 passed, 0 failed, 1 skipped", 1))


def failures_and_exit_codes_fail():
    tap.equal(verdict(["1..2", "ok 1 - a", "not ok 2 - b"], 1), ("1 passed, 1 failed, 0 skipped", 1))
    tap.equal(verdict(["1..2", "ok 1 - a", "not ok 2 - b"], 0), ("1 passed, 1 failed, 0 skipped", 1))
    tap.equal(verdict(["1..1", "ok 1 - a"], 3), ("1 passed, 1 failed, 0 skipped", 1))


tap.run([all_of_the_plan_passes, less_than_the_plan_fails, no_plan_fails, no_test_fails_unless_it_says_why, failures_and_exit_codes_fail])
