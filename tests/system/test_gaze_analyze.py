#!/usr/bin/env python3
"""gaze-analyze: pictures, folders, clips, overlays, bad files, wrong usage; with networks that take a white spot for a face."""
import json
import os
import subprocess
import sys

sys.path[:0] = [os.path.dirname(__file__)]

from service_fixture import (BIN, CENTRE, CENTRE_BOX, PITCH_DEG, SCRATCH, YAW_DEG, is_png, jpeg, make_models,  # noqa: E402
                             png, program, spots, write, y4m)
from tap import equal, run  # noqa: E402

ONE = jpeg(spots(CENTRE))
KEYS = ["file", "face", "box", "score", "landmarks", "head", "gaze", "gaze_normalised", "sigma_deg", "blink", "origin_mm"]
KEYS_OF_CLIPS = KEYS + ["frame", "id", "gaze_raw"]


def analyze(*options, device="ref"):
    return program("gaze-analyze", "--model-dir", make_models(), "--device", device, *options)


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def near(got, want, slack):
    assert abs(got - want) <= slack, f"{got} is not within {slack} of {want}"


def the_json_of_a_face():
    path = write("one.png", png(spots(CENTRE)))
    for device in ("ref", "cpu"):
        code, out, err = analyze("--json", path, device=device)
        equal((code, err, out.count("\n")), (0, "", 1))
        face = json.loads(out)
        equal(list(face), KEYS)
        equal((face["file"], face["face"]), (path, 0))
        for got, want in zip(face["box"], CENTRE_BOX):
            near(got, want, 1)
        assert 0.9 < face["score"] <= 1
        equal([len(p) for p in face["landmarks"]], [2] * 78)
        for x, y in face["landmarks"]:
            assert 90 < x < 200 and 60 < y < 170, (x, y)
        equal([sorted(face[k]) for k in ("head", "gaze", "gaze_normalised", "blink")],
              [["pitch", "roll", "yaw"], ["pitch", "vector", "yaw"], ["pitch", "yaw"], ["left", "right"]])
        near(face["head"]["roll"], 0, 2)
        near(sum(v * v for v in face["gaze"]["vector"]), 1, 1e-3)
        near(face["gaze_normalised"]["yaw"], YAW_DEG, 1.5)
        near(face["gaze_normalised"]["pitch"], PITCH_DEG, 1.5)
        near(face["sigma_deg"], 2.86, 0.1)
        near(face["blink"]["left"], 0.881, 0.01)
        near(face["blink"]["right"], 0.119, 0.01)


def several_faces_and_none():
    two = write("two.jpg", jpeg(spots((68, 100), (196, 100))))
    none = write("none.jpg", jpeg(spots()))
    code, out, err = analyze("--json", two, none)
    equal((code, err), (0, ""))
    equal([(o["file"], o["face"]) for o in objects(out)], [(two, 0), (two, 1)])
    equal(sorted(round(o["box"][0]) for o in objects(out)), [40, 168])
    code, out, _ = analyze(two, none)
    equal(code, 0)
    equal([line.split(": ")[0] for line in out.splitlines()], [two, two, none])
    assert out.splitlines()[-1].endswith("no face"), out


def a_folder():
    write("folder/b.jpg", ONE)
    write("folder/a.PNG", png(spots(CENTRE)))
    folder = os.path.dirname(write("folder/notes.txt", b"no picture"))
    code, out, err = analyze("--json", folder)
    equal((code, err, [os.path.basename(o["file"]) for o in objects(out)]), (0, "", ["a.PNG", "b.jpg"]))
    empty = os.path.join(SCRATCH, "empty")
    os.makedirs(empty)
    code, out, err = analyze("--json", empty)
    equal((code, out), (1, ""))
    assert "no .jpg, .jpeg or .png" in err, err


def clips():
    for path in (write("clip.mjpeg", ONE * 5), write("clip.y4m", y4m([spots(CENTRE)] * 5)),
                 write("single.y4m", y4m([spots(CENTRE)]))):
        code, out, err = analyze("--json", path)
        frames = 1 if "single" in path else 5
        equal((code, err, [(o["frame"], o["id"], o["face"]) for o in objects(out)]),
              (0, "", [(i, 1, 0) for i in range(frames)]))
        assert all(list(o) == KEYS_OF_CLIPS for o in objects(out)), out
    code, out, _ = analyze("--json", "--frames", "2", os.path.join(SCRATCH, "clip.y4m"))
    equal((code, len(objects(out))), (0, 2))
    code, out, _ = analyze("--json", write("two.y4m", y4m([spots((68, 100), (196, 100))] * 2)))
    equal((code, sorted((o["frame"], o["face"]) for o in objects(out))), (0, [(0, 0), (0, 1), (1, 0), (1, 1)]))


def long_paths():
    """A file whose path is too long to be opened is told, and the others of its folder are read."""
    names = ["d" * 200] * 19
    folder, here = os.path.join(SCRATCH, *names), os.getcwd()
    try:
        os.chdir(SCRATCH)
        for name in names:
            os.mkdir(name)
            os.chdir(name)
        for name in ("a.jpg", "b" * 246 + ".jpg"):
            with open(name, "wb") as f:
                f.write(ONE)
    finally:
        os.chdir(here)
    code, out, err = analyze("--json", folder)
    equal((code, [o["file"] for o in objects(out)]), (1, [folder + "/a.jpg"]))
    equal((err.count("\n"), err.endswith("b.jpg: File name too long\n")), (1, True))


def lost_output_is_a_failure():
    picture = write("one.png", png(spots(CENTRE)))
    for options in ((picture,), ("--json", picture), ("--help",), ("--version",)):
        with open("/dev/full", "w") as full:
            command = [os.path.join(BIN, "gaze-analyze"), "--model-dir", make_models(), "--device", "ref", *options]
            p = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        equal((options, p.returncode, p.stderr), (options, 1, "gaze-analyze: the output could not be written\n"))


def bad_files_do_not_stop_the_rest():
    bad = [(write("empty.jpg", b""), "0 bytes|empty"), (write("cut.jpg", ONE[:len(ONE) // 2]), "truncated"),
           (write("text.jpg", b"this is text\n" * 20), "neither|not"),
           (write("cut.png", png(spots(CENTRE))[:400]), ""), (os.path.join(SCRATCH, "missing.png"), "No such file"),
           (write("head.jpg", ONE[:30]), "")]
    good = write("good.jpg", ONE)
    code, out, err = analyze("--json", *[p for p, _ in bad], good)
    equal((code, [o["file"] for o in objects(out)]), (1, [good]))
    lines = err.splitlines()
    equal(len(lines), len(bad))
    for (path, words), line in zip(bad, lines):
        assert line.startswith(f"gaze-analyze: {path}: "), line
        assert any(w in line for w in words.split("|")), line


def damaged_frames_of_a_clip():
    path = write("damaged.mjpeg", ONE + ONE[:len(ONE) // 2] + ONE)
    code, out, err = analyze("--json", path)
    equal((code, [o["frame"] for o in objects(out)]), (1, [0, 2]))
    assert "frame 1: truncated" in err and "1 of 3 frames are damaged" in err, err


def overlays():
    folder = os.path.join(SCRATCH, "overlays")
    picture = write("good.jpg", ONE)
    clip = write("clip.mjpeg", ONE * 5)
    code, _, err = analyze("--overlay", folder, "--every", "2", picture, clip)
    equal((code, err), (0, ""))
    equal(sorted(os.listdir(folder)), ["clip.mjpeg-00000.png", "clip.mjpeg-00002.png", "clip.mjpeg-00004.png",
                                       "good.jpg.png"])
    for name in os.listdir(folder):
        equal(is_png(os.path.join(folder, name)), (768, 576))  # small pictures are enlarged
    plain = os.path.join(SCRATCH, "plain")
    analyze("--overlay", plain, write("dark.png", png(spots())))
    sizes = [os.path.getsize(os.path.join(folder, "good.jpg.png")), os.path.getsize(os.path.join(plain, "dark.png.png"))]
    assert sizes[0] > 2 * sizes[1], sizes  # something is drawn
    code, _, err = analyze("--overlay", picture + "/x", picture)
    equal(code, 2)
    code, _, err = analyze("--overlay", picture, picture)  # a file is in the way
    assert code != 0 and "overlay" in err, (code, err)


def errors_against_the_truth():
    clip = write("clip.mjpeg", ONE * 5)
    code, out, _ = analyze("--json", clip)
    x, y, z = objects(out)[0]["gaze"]["vector"]
    truth = write("truth.jsonl", "".join(json.dumps({"gaze": {"vector": [x, y, z]}}) + "\n" for _ in range(5)).encode())
    code, out, err = analyze("--truth", truth, clip)
    equal((code, err), (0, ""))
    assert "mean angular error 0.00 degrees" in out and "in 5 frames, 0 without gaze" in out, out
    turned = write("turned.jsonl", (json.dumps({"gaze": {"vector": [-x, -y, -z]}}) + "\n").encode())
    assert "mean angular error 180.00 degrees" in analyze("--truth", turned, clip)[1]
    code, _, err = analyze("--truth", write("bad.jsonl", b"{}\n"), clip)
    assert code == 2 and "bad.jsonl:1" in err, (code, err)


def where_the_time_goes():
    code, out, err = analyze("--profile", write("clip.mjpeg", ONE * 20))
    times = json.loads(out.splitlines()[-1])
    equal((code, err, times["frames"], times["faces"], times["searches"]), (0, "", 20, 20, 3))
    for stage in ("decode_ms", "follow_ms", "search_ms", "pose_ms", "gaze_ms"):
        assert 0 < times[stage] < 10000, times


def wrong_usage():
    for options in ((), ("--json",), ("--nonsense", "x"), ("--every", "0", "x"), ("--frames", "many", "x"),
                    ("--hfov", "180", "x")):
        code, out, err = analyze(*options)
        equal((code, out), (2, ""))
        assert err.startswith("usage:") or "gaze-analyze: " in err, err
    code, out, _ = program("gaze-analyze", "--help")
    assert code == 0 and out.startswith("usage: gaze-analyze"), out
    code, out, _ = program("gaze-analyze", "--version")
    assert code == 0 and out.startswith("gaze-analyze "), out


def no_device_or_no_models():
    picture = write("good.jpg", ONE)
    code, out, err = analyze(picture, device="cl99")
    equal((code, out), (4, ""))
    assert "no device: " in err, err
    code, out, err = program("gaze-analyze", "--device", "ref", "--model-dir", SCRATCH, picture)
    equal((code, out), (4, ""))
    assert "face_finder.safetensors: No such file" in err, err


run([the_json_of_a_face, several_faces_and_none, a_folder, clips, long_paths, lost_output_is_a_failure,
     bad_files_do_not_stop_the_rest, damaged_frames_of_a_clip, overlays, errors_against_the_truth, where_the_time_goes,
     wrong_usage, no_device_or_no_models])
