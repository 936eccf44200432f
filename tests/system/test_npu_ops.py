#!/usr/bin/env python3
"""Every operation against the C reference and its gradients against finite differences, on the reference and on OpenCL."""
import time

import tap
from npu_ops_fixture import need_opencl, operations, run, side_by_side

# How many cases there were when this was written: fewer means that tests got lost.
AT_LEAST = {"test": 1080, "grad": 568}


def everything(command, device):
    if device != "ref":
        need_opencl()
    start = time.monotonic()
    # products and convolutions, the longest, are named last in the registry
    outs = side_by_side(lambda op: run(command, "--device", device, "--op", op), [(op,) for op in reversed(operations())])
    passed = sum(o["passed"] for o in outs)
    print("# %s on %s: %d passed, %d skipped, %.0f s" % (command, device, passed, sum(o["skipped"] for o in outs),
                                                       time.monotonic() - start), flush=True)
    assert passed >= AT_LEAST[command], "only %d cases, %d were known" % (passed, AT_LEAST[command])


def test_on_the_reference():
    everything("test", "ref")


def gradients_on_the_reference():
    everything("grad", "ref")


def test_on_opencl():
    everything("test", "cl")


def gradients_on_opencl():
    everything("grad", "cl")


tap.run([test_on_the_reference, gradients_on_the_reference, test_on_opencl, gradients_on_opencl])
