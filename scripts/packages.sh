#!/bin/sh
# Installs the Debian packages that gazed needs and that are missing; says which. Usage: packages.sh [build|check|torture|lint|bench]...
# Asks for sudo only when something is missing and it is not root.
set -eu

build='gcc libc6-dev make pkg-config python3 libdrm-dev ocl-icd-opencl-dev opencl-c-headers libsystemd-dev libudev-dev libv4l-dev libjpeg62-turbo-dev libpng-dev libcjson-dev libprotobuf-c-dev protobuf-c-compiler'
run='ocl-icd-libopencl1 pocl-opencl-icd'
check='clang libclang-rt-14-dev libcmocka-dev umockdev'
torture='valgrind'
lint='clang-format clang-tidy cppcheck shellcheck mandoc'
bench='python3-venv'

want="$build $run"
for group in "$@"; do
    case $group in
    build) ;;
    check) want="$want $check" ;;
    torture) want="$want $torture" ;;
    lint) want="$want $check $lint" ;;
    bench) want="$want $bench" ;;
    *)
        echo "packages.sh: unknown group '$group' (build, check, torture, lint, bench)" >&2
        exit 2
        ;;
    esac
done

if ! command -v dpkg-query >/dev/null; then
    echo "packages.sh: not a Debian system; install by hand the equivalents of: $want" >&2
    exit 0
fi
missing=
for p in $want; do
    dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

echo "gazed: installing Debian packages:$missing"
as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "gazed: not root and there is no sudo. Run as root: apt-get install -y$missing" >&2
        exit 1
    fi
    as_root=sudo
fi
# shellcheck disable=SC2086
install() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >"$log" 2>&1; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The package lists of a fresh machine may be missing or old: refresh them and try once more.
if ! install; then
    if ! { $as_root apt-get update -qq >>"$log" 2>&1 && install; }; then
        echo "gazed: apt-get could not install:$missing" >&2
        tail -n 20 "$log" >&2
        exit 1
    fi
fi
