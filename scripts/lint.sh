#!/bin/sh
# clang-format, clang-tidy, cppcheck over the C files that git tracks; shellcheck and mandoc where installed. Usage: lint.sh BUILD_DIR
set -eu
fail=0
export O="$1"
c_files=$(git ls-files '*.c')
all_c=$(git ls-files '*.c' '*.h')

echo "clang-format"
# shellcheck disable=SC2086
clang-format --dry-run -Werror $all_c || fail=1

echo "headers alone, as C99 and C++"
for h in libnpu/npu.h client/gaze.h; do
    gcc -std=c99 -pedantic -Wall -Wextra -Werror -fsyntax-only -I. -x c "$h" || fail=1
    clang++ -std=c++11 -Wall -Wextra -Werror -fsyntax-only -I. -x c++ "$h" || fail=1
done
if grep -nE '\bcl_|CL/' libnpu/npu.h libnpu/op.h; then
    echo "an OpenCL type in a header that must not have one" >&2
    fail=1
fi

echo "cppcheck"
# shellcheck disable=SC2086
cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability --inline-suppr \
    --suppress=missingIncludeSystem --suppress=unknownMacro --suppress=internalAstError --suppress=objectIndex -j 2 -I. -D_GNU_SOURCE -DGAZED_VERSION='""' $c_files || fail=1

echo "clang-tidy"
# shellcheck disable=SC2016
printf '%s\n' "$c_files" | grep -v -e '^tests/fuzz/' | xargs -P 2 -n 4 sh -c '
    exec clang-tidy --quiet --warnings-as-errors="*" "$@" -- -std=gnu17 -D_GNU_SOURCE -DGAZED_VERSION="\"\"" \
        -DGAZED_MODEL_DIR="\"\"" -DGAZED_LIBEXECDIR="\"\"" -I. -I"$O/libnpu/onnx" $(pkg-config --cflags libdrm)' clang-tidy 2>/dev/null || fail=1

if command -v shellcheck >/dev/null; then
    echo "shellcheck"
    git ls-files '*.sh' .ci/run | xargs shellcheck -s sh || fail=1
fi
if command -v mandoc >/dev/null; then
    echo "mandoc"
    git ls-files 'docs/man/*' | xargs -r mandoc -T lint -W error || fail=1
fi
[ $fail -eq 0 ] && echo "lint: clean"
exit $fail
