"""What scripts/bench.py makes of times and outputs: agreement, equal quality, ratios. Pure; no package needed."""
import math
import os
import re
import struct

EXACT_DB = 60.0  # an f32 network that is further from the reference than this is wrong
QUALITY_DB = 20.0  # outputs with less signal to noise are of no use, however fast
CLOSE_DB = 3.0  # of our result and a peer's: the same quality


def read_npy(path):
    """The numbers of an .npy file of f4, i1 or u1."""
    with open(path, "rb") as f:
        data = f.read()
    size = 10 if data[6] == 1 else 12
    n = size + struct.unpack("<H" if size == 10 else "<I", data[8:size])[0]
    kind = re.search(r"'descr': '(.*?)'", data[:n].decode("latin-1")).group(1)
    letter, width = {"<f4": ("f", 4), "|i1": ("b", 1), "|u1": ("B", 1)}[kind]
    return struct.unpack(f"<{(len(data) - n) // width}{letter}", data[n:])


def snr_db(want, have):
    """Signal to noise of one output; 200 where they are equal."""
    if len(want) != len(have):
        return -math.inf
    signal, noise = sum(x * x for x in want), sum((x - y) ** 2 for x, y in zip(want, have))
    if math.isnan(noise) or math.isinf(noise):
        return -math.inf
    if noise == 0:
        return 200.0
    return min(200.0, 10 * math.log10(signal / noise)) if signal > 0 else -math.inf


def agreement_db(reference, outputs):
    """The least over the arrays of the folder `reference`, each together with those of its name in the folders therein (more
    inputs' results); -inf where `outputs` lacks one."""
    inside = sorted(os.listdir(reference))
    names = [n for n in inside if n.endswith(".npy")]
    sets = [""] + [n for n in inside if os.path.isdir(os.path.join(reference, n))]
    least = math.inf
    for name in names:
        want, have = ([os.path.join(d, s, name) for s in sets] for d in (reference, outputs))
        join = lambda paths: [x for p in paths for x in read_npy(p)]
        least = min(least, snr_db(join(want), join(have)) if all(map(os.path.exists, have)) else -math.inf)
    return least if names else -math.inf


def useful(precision, db):
    """Do these outputs count?"""
    return db >= (EXACT_DB if precision == "f32" else QUALITY_DB)


def best(times, key="p50_ms"):
    """(label, time) of the fastest; None where there is none."""
    found = [(t[key], label) for label, t in times.items()]
    return (min(found)[1], min(found)[0]) if found else None


def ratio(times, quality, key="p50_ms"):
    """times: {"runtime precision": summary}, quality: {the same: dB}; "ours ..." is ours. Best peer over our best."""
    counted = {label: t for label, t in times.items() if useful(label.split()[-1], quality.get(label, -math.inf))}
    ours = best({label: t for label, t in counted.items() if label.startswith("ours ")}, key)
    peer = best({label: t for label, t in counted.items() if not label.startswith("ours ")}, key)
    if not ours or not peer:
        return None
    return {"ratio": peer[1] / ours[1], "ours": ours[0], "ours_ms": ours[1], "peer": peer[0], "peer_ms": peer[1],
            "less_exact": quality[ours[0]] < min(quality[peer[0]], EXACT_DB) - CLOSE_DB}


def geometric_mean(values):
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def roof_ms(macs, peak, precision):
    """The least time for so many multiply-adds; peak: npu-bench --peak."""
    rate = peak["int8_gops"] if precision.startswith("int8") else peak["f32_gflops"]
    return 2 * macs / rate * 1e-6


def by_operation(plan, count=5):
    """[(operation and tier, share of the time)] of a profiled plan, the largest first."""
    sums = {}
    for n in plan["nodes"]:
        if not n["constant"] and n.get("ms", 0) > 0:
            key = f"{n['op']} ({n['tier']})"
            sums[key] = sums.get(key, 0.0) + n["ms"]
    total = sum(sums.values())
    return [(key, ms / total) for key, ms in sorted(sums.items(), key=lambda x: -x[1])[:count]]
