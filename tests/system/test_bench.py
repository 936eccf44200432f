#!/usr/bin/env python3
"""The parts of make bench that need no other runtime: ratios at equal quality, tables, pictures, turns, npu-bench as a runner."""
import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, "scripts")
import tap  # noqa: E402
import bench_env  # noqa: E402
import bench_numbers  # noqa: E402
import bench_picture  # noqa: E402
import bench_report  # noqa: E402
import bench_run  # noqa: E402

BIN = os.path.join(os.environ.get("O", "build"), "bin")
tests = []


def test(f):
    tests.append(f)
    return f


def times(**ms):
    return {label.replace("_", " ").replace(" dyn", "-dynamic"): {"p50_ms": t, "p90_ms": 1.2 * t, "cpu_ms": t} for label, t in ms.items()}


def figures():
    """As bench.py writes them, small and with known ratios."""
    def cell(ours, peer, **more):
        t = times(ours_f32=ours, ours_int8=ours / 2, onnxruntime_f32=peer, openvino_int8=peer / 2)
        q = {"ours f32": 120.0, "ours int8": 30.0, "onnxruntime f32": 200.0, "openvino int8": 31.0}
        return dict(times=t, quality=q, ratio=bench_numbers.ratio(t, q), missing={"torch bf16": "no such thing"}, **more)
    start = {"context_ms": 100, "plan_ms": 50, "first_ms": 2}
    memory = {"persistent_bytes": 2 << 20, "arena_bytes": 1 << 19, "sum_of_params_bytes": 1 << 20, "sum_of_values_bytes": 4 << 20}
    networks = {name: {"1": cell(4.0, 8.0), "2": cell(4.0, 2.0), "start": {"warm": start, "empty": dict(start, plan_ms=20000)}, "memory": memory, "macs": 10 ** 9,
                       "profile": {t: {"precision": "int8", "macs": 10 ** 9, "operations": [["conv2d (vec8)", 0.75]]} for t in "12"}} for name in ("gaze_vit", "resnet34")}
    product = {"times": times(ours_f32=1.0, onednn_f32=3.0, mkl_f32=2.0), "macs": 10 ** 6, "ratio": {"ratio": 2.0}}
    growth = {"threads": 2, "batch": {"1": times(ours_f32=1.0), "2": times(ours_f32=1.5), "4": times(ours_f32=2.5)}, "size": {"96": times(ours_f32=1.0), "160": times(ours_f32=3.0)}}
    peak = {"f32_gflops": 100.0, "int8_gops": 200.0, "read_gbps": 10.0, "how": "AVX2"}
    return {"processor": "P", "cores": 2, "load_at_start": 0.1, "versions": "v", "device": "D", "when": "2026-01-01", "quick": False, "threads": [1, 2],
            "notes": ["a note"], "peak": {"1": peak, "2": peak}, "networks": networks, "products": {"gemm:197x1x1*4 f32": {"1": product, "2": product}},
            "blas": {"matmul:8x8x8": {"1": dict(product, ratio={"ratio": 0.5}), "2": product}},
            "training": {"1": dict(cell(4.0, 12.0), batch=24), "2": dict(cell(4.0, 2.0), batch=24),
                         "profile": {"2": {"precision": "f32", "macs": 10 ** 8, "operations": [["matmul (vec8)", 0.5]]}}}, "growth": growth}


@test
def ratios_count_equal_quality_only():
    t = times(ours_f32=4, ours_int8=1, onnxruntime_f32=6, onnxruntime_int8=2, openvino_int8=0.5)
    q = {"ours f32": 100.0, "ours int8": 30.0, "onnxruntime f32": 200.0, "onnxruntime int8": 25.0, "openvino int8": 10.0}
    r = bench_numbers.ratio(t, q)  # openvino's int8 is of no use at 10 dB
    tap.equal((r["ratio"], r["ours"], r["peer"], r["less_exact"]), (2.0, "ours int8", "onnxruntime int8", False))
    r = bench_numbers.ratio(t, dict(q, **{"ours int8": 21.0}))
    assert r["less_exact"], r
    r = bench_numbers.ratio(t, dict(q, **{"ours int8": 5.0, "onnxruntime int8": 5.0}))
    tap.equal((r["ratio"], r["ours"], r["peer"], r["less_exact"]), (1.5, "ours f32", "onnxruntime f32", False))
    tap.equal(bench_numbers.ratio({k: v for k, v in t.items() if not k.startswith("ours")}, q), None)
    tap.equal(bench_numbers.ratio(times(ours_f32=1, torch_f32=9), {"ours f32": 40.0, "torch f32": 90.0}), None)  # a wrong f32 is none


@test
def agreement_of_arrays():
    folder = tempfile.mkdtemp(prefix="gazed-test-")
    have, want = os.path.join(folder, "have"), os.path.join(folder, "want")
    for d, values in ((want, (1.0, -2.0, 2.0)), (have, (1.0, -2.0, 2.3))):
        os.mkdir(d)
        head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }".ljust(117) + b"\n"
        with open(os.path.join(d, "y.npy"), "wb") as f:
            f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + struct.pack("<3f", *values))
    db = bench_numbers.agreement_db(want, have)
    assert abs(db - 10 * math.log10(9 / 0.09)) < 1e-4, db
    tap.equal(bench_numbers.agreement_db(want, want), 200.0)
    for d, more in ((want, have), (have, have)):  # a second set of inputs, whose outputs are equal
        os.mkdir(os.path.join(d, "1"))
        shutil.copy(os.path.join(more, "y.npy"), os.path.join(d, "1"))
    more = bench_numbers.agreement_db(want, have)
    assert abs(more - 10 * math.log10((9 + 5 + 2.3 ** 2) / 0.09)) < 1e-4, more
    os.remove(os.path.join(have, "1", "y.npy"))
    tap.equal(bench_numbers.agreement_db(want, have), -math.inf)
    os.remove(os.path.join(have, "y.npy"))
    tap.equal(bench_numbers.agreement_db(want, have), -math.inf)
    tap.equal(bench_numbers.agreement_db(have, want), -math.inf)  # nothing to compare with is no agreement
    tap.equal(bench_numbers.snr_db((1.0,), (math.nan,)), -math.inf)
    tap.equal(bench_numbers.snr_db((1.0,), (1.0, 2.0)), -math.inf)
    subprocess.run(["rm", "-r", folder], check=True)


@test
def small_sums():
    assert abs(bench_numbers.geometric_mean([2.0, 8.0]) - 4) < 1e-12 and bench_numbers.geometric_mean([]) is None
    peak = {"f32_gflops": 100.0, "int8_gops": 200.0}
    tap.equal((bench_numbers.roof_ms(10 ** 9, peak, "f32"), bench_numbers.roof_ms(10 ** 9, peak, "int8")), (20.0, 10.0))
    node = lambda op, tier, ms, constant=False: {"op": op, "tier": tier, "ms": ms, "constant": constant}
    plan = {"nodes": [node("a", "x", 1.0), node("b", "x", 2.0), node("a", "x", 5.0), node("c", "y", 9.0, True)]}
    tap.equal(bench_numbers.by_operation(plan, 1), [("a (x)", 0.75)])
    tap.equal([bench_report.number(x) for x in (0.012345, 1.2345, 12.345, 1234.5, 0, None, math.inf)], ["0.0123", "1.23", "12.3", "1234", "0", "-", "-"])
    tap.equal(bench_picture.nice_steps(1.3), [0, 0.5, 1.0, 1.5])
    assert bench_picture.nice_steps(1000)[-1] == 1000


@test
def the_section():
    f = figures()
    rows = {r[0]: r for r in bench_report.ratio_rows(f)}
    tap.equal(rows["gaze_vit, one face"][1:3], (1.3, [2.0, 0.5]))
    tap.equal(rows["products of ViT-Tiny, f32"][2], [2.0, 2.0])
    tap.equal(rows["products in OpenCL C, f32"][2], [0.5, 2.0])
    tap.equal(rows["training step of gaze_vit"][2], [3.0, 0.5])
    text = bench_report.section(f)
    for words in ("| gaze_vit, one face | >= 1.3 | 2.00 | **0.50** |", "**gazed** int8 | 2.00 | 2.00 |", "0.15 s = 100 + 50 + 2 ms", "**20.10 s**", "2.0 for 1.0 MiB", "0.50 for 3.00 MiB",
                  "| gaze_vit, one face | 2 | int8 | 1000 M | 2.00 ms | 10.0 ms, 500 % of it | conv2d (vec8) 75 %", "**gazed** f32 0.500 ms", "* torch bf16: no such thing", "* a note", "200 Gop/s in int8", "| training step of gaze_vit | 2 | f32 | 100 M | 2.00 ms | 2.00 ms, 100 % of it | matmul (vec8) 50 % |", "| 2.00 (2 %) | 1.00 (mkl) | 2.00 |"):
        assert words in text, (words, text)
    assert "| gaze_vit, one face | 1 | int8 | 1000 M" not in text  # its goal is reached there
    tap.equal([bench_report.peer_text("mkl f32", p) for p in ("f32", "bf16", "")], ["mkl", "mkl f32", "mkl"])
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.M):
        tap.equal(len({line.count("|") for line in block.strip().splitlines()}), 1)


@test
def the_document_keeps_the_rest():
    old = f"# A\nmine\n{bench_report.BEGIN}\nold\n{bench_report.END}\nlast\n"
    new = bench_report.put_section(old, "new")
    tap.equal(new, f"# A\nmine\n{bench_report.BEGIN}\nnew\n{bench_report.END}\nlast\n")
    tap.equal(bench_report.put_section(new, "new"), new)
    tap.raises(ValueError, bench_report.put_section, "no markers", "new")
    with open(os.path.join("docs", "BENCHMARKS.md")) as f:
        assert "## The networks" in bench_report.put_section(f.read(), "new")


@test
def pictures_are_svg():
    f = figures()
    for picture in (bench_picture.ratios(bench_report.ratio_rows(f)), bench_picture.growth(f["growth"])):
        root = xml.etree.ElementTree.fromstring(picture)
        width, height = float(root.get("width")), float(root.get("height"))
        ns = "{http://www.w3.org/2000/svg}"
        for r in root.iter(ns + "rect"):
            x, y = float(r.get("x", 0)), float(r.get("y", 0))
            assert float(r.get("width")) >= 0 and x + float(r.get("width")) <= width and y + float(r.get("height")) <= height, r.attrib
        for c in root.iter(ns + "circle"):
            assert 0 <= float(c.get("cx")) <= width and 0 <= float(c.get("cy")) <= height, c.attrib
    bars = [r for r in xml.etree.ElementTree.fromstring(bench_picture.ratios(bench_report.ratio_rows(f))).iter(ns + "rect")][1:]
    tap.equal(len(bars), 2 * len(bench_report.ratio_rows(f)))


FAKE = """
import json, sys
print(json.dumps({"ready": True}), flush=True)
for n, line in enumerate(sys.stdin):
    count = int(line.split()[1])
    if n == int(sys.argv[2]):
        sys.exit("boom")
    print(json.dumps({"ms": [float(sys.argv[1])] * count, "cpu_ms": 1}), flush=True)
"""


def fake(ms, dies=-1):
    return bench_run.Runner([sys.executable, "-c", FAKE, str(ms), str(dies)], os.sched_getaffinity(0))


@test
def turns():
    said, runners = [], {"slow": fake(8), "quick": fake(0.5), "dies": fake(1, dies=2)}
    found = bench_run.in_turns(runners, 3, 0.016, said.append)
    for r in runners.values():
        r.close()
    tap.equal(sorted(found), ["quick", "slow"])
    tap.equal((found["slow"]["runs"], found["quick"]["runs"], found["quick"]["p50_ms"]), (6, 96, 0.5))
    tap.equal(found["slow"]["blocks_ms"], [8.0] * 3)
    assert said == ["dies: boom"], said


class Speeds:
    """A runner whose runs take the given times, one after the other."""

    def __init__(self, *ms):
        self.ms = list(ms)

    def run(self, count, _):
        return {"ms": [self.ms.pop(0)] * count, "cpu_ms": 1}


@test
def turns_wait_for_the_processors():
    def turn(*probes, patience_s=60.0):
        processors, taken = bench_run.Processors(Speeds(*[2.0] * 25, *probes), patience_s), []

        def run():
            taken.append(len(taken))
            return {"ms": [taken[-1]], "cpu_ms": 1}
        found = processors.turn(run)
        tap.equal(processors.runner.ms, [])
        return found["ms"][0], round(found["there"], 2), len(taken)
    tap.equal(turn(2.0, 2.1), (0, 0.95, 1))
    tap.equal(turn(4.0, 4.0, 2.0, 2.0), (0, 1.0, 1))  # waits
    tap.equal(turn(2.0, 4.0, 2.0, 2.0), (1, 1.0, 2))  # disturbed meanwhile: again
    tap.equal(turn(2.0, 8.0, 2.0, 4.0, 2.0, 5.0), (1, 0.5, 3))  # always: the best of all
    tap.equal(turn(4.0, 4.0, patience_s=0), (0, 0.5, 1))
    tap.equal(turn(1.0, 1.0), (0, 1.0, 1))  # quicker than at the start
    processors = bench_run.Processors(Speeds(*[1.0] * 25, *[1.0, 1.0, 2.0, 2.0]), 0)
    r = fake(4)
    found = bench_run.in_turns({"a": r}, 2, 0.016, processors=processors)["a"]
    r.close()
    tap.equal((found["runs"], found["there"]), (4, [1.0]))
    blocks = [{"there": there, "ms": [ms], "cpu_ms": 1} for there, ms in ((0.5, 7.0), (1.0, 9.0), (0.6, 8.0), (0.4, 1.0), (0.95, 5.0))]
    tap.equal([bench_run.summary(b)["p50_ms"] for b in (blocks, blocks[:1], blocks[:2], blocks[3:] + blocks[1:2])], [8.0, 7.0, 9.0, 7.0])
    told = bench_report.turns_line({"networks": {"n": {"1": {"times": {"a": dict(found, there=[1.0, 0.5])}}}}, "notes": []})
    assert "in 1 of 2" in told and "50 %" in told, told
    tap.equal(bench_report.turns_line(figures()), "")


@test
def npu_bench_tells_how_much_of_the_processors_is_there():
    r = bench_run.Runner([os.path.join(BIN, "npu-bench"), "--peak", "--serve", "--threads", "1"], os.sched_getaffinity(0))
    share = bench_run.Processors(r, 0).share()
    r.close()
    tap.equal(r.head, {"threads": 1})
    assert 0 < share <= 1, share


MANY = """
import json, sys
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    word, *rest = line.split()
    if word == "open":
        answer = {"case": rest[0]} if rest[0] != "bad" else {"unavailable": "not here"}
    else:
        answer = {"ms": [float(rest[2])] * int(rest[0]), "cpu_ms": 1} if word == "run" else {}
    print(json.dumps(answer), flush=True)
"""


@test
def many_cases_in_one_process():
    shared = bench_run.Runner([sys.executable, "-c", MANY], os.sched_getaffinity(0))
    found = bench_run.in_turns({"a": bench_run.Case(shared, "2"), "b": bench_run.Case(shared, "4")}, 2, 0.008)
    tap.equal((found["a"]["p50_ms"], found["a"]["runs"], found["b"]["p50_ms"], found["b"]["runs"]), (2.0, 8, 4.0, 4))
    tap.equal(str(tap.raises(bench_run.Unavailable, bench_run.Case, shared, "bad")), "not here")
    shared.close()


@test
def runners_that_do_not_start():
    def start(code):
        return tap.raises(bench_run.Failed, bench_run.Runner, [sys.executable, "-c", code], os.sched_getaffinity(0))
    tap.equal(str(start("import sys; sys.exit('no such network')")), "no such network")
    e = start("print('{\"unavailable\": \"no bf16\"}', flush=True); input()")
    assert isinstance(e, bench_run.Unavailable) and str(e) == "no bf16", e
    assert "answered" in str(start("print('hello', flush=True); input()"))


@test
def npu_bench_is_a_runner():
    r = bench_run.Runner([os.path.join(BIN, "npu-bench"), "gemm:8x8x8", "--device", "ref", "--serve"], os.sched_getaffinity(0))
    found = bench_run.in_turns({"ours f32": r}, 2, 0.001)
    r.close()
    assert r.head["device"] == "ref" and found["ours f32"]["p50_ms"] > 0 and found["ours f32"]["runs"] >= 2, found


@test
def messages_without_packages():
    lacking = bench_env.missing_modules(sys.executable)
    if lacking:
        e = tap.raises(bench_env.Missing, bench_env.ensure, "none", sys.executable, print)
        assert "lacks " + ", ".join(lacking) in str(e) and "pip install" in str(e), e
    assert "none/python" in str(tap.raises(bench_env.Missing, bench_env.ensure, "none", "none/python", print))
    e = bench_env.remedy("why")
    assert e.startswith("why\n") and "BENCH_PYTHON" in e, e
    p = subprocess.run([sys.executable, "scripts/bench.py", "--build", "/nonexistent"], capture_output=True, text=True)
    assert p.returncode == 1 and "npu-bench is missing" in p.stderr, p.stderr
    folder = tempfile.mkdtemp(prefix="gazed-test-")
    path = os.path.join(folder, "f.json")
    with open(path, "w") as f:
        json.dump(figures(), f)
    with open(path) as f:
        assert bench_report.section(json.load(f)) == bench_report.section(figures())
    subprocess.run(["rm", "-r", folder], check=True)


tap.run(tests)
