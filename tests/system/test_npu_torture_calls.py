#!/usr/bin/env python3
"""No call of libnpu that can fail is left out by the tests of tests/torture: what its archives call is made to fail there, or stands here with
the reason why not."""
import glob
import os
import re
import subprocess

from tap import equal, run

O = os.environ.get("O", "build")
ARCHIVES = ("libnpu.a", "libnpu_onnx.a")
LEFT_OUT = {
    "OpenCL is the fake one of tests/torture/fake_cl.c, which fails by itself": r"cl[A-Z]\w+",
    "memory of the unpacked message comes from libnpu/onnx/proto.c, by wrapped calls": r"protobuf_c_\w+",
    "arithmetic and its tables": r"(a?(sin|cos|tan)h?|erf|exp|exp2|expm1|log|log1p|log2|pow|sqrt|floor|ceil|round|trunc|rint|lrint|llrint|"
                                 r"nearbyint|fabs|fma|fmax|fmin|fmod|frexp|ldexp|scalbn|lround|copysign)[fl]?|__\w+di2|__cpu_\w+",
    "strings and memory in place; numbers in text; sorting": r"(mem|str)(chr|rchr|cmp|cpy|move|set|len|nlen|cspn|spn|str|ncmp|ncpy|cat|casecmp|"
                                                            r"ncasecmp|tod|tof|tol|toll|toul|toull|error|pbrk)|v?sn?printf|qsort|bsearch|"
                                                            r"(__isoc\w+_)?sscanf|__ctype_\w+|toupper|tolower",
    "streams keep an error until fflush or fclose": r"v?fprintf|fputc|fputs|fwrite|putc|ferror|ftell|fileno",
    "a hint, without which memory is the same": r"madvise",
    "these give back": r"closedir|munmap|dlclose|\w+_unref|drmFreeVersion|pthread_\w+_destroy",
    "no failure where the object is good; glibc's init can't fail with these attributes": r"pthread_(mutex|cond|condattr)_\w+|pthread_(once|join)",
    "questions that always have an answer": r"getenv|getpid|getuid|clock_gettime|time|dirfd|sched_yield|nanosleep|__errno_location|"
                                            r"__sched_cpucount|udev_list_entry_get_\w+",
    "of a device that was just listed": r"udev_device_get_(sysname|subsystem)",
    "the end of a child process, and of one with a broken assertion": r"_exit|__assert_fail|abort",
    "the compiler's and the linker's": r"_GLOBAL_OFFSET_TABLE_|__tls_get_addr|__stack_chk_\w+|_Unwind_\w+|__gcc_\w+|__popcount\w+",
}


def names(archive, option):
    p = subprocess.run(["nm", option, os.path.join(O, "lib", archive)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True)
    assert p.returncode == 0, archive
    return {line.split()[-1] for line in p.stdout.splitlines() if re.match(r"\s*[0-9a-f]*\s+[A-Za-z] \S+$", line)}


def called():
    made = set().union(*(names(a, "--defined-only") for a in ARCHIVES))
    return set().union(*(names(a, "--undefined-only") for a in ARCHIVES)) - made


def wrapped():
    with open("tests/torture/module.mk") as f:
        text = f.read().replace("\\\n", " ")
    return set(re.search(r"^torture_calls := (.*)$", text, re.MULTILINE).group(1).split())


def all_calls_are_known():
    known = re.compile("(?:%s)$" % "|".join(LEFT_OUT.values()))
    missing = sorted(c for c in called() - wrapped() if not known.match(c))
    assert not missing, "neither in torture_calls of tests/torture/module.mk nor left out here: %s" % " ".join(missing)


def nothing_is_left_out_twice():
    known = re.compile("(?:%s)$" % "|".join(LEFT_OUT.values()))
    equal(sorted(c for c in wrapped() if known.match(c)), [])


def each_wrapper_has_a_call():
    """Else the programs would not link; and none is there for a call that is not made any more."""
    equal(sorted(wrapped() - called()), [])


def the_copies_call_the_wrappers():
    copies = glob.glob(os.path.join(O, "lib", "*_torture.a"))
    equal(len(copies), len(ARCHIVES))
    for path in copies:
        left = names(os.path.basename(path), "--undefined-only") & wrapped()
        equal((path, sorted(left)), (path, []))


run([all_calls_are_known, nothing_is_left_out_twice, each_wrapper_has_a_call, the_copies_call_the_wrappers])
