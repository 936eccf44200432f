#!/usr/bin/env python3
"""Runs test programs that print TAP and closes with one line: N passed, N failed, N skipped.

usage: run-tests.py [--jobs N] [--timeout S] [--label TEXT] [--totals FILE] PROGRAM...

A program that ends with another exit code than its TAP explains, that prints no test at all without saying why, fewer tests than
its plan (1..N; several add up) or no plan, or that runs out of time counts as one failure. What a failing program printed is shown;
skipped tests are listed with their reason. With
--totals the counts are added to FILE, so that several calls can share one closing line (--totals FILE alone prints it).
"""
import argparse
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import time

LINE = re.compile(r"^(ok|not ok)\b\s*\d*\s*-?\s*(.*)$")
PLAN = re.compile(r"^1\.\.(\d+)")
SKIP = re.compile(r"#\s*skip\b:?\s*(.*)", re.IGNORECASE)


def run(path, timeout):
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP")
    command = [sys.executable, path] if path.endswith(".py") else [path]
    start = time.monotonic()
    try:
        p = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=timeout)
        text, code = p.stdout.decode("utf-8", "replace"), p.returncode
    except subprocess.TimeoutExpired as e:
        text, code = (e.stdout or b"").decode("utf-8", "replace") + f"\nno end after {timeout} s\n", None
    passed = failed = tests = 0
    plan = None
    skipped = []
    for line in text.splitlines():
        m = PLAN.match(line)
        if m:
            plan = (plan or 0) + int(m.group(1))
        m = LINE.match(line)
        if not m:
            m = re.match(r"^(?:1\.\.0\s*)?#\s*skip\b:?\s*(.*)", line, re.IGNORECASE)
            if m:
                skipped.append(m.group(1))
            continue
        tests += 1
        skip = SKIP.search(line)  # cmocka writes a skipped test as "not ok N - name # SKIP"
        if skip:
            skipped.append(skip.group(1) or m.group(2))
        elif m.group(1) == "not ok":
            failed += 1
        else:
            passed += 1
    if (code != 0 and failed == 0) or (passed + failed == 0 and not skipped):
        failed += 1
        text += f"\n{path}: exit code {code}, {passed} tests passed\n"
    elif failed == 0 and tests and (plan is None or tests < plan):
        failed += 1
        text += f"\n{path}: {tests} tests, {'no plan' if plan is None else f'{plan} were planned'}\n"
    return path, passed, failed, skipped, text, time.monotonic() - start


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--jobs", type=int, default=1)
    a.add_argument("--timeout", type=float, default=240)
    a.add_argument("--label", default="")
    a.add_argument("--totals")
    a.add_argument("programs", nargs="*")
    a = a.parse_args()

    totals = {"passed": 0, "failed": 0, "skipped": 0}
    if a.totals and os.path.exists(a.totals):
        with open(a.totals) as f:
            totals = json.load(f)
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        for path, passed, failed, skipped, text, seconds in pool.map(lambda p: run(p, a.timeout), a.programs):
            name = os.path.basename(path)
            print(f"{'FAIL' if failed else 'ok  '} {a.label}{name}: {passed} passed, {failed} failed, "
                  f"{len(skipped)} skipped ({seconds:.1f} s)", flush=True)
            for reason in skipped:
                print(f"       skipped: {reason}")
            if failed:
                print("".join(f"       | {line}\n" for line in text.splitlines()[-60:]), flush=True)
            totals["passed"] += passed
            totals["failed"] += failed
            totals["skipped"] += len(skipped)
    if a.totals and a.programs:
        with open(a.totals, "w") as f:
            json.dump(totals, f)
        return 0  # the closing call tells
    print(f"{totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped")
    return 1 if totals["failed"] or totals["passed"] == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
