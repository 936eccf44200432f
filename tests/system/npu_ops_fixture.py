"""npu-ops for tests: one operation a process, several processes side by side (PoCL compiles on one core a process), compiled
kernels kept in the build folder so that only the first run pays for them."""
import concurrent.futures
import json
import os
import subprocess

from tap import skip_cl

O = os.environ.get("O", "build")
NPU_OPS = os.path.join(O, "bin", "npu-ops")
CACHE = os.path.abspath(os.path.join(O, "kernel-cache"))


def run(command, *args, env=None):
    """The JSON of npu-ops; raises with what it said or which cases failed."""
    e = dict(os.environ, POCL_CACHE_DIR=os.path.join(CACHE, "pocl"), XDG_CACHE_HOME=CACHE, **(env or {}))
    p = subprocess.run([NPU_OPS, command, *args, "--json"], env=e, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       universal_newlines=True)
    try:
        out = json.loads(p.stdout)
    except ValueError:
        raise AssertionError("%s: exit code %d: %s" % (" ".join(p.args), p.returncode, p.stderr.strip() or "no JSON"))
    failed = ["%(op)s case %(case)s %(dtype)s: %(text)s" % r for r in out["results"] if r["verdict"] not in ("pass", "skip")]
    if failed or p.returncode != 0:
        raise AssertionError("%s: exit code %d, %d failed\n%s" % (" ".join(p.args), p.returncode, len(failed), "\n".join(failed[:20])))
    return out


def operations():
    seen = {}
    for r in run("support", "--device", "ref")["results"]:
        seen[r["op"]] = True
    return list(seen)


def info_of_devices(env=None):
    p = subprocess.run([os.path.join(O, "bin", "npu-info"), "--json"], env=dict(os.environ, **(env or {})), stdout=subprocess.PIPE,
                       universal_newlines=True, check=True)
    return json.loads(p.stdout)


def cl_tiers(env):
    """Of the device that `--device cl` opens: {tier: why it does not serve, "" if it does}."""
    device = next(d for d in info_of_devices(env)["devices"] if d["usable"] and d["id"].startswith("cl"))
    return {t["name"]: t["why"] for t in device["tier_tests"]}


def need_opencl():
    info = info_of_devices()
    if not any(d["usable"] and d["id"].startswith("cl") for d in info["devices"]):
        why = [d["id"] + ": " + d["why_not"] for d in info["devices"] if d["why_not"]]
        skip_cl("no OpenCL device: " + (info["note"] or "; ".join(why)))


def side_by_side(function, arguments):
    """function(*a) of each; the first failure is raised when all are done."""
    with concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        jobs = [pool.submit(function, *a) for a in arguments]
    return [j.result() for j in jobs]
