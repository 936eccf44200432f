#!/usr/bin/env python3
"""gaze-render as a program: the same set from any number of threads, labels in order, clear errors."""
import json
import math
import os
import subprocess
import sys
import tempfile

PROGRAM = os.path.join(os.environ.get("O", "build"), "bin", "gaze-render")
DATA = os.path.join("..", "shared", "data")
checks = []


def check(name, passed, detail=""):
    checks.append(passed)
    print(("ok" if passed else "not ok"), len(checks), "-", name)
    if not passed and detail:
        print("# " + str(detail).strip().replace("\n", "\n# "))


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=120)


def read_set(folder):
    return {name: open(os.path.join(folder, name), "rb").read() for name in sorted(os.listdir(folder))}


def check_usage():
    result = run("--help")
    check("--help explains and succeeds", result.returncode == 0 and "--facekit" in result.stdout, result)
    for arguments, word in (
        (("--facekit", DATA, "--out", "x"), "--count"),
        (("--facekit", DATA, "--out", "x", "--count", "0"), "--count 0"),
        (("--facekit", DATA, "--out", "x", "--count", "7q"), "7q"),
        (("--facekit", DATA, "--out", "x", "--count", "1", "--size", "63"), "--size 63"),
        (("--facekit", DATA, "--out", "x", "--count", "1", "--size", "1025"), "--size 1025"),
        (("--facekit", DATA, "--out", "x", "--count", "1", "--mode", "oil"), "oil"),
        (("--facekit", DATA, "--out", "x", "--count", "1", "--mode", "photo"), "--portraits"),
        (("--facekit", DATA, "--out", "x", "--count", "1", "--max-yaw", "76"), "--max-yaw 76"),
        (("--facekit", DATA, "--out", "x", "--count", "1", "stray"), "unexpected"),
    ):
        result = run(*arguments)
        check("usage error names " + word, result.returncode == 2 and word in result.stderr, result)
    result = run("--facekit", "/nonexistent", "--out", "x", "--count", "1", "--seed", "1")
    check("a missing model is named", result.returncode == 1 and "/nonexistent" in result.stderr, result)


def check_sets(folder):
    one, two, part = (os.path.join(folder, name) for name in ("one", "two", "part"))
    common = ("--facekit", DATA, "--seed", "7", "--size", "64")
    sheet = os.path.join(folder, "sheet.png")
    result = run(*common, "--out", one, "--count", "20", "--jobs", "1", "--sheet", sheet)
    check("a set is made", result.returncode == 0, result)
    check("the contact sheet is a PNG", open(sheet, "rb").read(4) == b"\x89PNG")
    run(*common, "--out", two, "--count", "20", "--jobs", "3")
    check("any number of threads writes the same bytes", read_set(one) == read_set(two))
    run(*common, "--out", part, "--start", "13", "--count", "5")
    full, some = read_set(one), read_set(part)
    check("a part is the same as in the whole", all(full[n] == some[n] for n in some if n.endswith(".jpg")) and len(some) == 6)
    lines = [json.loads(line) for line in full["labels.jsonl"].decode().splitlines()]
    check("one line a picture, in order", [line["index"] for line in lines] == list(range(20)))
    keys = {"file", "identity", "mode", "size", "camera", "face_origin_mm", "eye_origin_mm", "gaze", "gaze_normalised",
            "head", "landmarks", "landmarks_visible", "iris", "box", "au", "blink", "glasses", "grey", "degradation"}
    check("lines have all keys", all(keys <= set(line) for line in lines))
    normalised = [line["gaze_normalised"] for line in lines]
    check("the normalised gaze is a vector and its angles",
          all(abs(math.asin(-g["vector"][1]) - math.radians(g["pitch_deg"])) < 1e-4 and
              abs(math.atan2(-g["vector"][0], -g["vector"][2]) - math.radians(g["yaw_deg"])) < 1e-4 for g in normalised))
    check("68 + 10 points", all(len(line["landmarks"]) == 68 and len(line["iris"]) == 10 for line in lines))
    check("files exist", all(line["file"] in full for line in lines))
    blocked = os.path.join(folder, "blocked")
    open(blocked, "w").close()
    result = run(*common, "--out", blocked, "--count", "1")
    check("an unusable folder is named", result.returncode == 1 and "blocked" in result.stderr, result)


def main():
    check_usage()
    if os.path.exists(os.path.join(DATA, "facekit.json")):
        with tempfile.TemporaryDirectory() as folder:
            check_sets(folder)
    else:
        print("# SKIP no " + DATA)
    print("1..%d" % len(checks))
    return 0 if all(checks) else 1


sys.exit(main())
