#!/usr/bin/env python3
"""The service on a device that fails (libnpu's null device, told by NPU_NULL): the next in order takes over, clients stay
connected, and what happened is said once."""
import os
import sys
import time

sys.path[:0] = [os.path.dirname(__file__)]

from gazed_fixture import wait_for  # noqa: E402
from service_fixture import CENTRE, Service, jpeg, results, spots, status_with, write  # noqa: E402
from tap import equal, run  # noqa: E402

CLIP = write("clip.mjpeg", jpeg(spots(CENTRE)) * 8)


def on_null(options):
    """A service that takes the null device for its NPU, and then the reference."""
    return Service(f"file:{CLIP}", "--fps=20", device="npu,ref", environment={"NPU_NULL": "kind=npu," + options})


def goes_on(options, said, first, seconds):
    """Results from the null device, then without a gap in their numbers from ref; returns the log."""
    with on_null(options) as g, g.connect() as c:
        c.subscribe()
        got = results(c, first, 60) if first else []
        assert all(r.device == "null" for r in got), [r.device for r in got]
        begin = time.monotonic()
        while not got or got[-1].device != "ref":
            got += results(c, 1, 60)
        assert time.monotonic() - begin < seconds, time.monotonic() - begin
        got += results(c, 5, 60)
        assert all(b.seq > a.seq for a, b in zip(got, got[1:])), [r.seq for r in got]
        assert [len(r.faces) for r in got[-4:]] == [1] * 4
        s = status_with(c, lambda s: s.state == "degraded" and "npu failed" in s.why)
        assert s.worker_restarts == 1, s
        equal(g.process.poll(), None)
        for text in said:
            assert g.log().count(text) == 1, (text, g.log())
        return g.log()


def lost_in_the_middle_of_a_frame():
    log = goes_on("lost=12", ("the device failed: null: the device is lost", "warning: the worker ended with exit code", "device npu failed: the next"), 2, 20)
    assert log.count("error") <= 2, log


def hung_in_the_middle_of_a_frame():
    goes_on("hang=12", ("gave no sign of life in time: killed", "device npu failed: the next"), 2, 30)


def no_memory_when_it_starts():
    """Told as why there is no better device; no restart, as the same worker goes on to the next."""
    for options, word in (("alloc=2", "null: no device memory"), ("build=1", "null: program does not build")):
        with on_null(options) as g, g.connect() as c:
            c.subscribe()
            got = results(c, 3, 60)
            equal([r.device for r in got], ["ref"] * 3)
            s = c.status()
            assert word in s.why and s.worker_restarts == 0, s
            assert wait_for(lambda: word in g.log(), 5), g.log()


run([lost_in_the_middle_of_a_frame, hung_in_the_middle_of_a_frame, no_memory_when_it_starts])
