#!/usr/bin/env python3
"""The installed face of libgaze: the shared library's names and soname, the header as C99 and C++, the example."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path[:0] = [os.path.dirname(__file__)]

from fake_gazed import FakeGazed, golden  # noqa: E402
from tap import Skip, equal, run  # noqa: E402

O = os.environ.get("O", "build")
LIB = os.path.abspath(os.path.join(O, "lib"))
CC = os.environ.get("CC", "cc")
SANITIZED = "__asan" in subprocess.run(["nm", os.path.join(LIB, "libgaze.a")], capture_output=True, text=True).stdout


def output(*args, **options):
    p = subprocess.run(args, capture_output=True, text=True, timeout=60, **options)
    equal((args[0], p.returncode, p.stderr), (args[0], 0, ""))
    return p.stdout


def names_are_the_map():
    with open("client/libgaze.map") as f:
        wanted = set(re.findall(r"^    (gaze_\w+);", f.read(), re.M))
    with open("client/gaze.h") as f:
        declared = set(re.findall(r"^GAZE_API .*?(gaze_\w+)\(", f.read(), re.M))
    lines = output("nm", "-D", "--defined-only", os.path.join(LIB, "libgaze.so")).splitlines()
    exported = {line.split()[2].split("@")[0] for line in lines if " T " in line}
    equal(exported, wanted)
    equal(declared, wanted)


def soname():
    assert "libgaze.so.0" in re.search(r"SONAME.*", output("readelf", "-d", os.path.join(LIB, "libgaze.so"))).group()


def header_is_c99_and_cpp():
    source = '#include "client/gaze.h"\nint main(void) { return gaze_version() == 0; }\n'
    compilers = [(CC, "-std=c99", "c")]
    if shutil.which("c++"):
        compilers.append(("c++", "-std=c++11", "c++"))
    for compiler, standard, language in compilers:
        output(compiler, standard, "-pedantic", "-Wall", "-Wextra", "-Werror", "-I.", "-fsyntax-only", "-x", language, "-",
               input=source)
    if len(compilers) == 1:
        raise Skip("no C++ compiler; C99 is fine")


def example_with_the_shared_library():
    if SANITIZED:
        raise Skip("the library is built with sanitizers")
    with tempfile.TemporaryDirectory() as folder, FakeGazed(pushes=[golden("result_one")] * 3 + [golden("bye")],
                                                            close_after_push=True) as server:
        program = os.path.join(folder, "watch")
        output(CC, "-std=gnu99", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-I.", "-o", program,
               "client/examples/watch.c", "-L" + LIB, "-lgaze", "-Wl,-rpath," + LIB)
        p = subprocess.run([program, server.path], capture_output=True, text=True, timeout=20)
    equal(p.stdout.splitlines(), ["person 7 looks 14.5 degrees to the left, -7.2 up (+-3.2)"] * 3)
    equal((p.returncode, p.stderr), (1, "the connection is lost: Connection reset by peer\n"))


run([names_are_the_map, soname, header_is_c99_and_cpp, example_with_the_shared_library])
