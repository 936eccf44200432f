"""TAP for Python tests: run(tests) calls each function and prints its line; a test skips with Skip(reason)."""
import os
import sys
import traceback


class Skip(Exception):
    pass


def skip_cl(why):
    """Skips a test that can do nothing without an OpenCL device; fails it where one is installed, as `make check` says by GAZED_NEED_CL."""
    if os.environ.get("GAZED_NEED_CL", "0") != "0":
        raise AssertionError("an OpenCL driver is installed, but there is no device: %s" % why)
    raise Skip(why)


def equal(got, want):
    if got != want:
        raise AssertionError(f"got {got!r}, want {want!r}")


def raises(kind, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except kind as e:
        return e
    raise AssertionError(f"no {kind.__name__}")


def run(tests):
    failed = 0
    print(f"1..{len(tests)}")
    for n, test in enumerate(tests, 1):
        try:
            test()
            print(f"ok {n} - {test.__name__}")
        except Skip as e:
            print(f"ok {n} - {test.__name__} # SKIP {e}")
        except Exception:
            failed += 1
            for line in traceback.format_exc().splitlines():
                print(f"# {line}")
            print(f"not ok {n} - {test.__name__}")
        sys.stdout.flush()
    sys.exit(1 if failed else 0)
