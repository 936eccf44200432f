#!/usr/bin/env python3
"""From nothing to the first result: each committed network in each precision is built and run once, with an empty folder for caches and then
with what that first start left there."""
import os
import platform
import resource
import shutil
import subprocess
import tempfile

from tap import Skip, run

O = os.path.abspath(os.environ.get("O", "build"))
NETWORKS = ("face_finder", "landmarks", "gaze_vit")
FIRST_S, SECOND_S = 10, 0.3
TRIES = 3  # fresh folders; only other work on the machine needs more than one


def tool(name, *args, folder):
    """Processor time in seconds, which other work on the machine hardly changes. Tiers are measured as they are for users."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("NPU_")}
    env.update(POCL_CACHE_DIR=os.path.join(folder, "pocl"), XDG_CACHE_HOME=folder)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    p = subprocess.run([os.path.join(O, "bin", name), *args], env=env, capture_output=True, text=True, timeout=300)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert p.returncode == 0, (args, p.stdout, p.stderr)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, p.stdout


def programs(folder):
    return sorted(name for _, _, names in os.walk(folder) for name in names if name.endswith((".bc", ".so")))


def two_starts(network, weights):
    """The second one builds nothing."""
    folder = tempfile.mkdtemp(prefix="npu-start-")
    try:
        times, built = [], None
        for _ in range(2):
            seconds, said = tool("npu-bench", network, "--first-result", "--weights", weights, folder=folder)
            assert '"first_ms"' in said, said
            times.append(seconds)
            assert built is None or programs(folder) == built, (network, built, programs(folder))
            built = programs(folder)
        return times
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def starts(weights_of, bounded):
    """weights_of: the file of a network's weights. The second start counts, in the best of a few folders."""
    for network in NETWORKS:
        weights, tries = weights_of(network), []
        while len(tries) < TRIES and not any(second <= SECOND_S for _, second in tries):
            tries.append(two_starts(network, weights))
        first, second = min(tries, key=lambda t: t[1])
        print("# %s: processor time to the first result %.2f s, at the second start %.2f s" % (network, first, second))
        if bounded:
            assert min(t[0] for t in tries) <= FIRST_S, (network, tries)
            assert second <= SECOND_S, (network, tries)
    if not bounded:
        raise Skip("the bounds are those of x86 processors whose native code serves this precision")


def processor_has(*flags):
    if platform.machine() != "x86_64":
        return False
    with open("/proc/cpuinfo") as f:
        line = next((l for l in f if l.startswith("flags")), "")
    return all(flag in line.split() for flag in flags)


def committed(network):
    return "models/weights/%s.safetensors" % network


def quantised(folder, *options):
    def weights(network):
        out = os.path.join(folder, network + ".safetensors")
        tool("npu-quantize", committed(network), "--out", out, *options, folder=folder)
        return out
    return weights


def in_f32():
    starts(committed, processor_has("avx2", "fma"))


def in_int8():
    with tempfile.TemporaryDirectory() as d:
        picture = os.path.join(d, "picture.jpg")
        with open("samples/clip.mjpeg", "rb") as clip, open(picture, "wb") as f:
            f.write(clip.read().split(b"\xff\xd9\xff\xd8")[0] + b"\xff\xd9")
        pictures = os.path.join(d, "list.txt")
        with open(pictures, "w") as f:
            f.write(picture + "\n")
        starts(quantised(d, "--calib", pictures), processor_has("avx2", "fma"))


def in_bf16():
    with tempfile.TemporaryDirectory() as d:
        starts(quantised(d, "--bf16"), processor_has("avx2", "fma"))


run([in_f32, in_int8, in_bf16])
