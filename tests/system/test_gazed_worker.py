#!/usr/bin/env python3
"""gazed and its worker: crashes, hangs, garbage, quarantine, restarts; clients stay connected through all of it."""
import os
import signal
import sys
import time

sys.path[:0] = [os.path.dirname(__file__)]

from gazed_fixture import Gazed, note, wait_for  # noqa: E402
from tap import equal, run  # noqa: E402


def next_result(client, seconds=5):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        m = client.next(0.5)
        if m is not None and hasattr(m, "seq"):
            return m
    raise AssertionError("no result")


def offered(g):
    return [e["arguments"]["device"] for e in g.worker_events("start")]


def the_worker_gets_what_it_is_promised():
    with Gazed("--source=file:/tmp/x y.mjpeg", "--model-dir=/m", environment={"LISTEN_FDNAMES": "x"}) as g, \
            g.connect() as c:
        g.wait_up(c)
        start = g.worker_events("start")[0]
        equal(start["core"], [0, 0])
        equal(start["environment"], [])
        equal(sorted(start["files"]), ["0", "1", "2", "3"])
        equal(start["files"]["0"], "/dev/null")
        assert start["files"]["3"].startswith("socket:")
        a = start["arguments"]
        equal((a["source"], a["model_dir"], a["device"], a["faces_max"]),
              ("file:/tmp/x y.mjpeg", "/m", "npu,gpu,cpu,ref", "4"))
        with open(f"/proc/{c.status().worker_pid}/status") as f:
            blocked = [line.split()[1] for line in f if line.startswith("SigBlk")]
        equal(int(blocked[0], 16), 0)


def born_s(pid):
    """When a process was started, on CLOCK_BOOTTIME."""
    with open(f"/proc/{pid}/stat") as f:
        return int(f.read().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")


def a_killed_worker_costs_little():
    with Gazed() as g, g.connect() as c:
        c.subscribe()
        worst = again = 0
        for n in (1, 2, 3):
            last = next_result(c)
            pid, killed, killed_ns = c.status().worker_pid, time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic_ns()
            os.kill(pid, signal.SIGKILL)
            while (r := next_result(c)).capture_ns < killed_ns + 10_000_000:
                pass
            assert r.seq > last.seq
            s = c.status()
            assert s.worker_pid != pid
            worst = max(worst, born_s(s.worker_pid) - killed)
            again = max(again, r.capture_ns - killed_ns)
            equal((s.worker_restarts, s.clients), (n, 1))
        note(f"at most {worst * 1000:.0f} ms from SIGKILL to the next worker, "
             f"{again / 1e6:.0f} ms to its results (the fake one's start included)")
        assert worst < 1, worst


def a_kill_from_outside_blames_no_device():
    with Gazed() as g, g.connect() as c:
        g.wait_up(c)
        for n in (1, 2):
            os.kill(c.status().worker_pid, signal.SIGKILL)
            wait_for(lambda: c.status().worker_restarts == n)
            equal(g.wait_up(c).device_kind, "cpu")
        equal(offered(g), ["npu,gpu,cpu,ref"] * 3)


def a_crash_moves_to_the_next_device():
    with Gazed(script={"has": ["gpu", "cpu", "ref"], "on": {"gpu": "crash"}}) as g, g.connect() as c:
        c.subscribe(status=True)
        seen = []
        s = wait_for(lambda: (lambda s: s.device_kind == "cpu" and s.state == "degraded" and s)(c.status()), 5)
        equal((s.device_kind, s.state, s.why), ("cpu", "degraded", "gpu failed 1 time: tried again later"))
        equal(offered(g)[:2], ["npu,gpu,cpu,ref", "cpu,ref,npu,gpu"])
        while (m := c.next(0.2)) is not None and len(seen) < 1000:
            if hasattr(m, "state"):
                seen.append((m.state, m.text))
            if m is not None and hasattr(m, "state") and m.state == "degraded":
                break
        assert any("restarting: the worker was ended by SIGSEGV" == t for _, t in seen), seen
        next_result(c)
        assert "device gpu failed: the next in order is tried" in g.log()


def a_crash_before_it_says_its_device():
    with Gazed(script={"has": ["npu", "cpu", "ref"], "on": {"npu": "early-crash"}}) as g, g.connect() as c:
        equal(g.wait_up(c).device_kind, "cpu")
        equal(offered(g)[1], "gpu,cpu,ref,npu")


def a_hang_is_noticed_in_time():
    with Gazed("--heartbeat-s=0.5") as g, g.connect() as c:
        c.subscribe(status=True)
        next_result(c)
        pid = c.status().worker_pid
        os.kill(pid, signal.SIGSTOP)
        stopped = time.monotonic()
        s = wait_for(lambda: (lambda s: s if s.worker_pid not in (0, pid) and s.state == "degraded" else None)
                     (c.status()), 3)
        assert s, c.status()
        took = time.monotonic() - stopped
        assert 0.4 < took < 3, took
        equal(s.device_kind, "reference")
        assert "gave no sign of life in time: killed" in g.log()
        next_result(c)


def loading_has_more_patience():
    with Gazed("--heartbeat-s=0.2", "--startup-s=1", script={"load_s": 0.5}) as g, g.connect() as c:
        s = g.wait_up(c)
        equal((s.state, s.worker_restarts), ("paused", 0))
    with Gazed("--heartbeat-s=0.2", "--startup-s=0.5", script={"on": {"cpu": "mute"}}) as g, g.connect() as c:
        start = time.monotonic()
        assert wait_for(lambda: "gave no sign of life" in g.log(), 3)
        assert time.monotonic() - start > 0.3
        equal(g.wait_up(c).state, "paused")  # gpu, which the worker did not have, was blamed with npu offered first


def garbage_is_a_failure():
    for deed in ("garbage", "bad-record"):
        with Gazed(script={"on": {"cpu": deed}}) as g, g.connect() as c:
            s = wait_for(lambda: (lambda s: s if s.device_kind == "reference" else None)(c.status()))
            assert s and s.worker_restarts == 1, c.status()
            assert "sent garbage" in g.log()


def three_strikes_are_quarantine():
    # Both devices fail; each strike moves on, three on each put both into quarantine, and it goes on trying, slower.
    with Gazed(script={"on": {"cpu": "exit", "ref": "crash"}}) as g, g.connect() as c:
        assert wait_for(lambda: g.log().count("in quarantine") == 2, 8), g.log()
        log = g.log()
        assert "device cpu failed three times: in quarantine" in log
        assert "device ref failed three times: in quarantine" in log
        starts = [e["t"] for e in g.worker_events("start")]
        assert len(starts) >= 6
        gaps = [b - a for a, b in zip(starts, starts[1:])]
        assert gaps[0] < 2 and gaps[4] > 0.8, gaps  # back-off
        c.ping()
        equal(c.status().state in ("starting", "paused"), True)


def a_quarantined_device_is_not_offered():
    with Gazed(script={"has": ["gpu", "cpu"], "on": {"gpu": "crash", "cpu": "crash"}}) as g, g.connect() as c:
        assert wait_for(lambda: "gpu failed three times" in g.log(), 8)
        wait_for(lambda: len(offered(g)) > 5, 3)
        assert "gpu" not in offered(g)[5], offered(g)
        c.ping()


def a_worker_that_cannot_be_started():
    with Gazed(worker="/nonexistent/worker") as g, g.connect() as c:
        s = c.status()
        equal((s.state, s.text, s.worker_pid),
              ("starting", "restarting: can't start the worker: No such file or directory", 0))
        equal(g.stop(), 0)


def sigterm_ends_a_stubborn_worker():
    with Gazed(script={"stubborn": True}) as g, g.connect() as c:
        pid = g.wait_up(c).worker_pid
        start = time.monotonic()
        equal(g.stop(), 0)
        took = time.monotonic() - start
        assert 1.8 < took < 4, took
        assert not os.path.exists(f"/proc/{pid}")
        assert "did not end in time: killed" in g.log()


def sigterm_is_quick_with_a_good_worker():
    with Gazed() as g, g.connect() as c:
        pid = g.wait_up(c).worker_pid
        c.subscribe()
        start = time.monotonic()
        equal(g.stop(), 0)
        assert time.monotonic() - start < 1.5
        assert not os.path.exists(f"/proc/{pid}")


def state_of(pid):
    """The kernel's letter for it, "" if it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return ""


def the_worker_dies_with_gazed():
    with Gazed() as g, g.connect() as c:
        pid = g.wait_up(c).worker_pid
        g.process.kill()
        g.process.wait()
        assert wait_for(lambda: state_of(pid) in "Z", 3)


run([the_worker_gets_what_it_is_promised, a_killed_worker_costs_little, a_kill_from_outside_blames_no_device,
     a_crash_moves_to_the_next_device, a_crash_before_it_says_its_device, a_hang_is_noticed_in_time,
     loading_has_more_patience, garbage_is_a_failure, three_strikes_are_quarantine,
     a_quarantined_device_is_not_offered, a_worker_that_cannot_be_started, sigterm_ends_a_stubborn_worker,
     sigterm_is_quick_with_a_good_worker, the_worker_dies_with_gazed])
