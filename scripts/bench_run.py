"""Processes that run one network each, and their measurement in turns on the same processors: whoever is not at its turn
is stopped, so no waiting thread of one runtime takes time from another."""
import contextlib
import functools
import json
import os
import select
import signal
import statistics
import subprocess
import tempfile
import time

START_S, TURN_S = 900, 600
MAX_RUNS = 2000
THERE, TRIES, WAIT_S = 0.92, 3, 3.0  # a turn begins with so much of the processors, or after so long, and is taken so often


class Failed(Exception):
    """A process did not start, refused, or died; the text says why."""


class Unavailable(Failed):
    """The runtime does not offer this."""


class Runner:
    """A process that answers "run N WARM-UP" with {"ms": [...], "cpu_ms": ...}; its first line says that it is ready."""

    def __init__(self, command, cpus, env=None):
        self.stderr = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.stderr, env=env,
                                        preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        self.rest = b""
        try:
            self.head = self.answer(START_S)
            if "unavailable" in self.head:
                raise Unavailable(self.head["unavailable"])
        except Failed:
            self.close()
            raise
        self.pause()

    def pause(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)

    def why(self, otherwise):
        self.stderr.seek(0)
        lines = self.stderr.read().strip().splitlines()
        return lines[-1][:300] if lines else otherwise

    def answer(self, seconds):
        """The next line, as JSON."""
        end, out = time.monotonic() + seconds, self.process.stdout.fileno()
        while b"\n" not in self.rest:
            if not select.select([out], [], [], max(0.0, end - time.monotonic()))[0]:
                raise Failed(f"no answer within {seconds} s")
            data = os.read(out, 1 << 16)
            if not data:
                self.process.wait()
                raise Failed(self.why(f"ended with exit code {self.process.returncode}"))
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        try:
            return json.loads(line)
        except ValueError:
            raise Failed(f"answered {line[:80]!r}") from None

    def ask(self, text, seconds=TURN_S):
        """The answer to a line; the process goes on only meanwhile."""
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise Failed(self.why("ended")) from None
        found = self.answer(seconds)
        self.pause()
        return found

    def run(self, count, warm_up, case=""):
        found = self.ask(f"run {count} {warm_up} {case}")
        if "error" in found or len(found["ms"]) != count:
            raise Failed(found.get("error", "too few runs"))
        return found

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.stdin.close()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.stderr.close()


class Case:
    """One of many things that a process has ready, for in_turns: starting it once saves time."""

    def __init__(self, runner, text):
        self.runner = runner
        head = runner.ask("open " + text, START_S)
        if "unavailable" in head:
            raise Unavailable(head["unavailable"])
        self.case = head["case"]

    def run(self, count, warm_up):
        return self.runner.run(count, warm_up, self.case)

    def close(self):
        with contextlib.suppress(Failed):
            self.runner.ask(f"close {self.case}")


class Processors:
    """How much of the processors is there: neighbours of a virtual machine, other programs and heat take some at times, for
    seconds mostly. The runner does the same work on each of them in every run."""

    def __init__(self, runner, patience_s):
        self.runner, self.patience_s, self.least = runner, patience_s, float("inf")
        for _ in range(25):
            self.share()

    def share(self):
        """Of the speed at the best moment so far."""
        ms = statistics.mean(self.runner.run(4, 0)["ms"])
        self.least = min(self.least, ms)
        return self.least / ms

    def wait(self):
        """Until enough is there, for WAIT_S at most; the share."""
        start, share = time.monotonic(), self.share()
        while share < THERE and time.monotonic() - start < min(WAIT_S, self.patience_s):
            time.sleep(0.05)
            share = self.share()
        self.patience_s -= time.monotonic() - start
        return share

    def turn(self, run):
        """run's answer with "there", the lesser share before and after it: of TRIES turns the first with enough of the
        processors, or the one with the most. Patience in all is limited."""
        found = None
        for _ in range(TRIES):
            before, start, answer = self.wait(), time.monotonic(), run()
            there = min(before, self.share())
            if not found or there > found["there"]:
                found = dict(answer, there=there)
            if there >= THERE or self.patience_s <= 0:
                break
            self.patience_s -= time.monotonic() - start
        return found


def quiet(blocks):
    """Of turns those with enough of the processors; at least the half with the most. Times have no say in it."""
    if not all("there" in b for b in blocks):
        return blocks
    enough = sum(b["there"] >= THERE for b in blocks)
    return sorted(blocks, key=lambda b: -b["there"])[:max(enough, (len(blocks) + 1) // 2)]


def summary(blocks):
    """Times of all quiet blocks together: blocks are answers of Runner.run, or of Processors.turn."""
    blocks = quiet(blocks)
    ms = sorted(t for b in blocks for t in b["ms"])
    return {"runs": len(ms), "min_ms": ms[0], "p50_ms": statistics.median(ms), "p90_ms": ms[min(len(ms) - 1, len(ms) * 9 // 10)],
            "cpu_ms": statistics.median(b["cpu_ms"] for b in blocks), "blocks_ms": [statistics.median(b["ms"]) for b in blocks],
            "there": [round(b["there"], 3) for b in blocks if "there" in b]}


def in_turns(runners, rounds, block_s, say=lambda text: None, processors=None):
    """Each of {label: Runner} for about block_s a round; the order changes from round to round. {label: summary}; one that
    fails is left out and said. With `processors` turns are taken again where they were not all there, whoever's turn it is."""
    blocks, count = {label: [] for label in runners}, {}
    for turn in range(rounds + 1):
        labels = [label for label in runners if label in blocks]
        for label in labels[turn % len(labels):] + labels[:turn % len(labels)] if labels else []:
            try:
                if turn == 0:  # how long is a run?
                    first = statistics.median(runners[label].run(2, 1)["ms"])
                    count[label] = max(1, min(MAX_RUNS, int(1e3 * block_s / max(first, 1e-3))))
                else:
                    run = functools.partial(runners[label].run, count[label], max(1, count[label] // 8))
                    blocks[label].append(processors.turn(run) if processors else run())
            except Failed as e:
                say(f"{label}: {e}")
                del blocks[label]
    return {label: summary(b) for label, b in blocks.items() if b}
