#!/usr/bin/env python3
"""Bad drivers, devices that nothing serves, and poor surroundings: npu-info says what is wrong, and all else goes on."""
import functools
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile

sys.path[:0] = [os.path.dirname(__file__)]

from tap import Skip, equal, run, skip_cl  # noqa: E402

O = os.path.abspath(os.environ.get("O", "build"))
SCRATCH = tempfile.mkdtemp(prefix="npu-drivers-")
os.chmod(SCRATCH, 0o755)
POCL = "/etc/OpenCL/vendors/pocl.icd"
for name in ("OCL_ICD_VENDORS", "OPENCL_VENDOR_PATH", "NPU_NULL"):
    os.environ.pop(name, None)


def tool(name, *args, env=None, wrap=(), **more):
    e = dict(os.environ)
    for k, v in (env or {}).items():
        e.pop(k, None)
        if v is not None:
            e[k] = v
    return subprocess.run([*wrap, os.path.join(O, "bin", name), *args], capture_output=True, text=True, env=e, timeout=120, **more)


def info(env=None, wrap=(), **more):
    p = tool("npu-info", "--json", env=env, wrap=wrap, **more)
    equal((p.returncode, p.stderr), (0, ""))
    return json.loads(p.stdout)


def device(d, name):
    found = [x for x in d["devices"] if x["id"] == name]
    assert found, d
    return found[0]


@functools.lru_cache(maxsize=None)
def best():
    """The device that is taken where nothing is amiss."""
    return info()["auto"]


@functools.lru_cache(maxsize=None)
def has_pocl():
    return os.path.exists(POCL) and any("Portable" in x["driver"] and x["usable"] for x in info()["devices"])


def build(name, code):
    """A library as a driver would be."""
    cc = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not cc:
        raise Skip("no compiler")
    lib = os.path.join(SCRATCH, "lib%s.so" % name)
    subprocess.run([cc, "-shared", "-fPIC", "-x", "c", "-o", lib, "-"], check=True, text=True,
                   input="#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n" + code)
    return lib


def vendors(name, *, pocl, **libraries):
    """A folder with these drivers, and a good one if asked for."""
    folder = os.path.join(SCRATCH, name)
    os.mkdir(folder)
    for n, lib in libraries.items():
        with open(os.path.join(folder, n + ".icd"), "w") as f:
            f.write(lib + "\n")
    if pocl:
        shutil.copy(POCL, folder)
    return {"OCL_ICD_VENDORS": folder, "NPU_PROBE_MS": "2500" if pocl else "600"}


IN_CONSTRUCTOR = "__attribute__((constructor)) static void f(void) { %s }"
IN_PLATFORMS = """
int clIcdGetPlatformIDsKHR(unsigned n, void *ids, unsigned *ret) { %s }
int clGetPlatformInfo(void *p, unsigned what, size_t size, void *to, size_t *ret) { return -30; }
void *clGetExtensionFunctionAddress(const char *name)
{
    return !strcmp(name, "clIcdGetPlatformIDsKHR") ? (void *)clIcdGetPlatformIDsKHR : !strcmp(name, "clGetPlatformInfo") ?
        (void *)clGetPlatformInfo : NULL;
}
"""
BAD = {  # name: (code, what is said of it)
    "constructor": (IN_CONSTRUCTOR % "abort();", "crashed (signal 6)"),
    "platforms": (IN_PLATFORMS % "*(volatile int *)8 = 1; return 0;", "crashed (signal 11)"),
    "quits": (IN_CONSTRUCTOR % "_exit(3);", "ended the process"),
    "hangs": (IN_PLATFORMS % "for (;;) sleep(100);", "hung"),
    "closes": (IN_CONSTRUCTOR % "for (int i = 3; i < 100; i++) close(i); for (;;) sleep(100);", "crashed (signal 9)"),
}


def a_bad_driver_alone():
    for name, (code, said) in BAD.items():
        d = info(vendors("alone-" + name, pocl=False, bad=build(name, code)))
        assert "bad.icd: " in d["note"] and said in d["note"], d["note"]
        equal([x["id"] for x in d["devices"] if x["usable"]], ["ref"])


def a_bad_driver_beside_a_good_one():
    """The good one serves, by discovery and when the device is opened; the bad one is named."""
    if not has_pocl():
        skip_cl("no PoCL")
    for name in ("platforms", "hangs"):
        code, said = BAD[name]
        env = vendors("beside-" + name, pocl=True, bad=build(name, code))
        d = info(env)
        assert "bad.icd: " in d["note"] and said in d["note"] and "pocl" not in d["note"], d["note"]
        assert device(d, "cl0")["usable"], d
        equal(d["auto"], "cl0")
    p = tool("npu-ops", "test", "--op", "scale", "--device", "cl", env=env)
    assert p.returncode == 0 and "on cl0" in p.stdout, p.stdout + p.stderr


def a_driver_that_can_not_be_loaded():
    text = os.path.join(SCRATCH, "text.so")
    with open(text, "w") as f:
        f.write("this is no shared library, however long it may be: " + "x" * 4096)
    for name, lib, said in (("text", text, "invalid ELF header"), ("missing", "/nonexistent/libx.so", "cannot open shared object"),
                            ("other", "libm.so.6", "is no OpenCL driver"), ("empty", "", "names no library")):
        d = info(vendors("load-" + name, pocl=False, bad=lib))
        assert "bad.icd: " in d["note"] and said in d["note"], (name, d["note"])
        equal([x["id"] for x in d["devices"] if x["usable"]], ["ref"])
    if has_pocl():
        d = info(vendors("load-pocl", pocl=True, bad=text))
        assert device(d, "cl0")["usable"], d


def vendors_that_names_a_broken_library():
    for name, code in (("broken", "int nothing;"), ("crashing", BAD["constructor"][0])):
        lib = build(name, code)
        p = tool("npu-ops", "test", "--op", "scale", env={"OCL_ICD_VENDORS": lib})
        assert p.returncode == 0 and "on ref" in p.stdout, p.stdout + p.stderr
        note = info({"OCL_ICD_VENDORS": lib})["note"]
        assert lib in note, note


# ---- kernel devices, by umockdev ----
def pci(address, driver, subsystem, node, number):
    at = f"/devices/pci0000:00/{address}"
    return f"""P: {at}
E: SUBSYSTEM=pci
E: PCI_ID=8086:46A6
L: driver=../../../bus/pci/drivers/{driver}

P: {at}/{subsystem}/{os.path.basename(node)}
N: {node}
E: DEVNAME=/dev/{node}
E: SUBSYSTEM={subsystem}
E: MAJOR={number}
E: MINOR=0

"""


GPU = pci("0000:00:02.0", "i915", "drm", "dri/renderD128", 226)
NPU = pci("0000:00:0b.0", "intel_vpu", "accel", "accel/accel0", 261)


def mocked(text, env=None, **more):
    if not shutil.which("umockdev-run"):
        raise Skip("umockdev is not installed")
    path = os.path.join(SCRATCH, "devices.umockdev")
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o644)
    return info(env, wrap=("umockdev-run", "-d", path, *more.pop("before", ()), "--"), **more)


def kernel_devices_without_opencl():
    d = mocked(GPU + NPU)
    gpu, npu = device(d, "renderD128"), device(d, "accel0")
    equal((gpu["kind"], gpu["usable"], gpu["node"]), ("gpu", False, "/dev/dri/renderD128"))
    equal((npu["kind"], npu["usable"], npu["node"]), ("npu", False, "/dev/accel/accel0"))
    assert "intel-opencl-icd" in gpu["why_not"] and "i915" in gpu["name"], gpu
    assert "OpenVINO" in npu["why_not"] and "intel_vpu" in npu["name"], npu


def kernel_devices_and_no_driver_at_all():
    d = mocked(GPU, {"OCL_ICD_VENDORS": "/nonexistent"})
    gpu = device(d, "renderD128")
    assert "no OpenCL driver serves it" in gpu["why_not"] and "no OpenCL driver is installed" in d["note"], d


def kernel_devices_whose_driver_fails():
    """It is said at the device, whether the driver crashes or only can't be loaded beside another one."""
    gpu = device(mocked(GPU, vendors("mock-crash", pocl=False, intel=build("mock", BAD["constructor"][0]))), "renderD128")
    assert "intel.icd: crashed (signal 6)" in gpu["why_not"], gpu
    if has_pocl():
        gpu = device(mocked(GPU, vendors("mock-load", pocl=True, intel="/nonexistent/libigdrcl.so")), "renderD128")
        assert "intel.icd: can't be loaded" in gpu["why_not"], gpu


def kernel_devices_without_permission():
    if os.getuid() != 0:
        raise Skip("needs root to become somebody else")
    d = mocked(GPU + NPU, {"HOME": SCRATCH}, before=("--", "sh", "-c", ''
               'chmod -R a+rwX "$UMOCKDEV_DIR"; chmod 0600 "$UMOCKDEV_DIR"/dev/*/*; exec setpriv --reuid=65534 --clear-groups "$0" "$@"'))
    for name in ("renderD128", "accel0"):
        x = device(d, name)
        assert not x["usable"] and x["why_not"].startswith("-EACCES: no permission for /dev/"), x
        assert "group root" in x["why_not"], x


# ---- surroundings ----
def survives(env, *, quiet=True, **more):
    """An operation is right on the best device there is, without many words. Returns on which."""
    p = tool("npu-ops", "test", "--op", "scale", env=env, **more)
    assert p.returncode == 0, (env, p.stdout, p.stderr)
    assert not quiet or p.stderr.count("\n") <= 2, p.stderr
    return p.stdout.split(" on ")[-1].split()[0].strip(":,.;")


def no_home():
    equal(survives({"HOME": None, "XDG_CACHE_HOME": None, "POCL_CACHE_DIR": None}), best())


def no_driver():
    equal(survives({"OCL_ICD_VENDORS": "/nonexistent"}), "ref")


def no_linker():
    """PoCL needs ld; then it is not used."""
    for path in ("/nonexistent", "", None):
        equal(survives({"PATH": path}), "ref")


def no_temporary_folder():
    equal(survives({"TMPDIR": "/nonexistent"}), best())
    equal(survives({"TMPDIR": "/nonexistent", "HOME": None, "XDG_CACHE_HOME": None, "POCL_CACHE_DIR": None}), best())


def an_unwritable_cache():
    for folder in ("/proc/nowhere", "/dev/null/x"):
        equal(survives({"XDG_CACHE_HOME": folder, "HOME": folder, "POCL_CACHE_DIR": None}), best())
        equal(survives({"POCL_CACHE_DIR": folder}), best())


def one_core():
    equal(survives({}, preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})), best())


def full():
    """All files are cut at 64 bytes, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))


def no_room_for_files():
    """Native int8 code for which the driver builds nothing. With two tiers to choose from a verdict is written, which a full disk has no
    room for: then there is none and nothing of it, and results are right."""
    if not has_pocl():
        skip_cl("no PoCL")
    for limit, verdicts in ((None, 1), (full, 0)):
        with tempfile.TemporaryDirectory() as folder:
            env = {"XDG_CACHE_HOME": folder, "POCL_CACHE_DIR": None, "NPU_VNNI_EMULATE": "1", "NPU_TUNE": "20000"}
            p = tool("npu-bench", "gemm:64x64x64", "--precision", "int8", "--device", "cl", "--seconds", "0.01", "--json", env=env,
                     preexec_fn=limit)
            assert p.returncode == 0, p.stdout + p.stderr
            equal(json.loads(p.stdout)["device"], "cl0")
            files = os.listdir(os.path.join(folder, "gazed"))
            assert len(files) == verdicts and all(x.endswith(".npc") for x in files), files
    with tempfile.TemporaryDirectory() as folder:
        p = tool("npu-ops", "test", "--op", "qmatmul", "--device", "cl", "--f32", env=dict(env, XDG_CACHE_HOME=folder), preexec_fn=full)
        assert p.returncode == 0 and " on cl0" in p.stdout, p.stdout + p.stderr


# ---- PoCL's cache ----
def on_pocl(folder, wrap=()):
    if not has_pocl():
        skip_cl("no PoCL")
    p = tool("npu-ops", "test", "--op", "scale", "--device", "cl", env={"POCL_CACHE_DIR": folder, "NPU_MAT_PORTABLE": "1"}, wrap=wrap)
    assert p.returncode == 0 and "on cl0" in p.stdout, (p.returncode, p.stdout, p.stderr)


def a_cache_that_was_cut_short():
    """As a power failure leaves it. A file in `gazed` named by a process that lives no more is a reason to look."""
    with tempfile.TemporaryDirectory() as folder:
        on_pocl(folder)
        for end, size in ((".so", 1000), (".so", 0), (".bc", 100)):
            files = [os.path.join(at, x) for at, _, names in os.walk(folder) for x in names if x.endswith(end)]
            if not files:
                skip_cl("no kernel was compiled")
            for f in files:
                os.truncate(f, size)
            with open(os.path.join(folder, "gazed", "999999999"), "w"):
                pass
            on_pocl(folder)
            equal(sorted(os.listdir(os.path.join(folder, "gazed"))), ["boot"])


def a_cache_on_a_full_disk():
    if os.getuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        raise Skip("no right to mount")
    with tempfile.TemporaryDirectory() as folder:
        on_pocl(folder, wrap=("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=64k none "$0" && exec "$@"', folder))


def a_cache_for_processes_at_once():
    if not has_pocl():
        skip_cl("no PoCL")
    with tempfile.TemporaryDirectory() as folder:
        env = dict(os.environ, POCL_CACHE_DIR=folder, NPU_MAT_PORTABLE="1")
        p = [subprocess.Popen([os.path.join(O, "bin", "npu-ops"), "test", "--op", "scale", "--device", "cl"], env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(3)]
        for x in p:
            said = x.communicate(timeout=120)[0]
            assert x.returncode == 0 and "on cl0" in said, said
        equal(sorted(os.listdir(os.path.join(folder, "gazed"))), ["boot"])


def nothing_is_left_behind():
    """Folders of good drivers are private, and links only."""
    tmp = os.environ.get("TMPDIR", "/tmp")
    for name in os.listdir(tmp):
        if name.startswith("gazed-opencl-%d-" % os.getuid()):
            path = os.path.join(tmp, name)
            equal(stat.S_IMODE(os.lstat(path).st_mode), 0o700)
            assert all(os.path.islink(os.path.join(path, x)) for x in os.listdir(path)), os.listdir(path)


try:
    run([a_bad_driver_alone, a_bad_driver_beside_a_good_one, a_driver_that_can_not_be_loaded, vendors_that_names_a_broken_library,
         kernel_devices_without_opencl, kernel_devices_and_no_driver_at_all, kernel_devices_whose_driver_fails,
         kernel_devices_without_permission, no_home, no_driver, no_linker, no_temporary_folder, an_unwritable_cache, one_core,
         no_room_for_files, a_cache_that_was_cut_short, a_cache_on_a_full_disk, a_cache_for_processes_at_once,
         nothing_is_left_behind])
finally:
    shutil.rmtree(SCRATCH, ignore_errors=True)
