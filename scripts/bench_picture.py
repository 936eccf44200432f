"""Pictures of the figures of scripts/bench.py as SVG: ratios as bars, growth as lines. Pure; no package needed."""
import math
from xml.sax.saxutils import escape

COLOURS = ("#1f6f8b", "#7fb7be", "#d1603d", "#8a8a8a")
FONT = 'font-family="sans-serif" font-size="13"'


def svg(width, height, body):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" {FONT}>\n'
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n' + "\n".join(body) + "\n</svg>\n")


def text(x, y, words, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(words)}</text>'


def line(x1, y1, x2, y2, colour, more=""):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {more}/>'


def nice_steps(most, count=5):
    """0, and steps of 1, 2 or 5 times a power of ten, up to `most` or just above."""
    size = 10 ** math.floor(math.log10(most / count))
    step = next(size * k for k in (1, 2, 5, 10) if size * k * count >= most * 0.999)
    return [i * step for i in range(int(math.ceil(most / step - 1e-9)) + 1)]


def label(x):
    return f"{x:g}"


def ratios(rows):
    """Bars of bench_report.ratio_rows: one for each number of threads; a mark where the goal is, a line at 1."""
    rows = [r for r in rows if any(x is not None for x in r[2])]
    left, width, bar = 250, 860, 13
    most = max([x for r in rows for x in r[2] if x is not None] + [r[1] or 1 for r in rows] + [1.2])
    steps = nice_steps(most)
    at = lambda x: left + (width - left - 60) * x / steps[-1]
    pitch = bar * max([len(r[2]) for r in rows] + [1]) + 12
    height = 50 + pitch * len(rows) + 30
    body = [line(at(s), 40, at(s), height - 30, "#e4e4e4") + text(at(s), height - 14, label(s), 'text-anchor="middle" fill="#555"') for s in steps]
    body.append(text(16, 20, "Time of the fastest peer over ours; more than 1: gazed is faster. Black: the goal. Dark: 1 thread, light: 2.", 'fill="#333"'))
    for i, (title, goal, found, _) in enumerate(rows):
        top = 46 + i * pitch
        body.append(text(left - 8, top + pitch / 2 - 2, title, 'text-anchor="end"'))
        for k, x in enumerate(found):
            if x is None:
                continue
            y = top + k * bar
            body.append(f'<rect x="{left}" y="{y}" width="{at(x) - left:.1f}" height="{bar - 2}" fill="{COLOURS[k % 2]}"/>')
            beside = at(goal) if goal and at(x) < at(goal) < at(x) + 32 else at(x) # not across the mark
            body.append(text(beside + 5, y + bar - 3, f"{x:.2f}", 'font-size="11" fill="#333"'))
        if goal:
            body.append(line(at(goal), top - 2, at(goal), top + bar * len(found), "#000000", 'stroke-width="2"'))
    body.append(line(at(1), 40, at(1), height - 30, "#999999", 'stroke-dasharray="4 3"'))
    return svg(width, height, body)


def panel(x0, title, points, x_title):
    """Lines of {label: [(x, y)]} in a square that begins at x0."""
    left, top, wide, high = x0 + 60, 50, 320, 240
    xs, ys = [x for p in points.values() for x, _ in p], [y for p in points.values() for _, y in p]
    x_steps, y_steps = nice_steps(max(xs)), nice_steps(max(ys))
    at_x, at_y = lambda x: left + wide * x / x_steps[-1], lambda y: top + high - high * y / y_steps[-1]
    body = [text(left, 24, title, 'font-weight="bold"'), text(left, 42, "ms", 'fill="#555" font-size="11"'),
            text(left + wide, top + high + 36, x_title, 'text-anchor="end" fill="#555"')]
    for s in y_steps:
        body += [line(left, at_y(s), left + wide, at_y(s), "#e4e4e4"), text(left - 6, at_y(s) + 4, label(s), 'text-anchor="end" font-size="11"')]
    for s in x_steps:
        body += [line(at_x(s), top + high, at_x(s), top + high + 4, "#555"), text(at_x(s), top + high + 18, label(s), 'text-anchor="middle" font-size="11"')]
    for k, (name, p) in enumerate(points.items()):
        colour = COLOURS[(0, 2, 3, 1)[k % 4]]
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in sorted(p))
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        body += [f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3" fill="{colour}"/>' for x, y in p]
        body.append(text(left + 10, top + 16 + 16 * k, name.replace("ours", "gazed"), f'fill="{colour}"'))
    return body


def lines_of(by_value, x_of=float):
    points = {}
    for v, times in by_value.items():
        for name, t in times.items():
            points.setdefault(name, []).append((x_of(v), t["p50_ms"]))
    return points


def growth(g):
    """Time over batch of gaze_vit, and over the pixels of MobileNetV2's picture."""
    body = []
    if g["batch"]:
        body += panel(0, "gaze_vit: time of a batch", lines_of(g["batch"]), "faces in a batch")
    if g["size"]:
        body += panel(420, "MobileNetV2: time of a picture", lines_of(g["size"], lambda s: int(s) ** 2 / 1000), "thousand pixels")
    return svg(840, 340, body)
