"""The figures of scripts/bench.py as Markdown: what a reader wants first, then all of it. Pure; no package needed."""
import math
import statistics

import bench_numbers
import bench_run

BEGIN, END = "<!-- make bench writes from here -->", "<!-- to here -->"
TITLES = {"gaze_vit": "gaze_vit, one face", "vit_tiny": "ViT-Tiny/16 224", "resnet34": "ResNet-34 224", "mobilenet_v2": "MobileNetV2 224",
          "alexnet": "AlexNet 448", "landmarks": "landmarks, one face", "face_finder": "face_finder, 256 x 192"}
GOALS = {"gaze_vit": 1.3, "vit_tiny": 1.25, "resnet34": 1.1, "mobilenet_v2": 1.0, "alexnet": 1.0}
PRODUCT_GOALS = {"f32": None, "bf16": 1.1, "int8": 1.1}
BLAS_GOAL, TRAINING_GOAL, WARM_S, EMPTY_S = 1.0, 2.0, 0.3, 10.0


def table(head, rows):
    return "\n".join(["| " + " | ".join(r) + " |" for r in [head, ["---"] * len(head)] + rows])


def number(x, digits=3):
    """Three significant digits, never in powers of ten."""
    if x is None or math.isinf(x) or math.isnan(x):
        return "-"
    if x == 0:
        return "0"
    return f"{x:.{max(0, digits - 1 - math.floor(math.log10(abs(x))))}f}"


def rated(x, goal):
    """A ratio, bold where it misses its goal."""
    if x is None:
        return "-"
    text = f"{x:.2f}"
    return text if goal is None or x >= goal else f"**{text}**"


def ratios_of(entry, threads):
    return [entry.get(str(t), {}).get("ratio") for t in threads]


def combine(entries, threads):
    """Geometric mean of the ratios of several products, for each number of threads; None where none was measured."""
    return [bench_numbers.geometric_mean(r["ratio"] for r in (e.get(str(t), {}).get("ratio") for e in entries) if r) for t in threads]


def product_groups(figures):
    """{(network, precision): entries}; what the product belongs to is in its rows: 197 tokens or 48."""
    groups = {}
    for key, entry in figures["products"].items():
        name, precision = key.split()
        groups.setdefault(("ViT-Tiny" if name.startswith("gemm:197x") else "gaze_vit", precision), []).append(entry)
    return groups


def ratio_rows(figures):
    """[(title, goal or None, [ratio for each number of threads], what was compared)], for table and picture."""
    threads, rows = figures["threads"], []
    for name in [n for n in TITLES if n in figures["networks"]]:
        found = ratios_of(figures["networks"][name], threads)
        last = next((r for r in reversed(found) if r), None)
        text = f"{last['ours'].split()[1]} {number(last['ours_ms'])} ms; {last['peer']} {number(last['peer_ms'])} ms" if last else "-"
        text += ", which is more exact" if last and last["less_exact"] else ""
        rows.append((TITLES[name], GOALS.get(name), [r["ratio"] if r else None for r in found], text))
    for (network, precision), entries in sorted(product_groups(figures).items(), reverse=True):
        against = "oneDNN in int8" if precision == "int8" else "oneDNN in bf16 where it has that, else the faster of oneDNN and MKL in f32" if precision == "bf16" else "the faster of oneDNN and MKL"
        rows.append((f"products of {network}, {precision}", PRODUCT_GOALS[precision], combine(entries, threads), f"{against}; mean of {len(entries)} shapes"))
    if figures["blas"]:
        rows.append(("products in OpenCL C, f32", BLAS_GOAL, combine(list(figures["blas"].values()), threads),
                     f"OpenBLAS; mean of {len(figures['blas'])} shapes"))
    if figures["training"]:
        found = ratios_of(figures["training"], threads)
        last = next((r for r in reversed(found) if r), None)
        batch = next(iter(figures["training"].values()))["batch"]
        text = f"{number(1e3 * batch / last['ours_ms'])} images/s; {last['peer']} {number(1e3 * batch / last['peer_ms'])}" if last else "-"
        rows.append(("training step of gaze_vit", TRAINING_GOAL, [r["ratio"] if r else None for r in found], text))
    return rows


def heads(threads):
    return [f"{t} thread{'s' if t > 1 else ''}" for t in threads]


def ratio_table(figures):
    rows = [[title, f">= {goal}" if goal else "", *(rated(r, goal) for r in found), text] for title, goal, found, text in ratio_rows(figures)]
    return table(["", "goal", *heads(figures["threads"]), f"ours and the best peer, {heads(figures['threads'])[-1]}"], rows)


# ---- tables of everything ----
def label_text(label):
    runtime, precision = label.split()
    return ("**gazed**" if runtime == "ours" else runtime) + " " + precision


def times_table(figures):
    threads, rows = figures["threads"], []
    for name in [n for n in TITLES if n in figures["networks"]]:
        entry = figures["networks"][name]
        measured = [entry.get(str(t), {"times": {}, "quality": {}}) for t in threads]
        labels = sorted({label for m in measured for label in m["times"]}, key=lambda x: (not x.startswith("ours"), x))
        for label in labels:
            db = min(m["quality"].get(label, math.inf) for m in measured)
            quality = "equal" if db >= 200 else f"{db:.0f} dB" + ("" if bench_numbers.useful(label.split()[1], db) else ", does not count")
            cells = [number(m["times"].get(label, {}).get("p50_ms")) for m in measured]
            spread = [number(m["times"].get(label, {}).get("p90_ms")) for m in measured]
            rows.append([TITLES[name] if label == labels[0] else "", label_text(label), *cells, " / ".join(spread), quality])
    return table(["network", "runtime", *(f"{h}, ms" for h in heads(threads)), "90 % within", "signal to noise"], rows)


def peer_text(label, precision):
    """A peer's name, with its precision where that is another one than ours."""
    return label if precision and label.split()[1] != precision else label.split()[0]


def product_table(entries, threads, peaks):
    """Speeds; ours with its share of the processor's peak."""
    rows = []
    for key, entry in entries.items():
        name, _, precision = key.partition(" ")
        cells = []
        for t in threads:
            m = entry.get(str(t), {"times": {}})
            rate = lambda x: number(2e-6 * m["macs"] / x["p50_ms"]) if x else "-"
            ours = next((x for label, x in m["times"].items() if label.startswith("ours")), None)
            peers = [(x["p50_ms"], label) for label, x in m["times"].items() if not label.startswith("ours")]
            peer = m["times"][min(peers)[1]] if peers else None
            roof = bench_numbers.roof_ms(m["macs"], peaks[str(t)], precision) if ours else None
            cells += [f"{rate(ours)} ({100 * roof / ours['p50_ms']:.0f} %)" if ours else "-", f"{rate(peer)} ({peer_text(min(peers)[1], precision)})" if peers else "-", rated(m["ratio"]["ratio"] if m.get("ratio") else None, None)]
        rows.append([name.partition(":")[2].replace("x", " x ").replace("*", ", "), precision or "f32", *cells])
    head = [c for h in heads(threads) for c in (f"{h}: gazed, Gop/s (of the peak)", "best peer", "ratio")]
    return table(["M x K x N, products in turn", "", *head], rows)


def start_table(figures):
    rows = []
    for name in [n for n in TITLES if n in figures["networks"]]:
        e = figures["networks"][name]
        if not e.get("memory"):
            continue
        parts = [] if e["start"] else ["-", "-"]
        for which, goal in (("warm", WARM_S), ("empty", EMPTY_S)) if e["start"] else ():
            s = e["start"][which]
            seconds = (s["context_ms"] + s["plan_ms"] + s["first_ms"]) / 1e3
            text = f"{seconds:.2f} s" if seconds <= goal else f"**{seconds:.2f} s**"
            parts.append(f"{text} = {s['context_ms']:.0f} + {s['plan_ms']:.0f} + {s['first_ms']:.0f} ms")
        mib = lambda key: e["memory"][key] / 2 ** 20
        rows.append([TITLES[name], *parts, f"{mib('persistent_bytes'):.1f} for {mib('sum_of_params_bytes'):.1f} MiB",
                     f"{mib('arena_bytes'):.2f} for {mib('sum_of_values_bytes') - mib('sum_of_params_bytes'):.2f} MiB"])
    return table(["f32, all processors", f"warm program cache (goal {WARM_S} s)", f"empty (goal {EMPTY_S:.0f} s)", "memory for parameters (packed too)", "memory for results (their sum)"], rows)


def where_table(figures):
    """Network, its roof and where the time goes, for each number of threads where a goal is missed or there is none."""
    rows = []
    entries = [(TITLES[n], GOALS.get(n), figures["networks"][n]) for n in TITLES if n in figures["networks"]]
    entries.append(("training step of gaze_vit", TRAINING_GOAL, figures["training"]))
    for title, goal, e, t in [(*entry, str(t)) for entry in entries for t in figures["threads"]]:
        p, r = e.get("profile", {}).get(t), e.get(t, {}).get("ratio")
        if not p or not r or (goal and r["ratio"] >= goal):
            continue
        roof = bench_numbers.roof_ms(p["macs"], figures["peak"][t], p["precision"])
        share = f"{number(roof)} ms, {100 * roof / r['ours_ms']:.0f} % of it"
        where = ", ".join(f"{op} {100 * s:.0f} %" for op, s in p["operations"])
        rows.append([title, t, p["precision"], f"{p['macs'] / 1e6:.0f} M", f"{number(r['ours_ms'])} ms", share, where])
    return table(["network", "threads", "in", "multiply-adds", "ours", "at the processor's peak", "where the time goes"], rows) if rows else ""


def growth_lines(growth):
    """How much one more face costs each runtime: the slope of time over batch."""
    points = {}
    for b, times in growth["batch"].items():
        for label, t in times.items():
            points.setdefault(label, []).append((int(b), t["p50_ms"]))
    cells = []
    for label, xy in points.items():
        n, sx, sy = len(xy), sum(x for x, _ in xy), sum(y for _, y in xy)
        sxx, sxy = sum(x * x for x, _ in xy), sum(x * y for x, y in xy)
        if n > 1:
            cells.append(f"{label_text(label)} {number((n * sxy - sx * sy) / (n * sxx - sx * sx))} ms")
    return "One more face in a batch of gaze_vit costs " + ", ".join(cells) + f" ({heads([growth['threads']])[0]}).\n\n![Time against batch and picture](bench-growth.svg)"


def peak_line(figures):
    parts = [f"{h} {p['f32_gflops']:.0f} Gflop/s in f32, {p['int8_gops']:.0f} Gop/s in int8, {p['read_gbps']:.1f} GB/s from memory"
             for h, p in zip(heads(figures["threads"]), (figures["peak"][str(t)] for t in figures["threads"]))]
    how = figures["peak"][str(figures["threads"][0])]["how"]
    return f"The processor's peak, measured in the same run ({how}): " + "; ".join(parts) + ". Shares below may pass 100 %: bf16 is held against f32's peak, which a unit for it doubles, and Winograd's tiles take fewer multiply-adds than are counted."


def turns_of(figures):
    """Of each turn of the run how much of the processors was there."""
    if isinstance(figures, dict):
        return figures.get("there", []) if "p50_ms" in figures else [t for f in figures.values() for t in turns_of(f)]
    return []


def turns_line(figures):
    """In how many turns the processors were all there."""
    there = turns_of(figures)
    few = [t for t in there if t < bench_run.THERE]
    if not there:
        return ""
    return (f" Turns wait for quiet processors, and the quieter half of a row's counts: in {len(there) - len(few)} of {len(there)} at least {100 * bench_run.THERE:.0f} % of their best speed was there before and after"
            + (f"; in the others, after waiting in vain, {100 * statistics.median(few):.0f} % in the median." if few else "."))


def missing_lines(figures):
    """Why a peer has no figure: each reason once."""
    reasons = {}
    for e in figures["networks"].values():
        for t in figures["threads"]:
            for label, why in e.get(str(t), {}).get("missing", {}).items():
                reasons.setdefault((label_text(label), why), 0)
    return [f"* {label}: {why}" for label, why in sorted(reasons)] + [f"* {n}" for n in figures["notes"]]


def section(figures):
    """All between the markers."""
    f = figures
    lines = [f"{f['processor']}, {f['cores']} cores, load {f['load_at_start']} at the start; {f['versions']}; gazed on {f['device']}; {f['when']}"
             + ("; a quick run" if f["quick"] else "") + ".", "", ratio_table(f), "", "![Ratios](bench-peers.svg)", "",
             "Bold: the goal is missed. Ratio: time of the fastest peer over ours, each in its fastest precision that counts.", "", peak_line(f) + turns_line(f)]
    if f["networks"]:
        lines += ["", "### Times", "", times_table(f)]
        lines += ["", "### Start and memory", "", start_table(f)]
        where = where_table(f)
        if where:
            lines += ["", "### Where goals are missed or none is set", "", where]
    if f.get("growth") and f["growth"]["batch"]:
        lines += ["", "### Growth", "", growth_lines(f["growth"])]
    if f["products"] or f["blas"]:
        lines += ["", "### Products of matrices", "", product_table({**f["products"], **f["blas"]}, f["threads"], f["peak"])]
    missing = missing_lines(f)
    if missing:
        lines += ["", "### Not measured", "", *missing]
    return "\n".join(lines)


def put_section(text, new):
    """The document with what is between the markers replaced."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document lacks the markers {BEGIN} and {END}")
    return before + BEGIN + "\n" + new.strip() + "\n" + END + after
