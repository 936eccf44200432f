#!/usr/bin/env python3
"""npu-quantize from pictures to a weight file that the product loads, how little it costs, and what it refuses."""
import functools
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile

import tap

O = os.environ.get("O", "build")
CLIP, TRUTH = "samples/clip.mjpeg", "samples/clip.jsonl"
WEIGHTS = "models/weights"
GAZE = WEIGHTS + "/gaze_vit.safetensors"
EVERY = 5                                      # of the clip's frames this one is judged; the ranges come from others
MOST_DEG = {"int8": 0.3, "bf16": 0.1}          # by how much the mean angular error may differ from that of f32


def run(tool, *args):
    return subprocess.run([os.path.join(O, "bin", tool), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=300)


@functools.lru_cache(maxsize=None)
def frames():
    """The sample clip's JPEGs."""
    with open(CLIP, "rb") as f:
        jpegs = f.read().split(b"\xff\xd8\xff")[1:]
    with open(TRUTH) as f:
        assert len(jpegs) == len(f.readlines()) >= 300, len(jpegs)
    return [b"\xff\xd8\xff" + j for j in jpegs]


def pictures(folder, count=3):
    """A list of pictures of the clip, spread over it, none of which is judged below."""
    chosen = [f for i, f in enumerate(frames()) if i % EVERY == EVERY // 2]
    path, jpegs = os.path.join(folder, "list.txt"), os.path.join(folder, "pictures")
    os.makedirs(jpegs, exist_ok=True)
    with open(path, "w") as names:
        for i in range(count):
            name = os.path.join(jpegs, "%d.jpg" % i)
            with open(name, "wb") as f:
                f.write(chosen[i * len(chosen) // count])
            names.write(name + "\n")
    return path


def quantise(folder, *options):
    """The report of gaze_vit quantised into the folder, with the other networks as they are."""
    out = os.path.join(folder, "gaze_vit.safetensors")
    report = os.path.join(folder, "report.json")
    p = run("npu-quantize", GAZE, "--device", "ref", "--calib", pictures(folder), "--out", out, "--report", report, *options)
    assert p.returncode == 0, p.stderr
    with open(report) as f:
        return json.load(f), out


def in_static_int8():
    with tempfile.TemporaryDirectory() as d:
        report, out = quantise(d)
        assert report["mode"] == "int8 static" and report["inputs"] >= 2, report
        assert len(report["layers"]) >= 16, "only %d layers are int8" % len(report["layers"])
        assert any(l["result"] == "int8" for l in report["layers"])
        worst = min(l["snr_db"] for l in report["layers"])
        assert worst > 20, "a layer has %.1f dB" % worst
        assert os.path.getsize(out) < 0.6 * os.path.getsize(GAZE)
        for n in ("face_finder", "landmarks"):
            shutil.copy(os.path.join(WEIGHTS, n + ".safetensors"), d)
        with open(os.path.join(d, "list.txt")) as f:
            picture = f.readline().strip()
        p = run("gaze-analyze", "--device", "ref", "--model-dir", d, "--json", picture)
        assert p.returncode == 0 and '"gaze' in p.stdout, p.stdout + p.stderr
        p = run("npu-quantize", out, "--calib", os.path.join(d, "list.txt"))
        assert p.returncode == 1 and "quantised already" in p.stderr, p.stderr


def widest_pair(path, name):
    """The largest sum of two weights of a column, one below the other."""
    with open(path, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        tensor = json.loads(f.read(size))[name]
        f.seek(8 + size + tensor["data_offsets"][0])
        k, n = tensor["shape"]
        w = struct.unpack("%db" % (k * n), f.read(k * n))
    return max(abs(w[i * n + c] + w[(i + 1) * n + c]) for i in range(0, k, 2) for c in range(n))


def narrow_and_wide():
    with tempfile.TemporaryDirectory() as d:
        pairs = []
        for options in ((), ("--wide",)):
            report, out = quantise(d, "--limit", "1", *options)
            assert report["wide"] == bool(options), report
            pairs.append(widest_pair(out, "encoder.0.mlp1.weight"))
        assert pairs[0] <= 128 < pairs[1], pairs


def in_bf16():
    with tempfile.TemporaryDirectory() as d:
        report, out = quantise(d, "--bf16")
        assert report["mode"] == "bf16" and not report["layers"]
        assert all(o["snr_db"] > 30 for o in report["outputs"]), report["outputs"]
        assert os.path.getsize(out) < 0.7 * os.path.getsize(GAZE)


def inputs_as_arrays():
    with tempfile.TemporaryDirectory() as d:
        out = os.path.join(d, "inputs")
        p = run("npu-quantize", GAZE, "--device", "ref", "--calib", pictures(d, 2), "--write-inputs", out)
        assert p.returncode == 0, p.stderr
        folders = sorted(os.listdir(out))
        assert len(folders) >= 2 and "%d inputs" % len(folders) in p.stdout, (folders, p.stdout)
        eyes = []
        for name in folders[:2]:
            assert sorted(os.listdir(os.path.join(out, name))) == ["image.npy", "pose.npy"]
            with open(os.path.join(out, name, "image.npy"), "rb") as f:
                head = f.read(128)
                assert head.startswith(b"\x93NUMPY") and b"'<f4'" in head, head
                eyes.append(f.read())
        half = len(eyes[0]) // 2
        assert eyes[0][:half] == eyes[1][half:] and eyes[0] != eyes[1], "the second is not the mirror image of the first"
        assert not os.path.exists(os.path.join(d, "gaze_vit.int8.safetensors"))


def mean_error_deg(folder, models):
    """Of the gaze in every EVERYth frame of the clip, not filtered; and in how many frames there was one."""
    clip, truth = os.path.join(folder, "some.mjpeg"), os.path.join(folder, "some.jsonl")
    with open(clip, "wb") as f:
        f.write(b"".join(frames()[::EVERY]))
    with open(TRUTH) as f, open(truth, "w") as to:
        to.writelines(f.readlines()[::EVERY])
    p = run("gaze-analyze", "--model-dir", models, "--truth", truth, clip)
    said = re.search(r"unfiltered ([0-9.]+)\) in (\d+) frames, (\d+) without gaze", p.stdout)
    assert p.returncode == 0 and said, p.stdout + p.stderr
    error, read, missed = float(said[1]), int(said[2]), int(said[3])
    assert read + missed == len(frames()[::EVERY]) and read >= 0.9 * (read + missed), said[0]
    return error


def quality():
    """All three networks quantised: what the product says of the clip is as good as before."""
    with tempfile.TemporaryDirectory() as d:
        error = {"f32": mean_error_deg(d, WEIGHTS)}
        options = {"int8": ("--calib", pictures(d, 30)), "bf16": ("--bf16",)}
        for precision, more in options.items():
            models = os.path.join(d, precision)
            os.mkdir(models)
            for n in ("face_finder", "landmarks", "gaze_vit"):
                p = run("npu-quantize", "%s/%s.safetensors" % (WEIGHTS, n), "--out", "%s/%s.safetensors" % (models, n), *more)
                assert p.returncode == 0, p.stdout + p.stderr
            error[precision] = mean_error_deg(d, models)
        print("# mean angular error on %d frames: %s" % (len(frames()[::EVERY]), ", ".join("%s %.2f" % e for e in error.items())))
        assert 0.5 < error["f32"] < 10, error
        for precision, most in MOST_DEG.items():
            assert abs(error[precision] - error["f32"]) <= most + 1e-9, (precision, error)


def refusals():
    with tempfile.TemporaryDirectory() as d:
        for args, code, text in (((GAZE,), 2, "usage"),
                                 ((GAZE, "--bf16", "--write-inputs", d), 2, "usage"),
                                 ((GAZE, "--calib", pictures(d, 1), "--device", "ref", "--write-inputs", d + "/a/b"), 1, "No such file"),
                                 ((GAZE, "--calib", d, "--range", "best"), 2, "percentile"),
                                 ((GAZE, "--calib", d, "--limit", "-1"), 2, "not a number"),
                                 ((GAZE, "--calib", d, "--device", "ref"), 1, "no picture"),
                                 ((GAZE, "--calib", d + "/none", "--device", "ref"), 1, "No such file"),
                                 ((d, "--calib", d), 1, "npu-quantize: "),
                                 (("README.md", "--calib", d), 1, "README.md")):
            p = run("npu-quantize", *args)
            assert p.returncode == code and text in p.stderr, (args, p.returncode, p.stderr)


tap.run([in_static_int8, narrow_and_wide, in_bf16, inputs_as_arrays, quality, refusals])
