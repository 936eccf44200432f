#!/usr/bin/env python3
"""Measures gazed's runtime against onnxruntime, OpenVINO and torch: make bench.

usage: bench.py [--quick] [--seconds S] [--only WORD]... [--threads N]... [--python PYTHON] [--device D] [--build DIR] [--no-docs]
       bench.py --report bench.json

All run the same networks with the same weights and inputs, in turns on the same processors; what a runtime computes is
compared with the reference before it is timed. Writes build/bench.json, the section "Speed against other runtimes" of
docs/BENCHMARKS.md between its markers, docs/bench-peers.svg and docs/bench-growth.svg. --report writes the section and the
pictures again from a file of figures."""
import argparse
import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import time

import bench_env
import bench_numbers
import bench_picture
import bench_report
from bench_run import Case, Failed, Processors, Runner, Unavailable, in_turns

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HERE = os.path.join(ROOT, "scripts")
OURS = ("gaze_vit", "landmarks", "face_finder")
NETWORKS = OURS + ("vit_tiny", "resnet34", "mobilenet_v2", "alexnet")
TRANSFORMERS = ("gaze_vit", "vit_tiny")
PRODUCTS = {"vit_tiny": ("197x192x576*4", "197x192x192*4", "197x192x768*4", "197x768x192*4"),
            "gaze_vit": ("48x128x384*4", "48x128x128*4", "48x128x256*4", "48x256x128*4")}
PRODUCT_RUNTIMES = ("onednn", "mkl", "openblas")
BLAS = ("256x256x256", "512x512x512", "1024x1024x1024", "197x192x768", "197x768x192")
BATCHES, SIZES = (1, 2, 4, 8, 16), (96, 160, 224, 320)
TRAIN_BATCH = 24
TRAIN_PRECISIONS = ("f32", "bf16")


class Closing(dict):
    """Runners by label, closed whatever happens: a process that is stopped would stay for ever."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for r in self.values():
            r.close()


class Bench:
    def __init__(self, a, python):
        self.a, self.python = a, python
        self.folder = os.path.join(a.build, "bench")
        self.cpus = sorted(os.sched_getaffinity(0))
        self.threads = a.threads or sorted({1, min(2, len(self.cpus))})
        self.tool = os.path.join(a.build, "bin", "npu-bench")
        self.done, self.total, self.start = 0, 1, time.monotonic()
        # Tiers are chosen by time when a plan is first made: anew for each benchmark, and kept away from other programs.
        self.env = dict(os.environ, XDG_CACHE_HOME=os.path.join(self.folder, "cache"), POCL_CACHE_DIR=os.path.join(self.folder, "cache", "pocl"))
        shutil.rmtree(os.path.join(self.folder, "cache", "gazed"), ignore_errors=True)
        os.makedirs(self.env["POCL_CACHE_DIR"], exist_ok=True)
        self.never = {}  # "runtime precision": why not
        self.shared = Closing()  # processes for many turns: by the number of threads that which multiplies matrices
        self.processors = {}  # by the number of threads
        self.result = {"notes": []}

    # ---- progress ----
    def say(self, text):
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def note(self, text):
        self.say(text)
        self.result["notes"].append(text)

    def step(self, text):
        left = ""
        passed = time.monotonic() - self.start
        if self.done > 1:
            minutes = passed / self.done * (self.total - self.done) / 60
            left = f", about {minutes:.0f} min left" if minutes >= 1 else ", less than a minute left"
        self.say(f"[{self.done + 1}/{self.total}{left}] {text}")
        self.done += 1

    # ---- commands ----
    def where(self, name):
        return os.path.join(self.folder, name.replace(":", "_").replace("*", "_"))

    def ours(self, name, precision, threads, *more):
        base, _, number = name.partition("@")
        own = base in OURS
        command = [self.tool, base if own or ":" in name else os.path.join(self.where(name), "net.onnx"), "--precision", precision,
                   "--threads", str(threads), *more]
        if own:
            command += ["--weights", os.path.join(ROOT, "models", "weights"), "--batch", number or "1"]
        if self.a.device:
            command += ["--device", self.a.device]
        return command

    def variant(self, label, name, threads, outputs):
        """The command of one runtime and precision for a network or product."""
        runtime, precision = label.split()
        if runtime == "ours":
            product = ":" in name
            inputs = os.path.join(self.where(name), precision if product else "inputs")
            calib = [] if product or precision != "int8" else ["--calib", os.path.join(self.where(name.split("@")[0]), "calib")]
            return self.ours(name, precision, threads, "--serve", "--inputs", inputs, "--outputs", outputs, *calib)
        return [self.python, os.path.join(HERE, "bench_peer.py"), runtime, precision, self.where(name), "--threads", str(threads),
                "--outputs", outputs]

    def variants(self, name):
        base = name.split("@")[0]
        labels = ["ours f32", "ours bf16", "ours int8", "onnxruntime f32", "onnxruntime int8"]
        labels += ["ours int8-dynamic", "onnxruntime int8-dynamic"] if base in TRANSFORMERS else []
        labels += ["openvino f32", "openvino bf16", "openvino int8"]
        return labels + ([] if base in OURS else ["torch f32", "torch bf16"])

    # ---- one group of variants ----
    def runner(self, command, threads, env=None):
        more = dict(env or {}, OPENBLAS_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
        return Runner(command, self.cpus[:threads], dict(self.env, **more))

    def attempt(self, label, start):
        """start()'s runner, or None with a note. label: "network: runtime precision"; what a runtime never offers here is not
        asked for again."""
        variant = label.split(": ", 1)[1]
        try:
            if variant in self.never:
                raise Unavailable(self.never[variant])
            return start()
        except Unavailable as e:
            self.missing[label] = self.never[variant] = str(e)
        except Failed as e:
            self.missing[label] = str(e).replace(ROOT + os.sep, "")  # it goes into the documents
            self.note(f"{label}: {self.missing[label]}")
        return None

    def start_variant(self, label, name, threads, outputs, env):
        if label.split()[0] not in PRODUCT_RUNTIMES:
            return self.runner(self.variant(label, name, threads, outputs), threads, env if label.startswith("ours") else None)
        if threads not in self.shared:
            self.shared[threads] = self.runner([self.python, os.path.join(HERE, "bench_peer.py"), "products", "any", "none", "--threads", str(threads)], threads)
        return Case(self.shared[threads], shlex.join([*label.split(), self.where(name), outputs]))

    def compare(self, name, labels, threads, env=None):
        """Outputs compared, then times in turns: {label: summary}, {label: dB}, {label: why not}."""
        self.missing, quality = {}, {}
        with Closing() as runners:
            for label in labels:
                outputs = os.path.join(self.folder, "outputs", label.replace(" ", "-"))
                shutil.rmtree(outputs, ignore_errors=True)
                os.makedirs(outputs)
                r = self.attempt(f"{name}: {label}", lambda: self.start_variant(label, name, threads, outputs, env))
                if not r:
                    continue
                runners[label] = r
                reference = os.path.join(self.where(name), label.split()[1] if ":" in name else "", "reference")
                quality[label] = bench_numbers.agreement_db(reference, outputs)
                if label.split()[1] == "f32" and quality[label] < bench_numbers.EXACT_DB:
                    self.note(f"{name}: {label} gives another result ({quality[label]:.0f} dB) and is not timed")
                    runners.pop(label).close()
            times = in_turns(runners, self.a.rounds, self.a.block_s, self.note, self.processors[threads])
        return {"times": times, "quality": quality, "missing": {k.split(": ", 1)[1]: v for k, v in self.missing.items()}}

    def tool_json(self, command, threads):
        p = subprocess.run(command, capture_output=True, text=True, env=self.env,
                           preexec_fn=lambda: os.sched_setaffinity(0, self.cpus[:threads]))
        if p.returncode != 0:
            raise Failed(p.stderr.strip().splitlines()[-1] if p.stderr.strip() else f"exit code {p.returncode}")
        return json.loads(p.stdout)

    # ---- what is measured ----
    def macs(self, name):
        with open(os.path.join(self.where(name), "meta.json")) as f:
            return json.load(f)["macs"]

    def network(self, name, threads):
        found = self.compare(name, self.variants(name), threads)
        return dict(found, ratio=bench_numbers.ratio(found["times"], found["quality"]),
                    ratio_cpu=bench_numbers.ratio(found["times"], found["quality"], "cpu_ms"))

    def product(self, name, precision, threads):
        """Against oneDNN, and in f32 also against MKL; where oneDNN has no bf16, its f32 and MKL's are the rivals of ours."""
        more = ["mkl f32"] if precision == "f32" else ["onednn f32", "mkl f32"] if precision == "bf16" else []
        found = self.compare(name, [f"ours {precision}", f"onednn {precision}", *more], threads)
        return dict(found, ratio=bench_numbers.ratio(found["times"], found["quality"]), macs=self.macs(name))

    def blas(self, name, threads):
        """Plain OpenCL C against OpenBLAS; both matrices change."""
        found = self.compare(name, ["ours f32", "openblas f32"], threads, {"NPU_MAT_NATIVE": "0"})
        return dict(found, ratio=bench_numbers.ratio(found["times"], found["quality"]), macs=self.macs(name))

    def train_command(self, threads, precision):
        device = ["--device", self.a.device] if self.a.device else []
        return [self.tool, "gaze_vit", "--train", "--precision", precision, "--batch", str(TRAIN_BATCH), "--threads", str(threads), *device]

    def training(self, threads):
        train = [self.python, os.path.join(HERE, "bench_peer.py"), "train"]
        more = ["none", "--threads", str(threads), "--batch", str(TRAIN_BATCH)]
        commands = {f"ours {p}": self.train_command(threads, p) + ["--serve"] for p in TRAIN_PRECISIONS}
        commands.update({f"torch {p}": train + [p] + more for p in TRAIN_PRECISIONS})
        if not self.a.quick:
            commands.update({f"torch-compiled {p}": train + [p] + more + ["--compiled"] for p in TRAIN_PRECISIONS})
        self.missing = {}
        with Closing() as runners:
            for label, command in commands.items():
                r = self.attempt(f"training: {label}", lambda: self.runner(command, threads))
                if r:
                    runners[label] = r
            parameters = {label: r.head.get("parameters") for label, r in runners.items()}
            alike = len(set(parameters.values())) <= 1
            if not alike:
                self.note(f"training: not the same network, so it is not timed: parameters {parameters}")
            times = in_turns(runners if alike else {}, self.a.rounds, max(self.a.block_s, 0.5), self.note, self.processors[threads])
        return {"times": times, "batch": TRAIN_BATCH, "missing": {k.split(": ", 1)[1]: v for k, v in self.missing.items()},
                "ratio": bench_numbers.ratio(times, {label: 200.0 for label in times})}

    def starts(self, name):
        """Cold start with all processors, and memory. In a quick run starts of our own networks only."""
        more = ["--start"] if name in OURS or not self.a.quick else []
        plain = self.tool_json(self.ours(name, "f32", len(self.cpus), *more, "--json", "--seconds", "0"), len(self.cpus))
        return {"start": plain["start"], "memory": plain["memory"]}

    def profile(self, name, threads):
        r = (self.result["networks"][name].get(str(threads)) or {}).get("ratio")
        precision = r["ours"].split()[1] if r else "f32"
        calib = ["--calib", os.path.join(self.where(name), "calib")] if precision == "int8" else []
        seconds = str(max(0.2, self.a.block_s))
        found = self.tool_json(self.ours(name, precision, threads, "--profile", "--json", "--seconds", seconds, *calib), threads)
        return {"precision": precision, "operations": bench_numbers.by_operation(found["plan"], 6), "macs": self.macs(name)}

    def profile_training(self, threads):
        """A step is reckoned as three times the multiply-adds of the forward pass."""
        r = self.result["training"][str(threads)].get("ratio")
        precision = r["ours"].split()[1] if r else "f32"
        found = self.tool_json(self.train_command(threads, precision) + ["--profile", "--json", "--seconds", str(max(0.5, self.a.block_s))], threads)
        return {"precision": precision, "operations": bench_numbers.by_operation(found["plan"], 6), "macs": 3 * TRAIN_BATCH * self.macs("gaze_vit")}

    def growth(self, threads):
        labels = ["ours f32", "onnxruntime f32", "openvino f32"]
        out = {"threads": threads, "batch": {}, "size": {}}
        for kind, name, values in (("batch", "gaze_vit", BATCHES), ("size", "mobilenet_v2", SIZES)):
            for v in values if self.wanted(name) else ():
                self.step(f"growth: {name}, {kind} {v}")
                out[kind][v] = self.compare(f"{name}@{v}", labels, threads)["times"]
        return out

    # ---- all of it ----
    def wanted(self, word):
        return not self.a.only or any(o in word for o in self.a.only)

    def plan(self):
        """What there is to do: (kind, name, precision)."""
        todo = [("network", n, None) for n in NETWORKS if self.wanted(n)]
        if self.wanted("product"):
            nets = ("vit_tiny",) if self.a.quick else PRODUCTS
            todo += [("product", f"gemm:{s}", p) for n in nets for s in PRODUCTS[n] for p in ("f32", "bf16", "int8")]
            todo += [("blas", f"matmul:{s}", None) for s in (BLAS[:3] if self.a.quick else BLAS)]
        if self.wanted("training"):
            todo.append(("training", "gaze_vit", None))
        return todo

    def make_files(self, todo):
        names = sorted({name for kind, name, _ in todo})
        if self.wanted("growth"):
            names += [f"gaze_vit@{b}" for b in BATCHES if self.wanted("gaze_vit")] + [f"mobilenet_v2@{s}" for s in SIZES if self.wanted("mobilenet_v2")]
        self.say("making networks, inputs and quantised files")
        p = subprocess.run([self.python, os.path.join(HERE, "bench_networks.py"), "--out", self.folder, "--bin", os.path.join(self.a.build, "bin"),
                            "--weights", os.path.join(ROOT, "models", "weights"), "--clip", os.path.join(ROOT, "samples", "clip.mjpeg"), *names], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if p.returncode != 0:
            raise SystemExit("bench: the networks can't be made:\n" + bench_env.last_lines(p.stderr))

    def describe(self):
        versions = subprocess.run([self.python, "-c", "import importlib.metadata as m; print(*(f'{p} {m.version(p)}' for p in "
                                   "('onnxruntime', 'openvino', 'torch', 'numpy')), sep=', ')"], capture_output=True, text=True).stdout.strip()
        self.result.update(processor=processor(), cores=len(self.cpus), load_at_start=round(os.getloadavg()[0], 1), versions=versions,
                           when=time.strftime("%Y-%m-%d"), quick=self.a.quick, threads=self.threads,
                           device=self.tool_json([self.tool, "gemm:1x1x1", "--json", "--seconds", "0"] + (["--device", self.a.device] if self.a.device else []), 1)["device_name"])

    def measure(self):
        todo = self.plan()
        growth = self.wanted("growth") and any(self.wanted(n) for n in ("gaze_vit", "mobilenet_v2"))
        self.total = len(todo) * len(self.threads) + sum(kind in ("network", "training") for kind, _, _ in todo) + (len(BATCHES) + len(SIZES) if growth else 0)
        self.make_files(todo)
        self.describe()
        self.start = time.monotonic()
        self.result["peak"] = {t: self.tool_json([self.tool, "--peak", "--threads", str(t), "--seconds", str(3 * self.a.block_s), "--json"], t) for t in self.threads}
        for t in self.threads:
            self.shared["peak", t] = self.runner([self.tool, "--peak", "--serve", "--threads", str(t)], t)
            self.processors[t] = Processors(self.shared["peak", t], self.a.patience_s / len(self.threads))
        for kind in ("networks", "products", "blas", "training"):
            self.result[kind] = {}
        for kind, name, precision in todo:
            for t in self.threads:
                self.step(f"{kind} {name}{' ' + precision if precision else ''}, {t} thread{'s' if t > 1 else ''}")
                self.one(kind, name, precision, t)
                self.save()
        for name in [n for kind, n, _ in todo if kind == "network"]:
            self.step(f"start and plan of {name}")
            try:
                self.result["networks"][name].update(self.starts(name), profile={str(t): self.profile(name, t) for t in self.threads}, macs=self.macs(name))
            except Failed as e:
                self.note(f"{name}: {e}")
        if self.result["training"]:
            self.step("plan of the training step")
            try:
                self.result["training"]["profile"] = {str(t): self.profile_training(t) for t in self.threads}
            except Failed as e:
                self.note(f"training: {e}")
        if growth:
            self.result["growth"] = self.growth(self.threads[-1])
        self.save()

    def one(self, kind, name, precision, t):
        key = str(t)
        if kind == "network":
            self.result["networks"].setdefault(name, {})[key] = self.network(name, t)
        elif kind == "product":
            self.result["products"].setdefault(f"{name} {precision}", {})[key] = self.product(name, precision, t)
        elif kind == "blas":
            self.result["blas"].setdefault(name, {})[key] = self.blas(name, t)
        else:
            self.result["training"][key] = self.training(t)

    def save(self):
        with open(self.a.out, "w") as f:
            json.dump(self.result, f, indent=1)


def processor():
    with open("/proc/cpuinfo") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())


def write_all(figures, docs):
    """The section of docs/BENCHMARKS.md and its pictures."""
    with open(os.path.join(docs, "bench-peers.svg"), "w") as f:
        f.write(bench_picture.ratios(bench_report.ratio_rows(figures)))
    if figures.get("growth"):
        with open(os.path.join(docs, "bench-growth.svg"), "w") as f:
            f.write(bench_picture.growth(figures["growth"]))
    path = os.path.join(docs, "BENCHMARKS.md")
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write(bench_report.put_section(text, bench_report.section(figures)))


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="few repetitions, fewer products: some minutes")
    p.add_argument("--seconds", type=float, help="of timing in all, start-up of processes and half as long of waiting for quiet processors aside (default 900, quick 120)")
    p.add_argument("--only", action="append", help="networks whose name has this in it; product, training, growth likewise")
    p.add_argument("--python", default=os.environ.get("BENCH_PYTHON") or None, help="an interpreter that has the other runtimes")
    p.add_argument("--threads", type=int, action="append", choices=range(1, len(os.sched_getaffinity(0)) + 1), help="default: 1 and 2")
    p.add_argument("--device", help="as npu-info lists them")
    p.add_argument("--build", default=os.environ.get("O", "build"))
    p.add_argument("--out", help="default: bench.json in the build folder")
    p.add_argument("--no-docs", action="store_true", help="leave docs alone")
    p.add_argument("--report", metavar="FILE.json", help="write the section from these figures; measure nothing")
    a = p.parse_args()
    a.build = os.path.abspath(a.build)
    a.out = a.out or os.path.join(a.build, "bench.json")
    return a


def share_time(a, turns):
    """Rounds, how long a turn is, and how long all may wait for quiet processors, from the time for all. turns: of one round."""
    a.rounds = 3 if a.quick else 7
    a.seconds = a.seconds or (120 if a.quick else 900)
    a.patience_s = a.seconds / 2
    a.block_s = min(1.0, max(0.01, a.seconds / (turns * a.rounds * 1.25)))


def main():
    a = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: terminated"))  # and all that runs is closed on the way out
    docs = os.path.join(ROOT, "docs")
    if a.report:
        with open(a.report) as f:
            write_all(json.load(f), docs)
        return
    tool = os.path.join(a.build, "bin", "npu-bench")
    if not os.path.exists(tool):
        raise SystemExit(f"bench: {tool} is missing: make O={os.path.relpath(a.build)} all")
    try:
        b = Bench(a, bench_env.ensure(a.build, a.python, lambda text: print(f"bench: {text}", file=sys.stderr, flush=True)))
    except bench_env.Missing as e:
        raise SystemExit(str(e)) from None
    todo = b.plan()
    share_time(a, len(b.threads) * sum({"network": 9, "training": 20}.get(kind, 3) for kind, _, _ in todo) + 27)
    try:
        with b.shared:
            b.measure()
    except Failed as e:
        raise SystemExit(f"bench: {e}") from None
    with open(a.out) as f:
        figures = json.load(f)
    print(bench_report.section(figures))
    if not a.no_docs and not a.only:
        write_all(figures, docs)
    print(f"\nwritten: {a.out}")


if __name__ == "__main__":
    main()
