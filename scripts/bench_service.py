#!/usr/bin/env python3
"""Measures gazed on the sample clip: frames a second, latency, memory, processor time. Called by make bench-service.

usage: bench_service.py [--seconds S] [--device D] [--out FILE.json] [--build DIR]

Three runs: every frame as fast as it goes, for a tenth of the time; at 30 frames/s for all of it, with memory sampled; and
gaze-analyze --profile for the stages. Prints a Markdown table and writes JSON.
"""
import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "client", "python"))
import gaze  # noqa: E402

CLIP = os.path.join(ROOT, "samples", "clip.mjpeg")
WEIGHTS = os.path.join(ROOT, "models", "weights")
WARM_UP_S = 3.0


class Run:
    """gazed on the clip with one client."""

    def __init__(self, build, device, *options):
        self.folder = tempfile.mkdtemp(prefix="gazed-bench-")
        path = os.path.join(self.folder, "gazed.sock")
        self.process = subprocess.Popen(
            [os.path.join(build, "bin", "gazed"), "--config=/dev/null", f"--socket={path}", f"--source=file:{CLIP}",
             f"--model-dir={WEIGHTS}", f"--device={device}", "--loop=yes", "--log-level=warning", *options])
        end = time.monotonic() + 300
        while not os.path.exists(path):
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit("bench: gazed does not start")
            time.sleep(0.05)
        self.client = gaze.connect(path, name="bench")
        while (s := self.client.status()).state in ("starting", "degraded"):
            if s.state == "degraded" or time.monotonic() > end:
                raise SystemExit(f"bench: gazed is {s.state}: {s.text}")
            time.sleep(0.1)
        self.worker = s.worker_pid
        self.client.subscribe()
        self.read(WARM_UP_S)

    def read(self, seconds):
        """(results, seconds they took) that came in this time."""
        found, start = [], time.monotonic()
        while (left := start + seconds - time.monotonic()) > 0:
            m = self.client.next(left)
            if isinstance(m, gaze.Result):
                found.append(m)
        return found, time.monotonic() - start

    def close(self):
        restarts = self.client.status().worker_restarts
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)
        return restarts


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def slope_per_minute(points):
    """Least squares of value over seconds, times 60."""
    n = len(points)
    mean_t, mean_v = sum(t for t, _ in points) / n, sum(v for _, v in points) / n
    spread = sum((t - mean_t) ** 2 for t, _ in points)
    return 60 * sum((t - mean_t) * (v - mean_v) for t, v in points) / spread if spread else 0.0


def stream(build, device, seconds, *options):
    run = Run(build, device, *options)
    pids = {"gazed": run.process.pid, "gazed-worker": run.worker}
    memory = {name: [] for name in pids}
    before = {name: cpu_s(pid) for name, pid in pids.items()}
    first, latencies, faces, start, last_seq, dropped = None, [], 0, time.monotonic(), 0, run.client.status().dropped
    while (passed := time.monotonic() - start) < seconds:
        for name, pid in pids.items():
            memory[name].append((passed, resident_kib(pid)))
        results, _ = run.read(min(2.0, seconds - passed))
        for r in results:
            first = first if first is not None else r
            latencies.append((r.publish_ns - r.capture_ns) / 1e6)
            faces += len(r.faces) > 0
            last_seq, last_ns = r.seq, r.publish_ns
    passed = time.monotonic() - start
    out = {
        "seconds": round(passed, 1),
        "frames_per_s": round((last_seq - first.seq) / ((last_ns - first.publish_ns) / 1e9), 2),
        "frames_passed_over": run.client.status().dropped - dropped,
        "share_with_face": round(faces / len(latencies), 4),
        "capture_to_publish_ms": {"p50": round(percentile(latencies, 0.5), 2), "p99": round(percentile(latencies, 0.99), 2)},
    }
    for name, pid in pids.items():
        out[name] = {"cpu_percent": round(100 * (cpu_s(pid) - before[name]) / passed, 1),
                     "resident_mib_first": round(memory[name][0][1] / 1024, 1),
                     "resident_mib_last": round(memory[name][-1][1] / 1024, 1),
                     "resident_mib_max": round(max(v for _, v in memory[name]) / 1024, 1),
                     "slope_kib_per_minute": round(slope_per_minute(memory[name]), 1)}
    out["worker_restarts"] = run.close()
    return out


def stages(build, device):
    p = subprocess.run([os.path.join(build, "bin", "gaze-analyze"), "--model-dir", WEIGHTS, "--device", device.split(",")[0],
                        "--profile", CLIP], stdout=subprocess.PIPE, check=True)
    return json.loads(p.stdout.splitlines()[-1])


def markdown(r):
    fast, paced, s = r["fast"], r["paced"], r["stages"]
    rows = [("sustained, every frame as fast as it goes", f"{fast['frames_per_s']} frames/s"),
            ("at 30 frames/s: analysed", f"{paced['frames_per_s']} frames/s, {paced['frames_passed_over']} passed over"),
            ("at 30 frames/s: capture to publish", "p50 {p50} ms, p99 {p99} ms".format(**paced["capture_to_publish_ms"])),
            ("frames with a face", f"{100 * paced['share_with_face']:.1f} %")]
    for name in ("gazed", "gazed-worker"):
        m = paced[name]
        rows.append((f"{name}: resident over {paced['seconds']:.0f} s",
                     f"{m['resident_mib_first']} -> {m['resident_mib_last']} MiB, {m['slope_kib_per_minute']:+} KiB/min"))
        rows.append((f"{name}: processor", f"{m['cpu_percent']} % of a core at 30 frames/s"))
    rows += [("decode MJPEG to grey", f"{s['decode_ms']} ms a frame"), ("landmarks of known faces", f"{s['follow_ms']} ms a frame"),
             ("search of the whole picture", f"{s['search_ms']} ms, in {s['searches']} of {s['frames']} frames"),
             ("head pose", f"{s['pose_ms']} ms a frame"), ("gaze", f"{s['gaze_ms']} ms a frame")]
    return "\n".join(["| what | figure |", "|---|---|"] + [f"| {a} | {b} |" for a, b in rows])


def processor():
    with open("/proc/cpuinfo") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--seconds", type=float, default=300)
    a.add_argument("--device", default="cpu")
    a.add_argument("--build", default=os.environ.get("O", "build"))
    a.add_argument("--out")
    a = a.parse_args()
    build = os.path.abspath(a.build)
    result = {"processor": processor(), "cores": os.cpu_count(), "load_at_start": os.getloadavg()[0], "device": a.device,
              "clip": os.path.basename(CLIP)}
    result["fast"] = stream(build, a.device, max(10.0, a.seconds / 10), "--fast=yes")
    result["paced"] = stream(build, a.device, a.seconds, "--fps=30")
    result["stages"] = stages(build, a.device)
    out = a.out or os.path.join(build, "bench-service.json")
    with open(out, "w") as f:
        json.dump(result, f, indent=1)
    print(f"{result['processor']}, {result['cores']} cores, device {a.device}, load {result['load_at_start']:.1f} at the start\n")
    print(markdown(result))
    print(f"\nwritten: {out}")


if __name__ == "__main__":
    main()
