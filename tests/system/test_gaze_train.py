#!/usr/bin/env python3
"""gaze-train and gaze-eval as programs: arguments, missing data, a short training on rendered faces that stops cleanly
on SIGTERM, leaves a checkpoint, and goes on from it."""
import os
import signal
import subprocess
import sys
import tempfile
import time

BIN = os.path.join(os.environ.get("O", "build"), "bin")
count = 0
failed = 0


def check(good, name, detail=""):
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {name}")
    if not good and detail:
        print("# " + detail.strip().replace("\n", "\n# "))


def run(program, *args):
    return subprocess.run([os.path.join(BIN, program), *args], capture_output=True, text=True, timeout=120)


def arguments():
    r = run("gaze-train", "--help")
    check(r.returncode == 0 and "--resume" in r.stdout, "gaze-train --help", r.stderr)
    r = run("gaze-train", "landmarks")
    check(r.returncode == 2 and "--data" in r.stderr, "gaze-train without data says what is needed", r.stderr)
    r = run("gaze-train", "nonsense", "--data", "/", "--out", "x", "--steps", "1")
    check(r.returncode == 2, "gaze-train refuses an unknown network", r.stderr)
    r = run("gaze-train", "landmarks", "--data", "/", "--out", "x", "--steps", "many")
    check(r.returncode == 2 and "many" in r.stderr, "gaze-train refuses a bad number", r.stderr)
    r = run("gaze-train", "landmarks", "--data", "/nonexistent", "--out", "x", "--steps", "1", "--device", "ref")
    check(r.returncode == 1 and "/nonexistent" in r.stderr, "gaze-train names the missing folder", r.stderr)
    r = run("gaze-eval", "--models", "/nonexistent")
    check(r.returncode == 2, "gaze-eval without pictures says what is needed", r.stderr)
    for option, value in (("--fold", "both"), ("--threshold", "1.5"), ("--scenes", "few")):
        r = run("gaze-eval", "--models", "/nonexistent", "--data", "/nonexistent", option, value)
        check(r.returncode == 2 and value in r.stderr, f"gaze-eval refuses a bad {option}", r.stderr)
    r = run("gaze-eval", "--models", "/nonexistent", "--renders", "/nonexistent", "--sweep")
    check(r.returncode == 2 and "--data" in r.stderr, "gaze-eval says what a sweep needs", r.stderr)
    r = run("gaze-eval", "--models", "/nonexistent", "--renders", "/nonexistent", "--device", "ref")
    check(r.returncode == 1 and "face_finder" in r.stderr, "gaze-eval names the missing weights", r.stderr)



def training(folder):
    data = os.path.join(folder, "faces")
    shared = "../shared/data"
    r = run("gaze-render", "--facekit", shared, "--portraits", shared, "--out", data, "--count", "12", "--seed", "3")
    check(r.returncode == 0, "faces to learn from", r.stderr)
    out, checkpoint = os.path.join(folder, "out"), os.path.join(folder, "check")
    command = [os.path.join(BIN, "gaze-train"), "gaze_vit", "--data", data, "--out", out, "--checkpoint", checkpoint,
               "--steps", "1000000", "--batch", "1", "--device", "ref"]
    with open(os.path.join(folder, "log"), "w+") as log:
        p = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(300):
            if "left" in open(log.name).read() or p.poll() is not None:
                break
            time.sleep(0.1)
        p.send_signal(signal.SIGTERM)
        status = p.wait(timeout=60)
        text = open(log.name).read()
    check(status == 0 and "stopped at step" in text, "SIGTERM ends a training cleanly", text)
    check(os.path.exists(checkpoint) and os.path.exists(out), "checkpoint and weights are there")
    step = int(text.rsplit("stopped at step ", 1)[-1].split(":")[0]) if "stopped at step" in text else 0
    r = run(*(["gaze-train"] + command[1:-6]), "--steps", "1000000", "--batch", "1", "--device", "ref", "--resume",
            checkpoint, "--stop-after", str(step + 2))
    check(f"stopped at step {step + 2}:" in r.stdout, "it goes on where it stopped", r.stdout + r.stderr)
    for other in (("--steps", "500000"), ("--steps", "1000000", "--lr", "0.5")):
        r = run(*(["gaze-train"] + command[1:-6]), *other, "--batch", "1", "--device", "ref", "--resume", checkpoint)
        check(r.returncode == 1 and "was made for 1000000 steps" in r.stderr, "not with another schedule", r.stdout + r.stderr)
    start = ["gaze-train", *command[1:-6], "--steps", "1", "--batch", "1", "--device", "ref", "--start"]
    r = run(*start, checkpoint)
    check(r.returncode == 0 and "lacks" not in r.stdout + r.stderr, "a new schedule starts from its weights",
          r.stdout + r.stderr)
    with open(checkpoint, "rb") as f: # the same without one tensor
        size = int.from_bytes(f.read(8), "little")
        header, data = f.read(size), f.read()
    lacking = os.path.join(folder, "lacking")
    with open(lacking, "wb") as f:
        f.write(size.to_bytes(8, "little") + header.replace(b'"side.bias"', b'"side.bios"') + data)
    r = run(*start, lacking)
    check(r.returncode == 0 and "lacks side.bias" in r.stdout + r.stderr, "what a checkpoint lacks is named",
          r.stdout + r.stderr)
    r = run(*start, os.path.join("models", "weights", "landmarks.safetensors"))
    check(r.returncode == 1 and "does not fit this network" in r.stderr, "weights of another network are refused", r.stderr)


def main():
    print("TAP version 13")
    arguments()
    if os.path.exists("../shared/data/facekit.safetensors"):
        with tempfile.TemporaryDirectory() as folder:
            training(folder)
    else:
        print(f"ok {count + 1} - training # SKIP ../shared/data is not there")
    print(f"1..{count + (not os.path.exists('../shared/data/facekit.safetensors'))}")
    return 1 if failed else 0


sys.exit(main())
