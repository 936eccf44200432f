"""The Python environment with the runtimes that scripts/bench.py measures against; made once in the build folder."""
import hashlib
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
REQUIREMENTS = os.path.join(HERE, "bench-requirements.txt")
MODULES = ("numpy", "onnx", "onnxruntime", "openvino", "torch", "torchvision")


class Missing(Exception):
    """The environment can't be had; the text says why and what helps."""


def remedy(why):
    return (f"{why}\n"
            "The other runtimes come from PyPI (4 GB on the disk, once). Without a network, give an interpreter that has them:\n"
            f"    make bench BENCH_PYTHON=/path/to/python3        ({', '.join(MODULES)}; versions: scripts/bench-requirements.txt)")


def last_lines(text, count=5):
    return "\n".join("    " + line for line in text.strip().splitlines()[-count:])


TRY = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as e:
        print(name if e.name == name else f"{name} ({e})")
    except Exception as e:
        print(f"{name} ({e})")
"""


def missing_modules(python):
    """Those of MODULES that an interpreter can't load; with the reason where it is another one than that they are not there."""
    try:
        p = subprocess.run([python, "-c", TRY, *MODULES], capture_output=True, text=True)
    except OSError as e:
        raise Missing(f"bench: {python}: {e.strerror}") from None
    if p.returncode != 0:
        raise Missing(f"bench: {python} does not run:\n{last_lines(p.stderr)}")
    return p.stdout.splitlines()


def stamp():
    with open(REQUIREMENTS, "rb") as f:
        return hashlib.sha256(f.read() + sys.version.encode()).hexdigest()


def make(folder, say):
    """A virtual environment with the pinned packages."""
    say(f"installing onnxruntime, openvino and torch from PyPI into {folder} (once)")
    p = subprocess.run([sys.executable, "-m", "venv", "--clear", folder], capture_output=True, text=True)
    if p.returncode != 0:
        raise Missing(f"bench: no virtual environment can be made; on Debian: apt-get install python3-venv\n{last_lines(p.stdout + p.stderr)}")
    pip = [os.path.join(folder, "bin", "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps",
           "--only-binary", ":all:", "-r", REQUIREMENTS]
    p = subprocess.run(pip, capture_output=True, text=True)
    if p.returncode != 0:
        raise Missing(remedy(f"bench: pip could not install the packages:\n{last_lines(p.stderr)}"))


def ensure(build, python, say):
    """The interpreter to take: the one given, else that of build/bench-venv, made where it is missing or outdated."""
    if python:
        missing = missing_modules(python)
        if missing:
            raise Missing(f"bench: {python} lacks {', '.join(missing)}: pip install -r scripts/bench-requirements.txt")
        return python
    folder = os.path.join(build, "bench-venv")
    mark = os.path.join(folder, "stamp")
    try:
        with open(mark) as f:
            current = f.read() == stamp()
    except OSError:
        current = False
    python = os.path.join(folder, "bin", "python")
    if current:
        return python
    make(folder, say)
    missing = missing_modules(python)
    if missing:
        raise Missing(remedy(f"bench: {folder} lacks {', '.join(missing)} though pip installed them"))
    with open(mark, "w") as f:
        f.write(stamp())
    return python
