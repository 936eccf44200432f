#!/usr/bin/env python3
"""Every operation against the C reference and its gradients against finite differences, on the reference and on OpenCL."""
import time

import tap
from npu_ops_fixture import need_opencl, operations, run, side_by_side

# How many cases there were when this was written: fewer means that tests got lost.
AT_LEAST = {"test": 1420, "grad": 590}


# Cases passed on the reference: {command: {operation: count}}.
on_reference = {}


def everything(command, device):
    if device != "ref":
        need_opencl()
    start = time.monotonic()
    # products and convolutions, the longest, are named last in the registry
    ops = list(reversed(operations()))
    outs = side_by_side(lambda op: run(command, "--device", device, "--op", op), [(op,) for op in ops])
    passed = {op: out["passed"] for op, out in zip(ops, outs)}
    total = sum(passed.values())
    print("# %s on %s: %d passed, %d skipped, %.0f s" % (command, device, total, sum(o["skipped"] for o in outs),
                                                       time.monotonic() - start), flush=True)
    assert total >= AT_LEAST[command], "only %d cases, %d were known" % (total, AT_LEAST[command])
    if device == "ref":
        on_reference[command] = passed
    else:
        every_case_of_the_reference(command, passed, outs)


def every_case_of_the_reference(command, passed, outs):
    """What the device can't do it skips; that must be nothing."""
    assert command in on_reference, "the reference failed"
    lost = ["%s: %d of %d" % (op, n, on_reference[command][op]) for op, n in passed.items() if n != on_reference[command][op]]
    skips = ["%(op)s case %(case)s %(dtype)s: %(text)s" % r for o in outs for r in o["results"] if r["verdict"] == "skip"]
    assert not lost, "cases lost against the reference: %s\nskipped:\n%s" % ("; ".join(lost), "\n".join(skips[:40]))


def test_on_the_reference():
    everything("test", "ref")


def gradients_on_the_reference():
    everything("grad", "ref")


def test_on_opencl():
    everything("test", "cl")


def gradients_on_opencl():
    everything("grad", "cl")


tap.run([test_on_the_reference, gradients_on_the_reference, test_on_opencl, gradients_on_opencl])
