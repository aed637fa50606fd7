#!/usr/bin/env bash
# Runs the operations' tests on the CUDA kernels, emulated, built with AddressSanitizer and
# UndefinedBehaviorSanitizer: every size, layout and dtype of every kernel.
#
#   PYTHON=.venv/bin/python bash scripts/sanitize_cuda.sh [pytest arguments]
set -euo pipefail

python=${PYTHON:-python3}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
compiler=${CXX:-g++}
export FASTWGAN_EMULATOR_SANITIZE=address,undefined
cd "$root"
# Built before the sanitizer is preloaded, which would slow the compiler.
"$python" -c 'from tests.cuda_emulator.module import library; library()'

LD_PRELOAD="$("$compiler" -print-file-name=libasan.so) $("$compiler" -print-file-name=libstdc++.so)"
export LD_PRELOAD
# Python and torch leave memory behind at exit; the emulator leaves its fibers where a fault stops.
export ASAN_OPTIONS=detect_leaks=0
export UBSAN_OPTIONS=print_stacktrace=1
export OMP_NUM_THREADS=1
# Left out is what calls the same kernels on the same kinds of memory again.
again="hypothesis or gradcheck or opcheck or compile or any_ or recover or converges or bad_tensors"
selected=(tests/ops tests/cuda_emulator/test_kernels.py -k "(cuda-emulated or test_kernels) and not ($again)")
[ $# -gt 0 ] && selected=("$@")
"$python" -m pytest -q -p no:cacheprovider "${selected[@]}"
