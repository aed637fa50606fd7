#!/usr/bin/env bash
# Runs the operations' tests on kernels built with AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   PYTHON=.venv/bin/python bash scripts/sanitize.sh [pytest arguments]
#
# PYTHON is an environment that runs the tests. The checkout and PYTHON are left as they are.
set -euo pipefail

python=$(cd "$(dirname "${PYTHON:-$(command -v python3)}")" && pwd)/$(basename "${PYTHON:-python3}")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
compiler=${CXX:-g++}
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

mkdir "$build/source"
(cd "$root" && cp -r csrc fastwgan pyproject.toml setup.py README.md LICENSE "$build/source")
find "$build/source" -name '*.so' -delete
CXX=$compiler FASTWGAN_SANITIZE=address,undefined FASTWGAN_CUDA=0 \
  "$python" -m pip install -q --no-deps --target "$build/package" "$build/source"

# libstdc++ comes along so that AddressSanitizer finds the functions that throw.
LD_PRELOAD="$("$compiler" -print-file-name=libasan.so) $("$compiler" -print-file-name=libstdc++.so)"
export LD_PRELOAD
# Python and torch leave memory behind at exit; the native driver's tests look for leaks.
export ASAN_OPTIONS=detect_leaks=0
export UBSAN_OPTIONS=print_stacktrace=1
# Memory given back is freed at once, so that a use of it afterwards is seen.
export FASTWGAN_POOL_MIB=0
export OMP_NUM_THREADS=1
# The folder a module is run from comes first on its path: the sanitized package, not the checkout.
cd "$build/package"
unset PYTHONPATH

"$python" "$root/scripts/sanitizer_is_awake.py"
# Every operation, dtype, instruction set, layout, odd size and hostile input runs. Left out is what
# calls the same kernels on the same kinds of memory again: random examples, numeric differentiation,
# operator checks and compilers, which are most of the time, the reference and Triton, which have no kernel
# here, and the CUDA kernels
# (scripts/sanitize_cuda.sh).
again="hypothesis or gradcheck or opcheck or compile or reference or cuda-emulated or triton"
selected=("$root/tests/ops" "$root/tests/test_optim_plain.py" -k "not ($again)")
[ $# -gt 0 ] && selected=("$@")
"$python" -m pytest -q -c "$root/pyproject.toml" --rootdir "$root" -p no:cacheprovider "${selected[@]}"
