#!/usr/bin/env bash
# Builds, tests and benchmarks on a machine with a GPU, into one report; unattended.
#
#   bash scripts/gpu_check.sh [folder for the report; default: gpu-report]
#
# PYTHON is the Python to make an environment with (default: python3). A step that fails is written
# down and the next one runs; the exit status says whether all passed. Nothing of the checkout but
# build/ and the built modules is changed.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
report=$(mkdir -p "${1:-gpu-report}" && cd "${1:-gpu-report}" && pwd)
environment=$report/environment
python=$environment/bin/python
limit=${GPU_CHECK_MINUTES:-30}m # of one step
summary=$report/summary.txt
failed=0
cd "$root" || exit 1
: >"$summary"

# step NAME COMMAND...: its output goes to NAME.log, its end to the summary.
step() {
  local name=$1 began=$SECONDS status
  shift
  printf '%-28s ' "$name"
  timeout --kill-after=30 "$limit" "$@" >"$report/$name.log" 2>&1 </dev/null
  status=$?
  local word=passed
  if [ $status -eq 124 ]; then word="over $limit"; elif [ $status -ne 0 ]; then word="FAILED ($status)"; fi
  [ $status -eq 0 ] || failed=$((failed + 1))
  printf '%-28s %-12s %4d s   %s\n' "$name" "$word" $((SECONDS - began)) \
    "$(tail -n 1 "$report/$name.log" | cut -c1-120)" | tee -a "$summary" | cut -c30-
  return $status
}

skip() { printf '%-28s not run      %s\n' "$1" "$2" | tee -a "$summary"; }

step machine bash -c 'nvidia-smi; nvcc --version; uname -a; '"${PYTHON:-python3}"' --version; true'
step environment "${PYTHON:-python3}" -m venv "$environment"
step install "$environment/bin/pip" install -e '.[test]' ||
  step install-without-cuda env FASTWGAN_CUDA=0 "$environment/bin/pip" install -e '.[test]'
step gpu-is-there "$python" -c 'import torch; print(torch.cuda.get_device_name())'
step doctor "$python" -m fastwgan doctor
step tests-on-gpu "$python" -m pytest -q -m gpu tests
step tests "$python" -m pytest -q -m 'not gpu' tests
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck initcheck synccheck; do
    # Graphs and timing-sensitive tests aside: the tool serialises every launch.
    step "sanitizer-$tool" compute-sanitizer --tool "$tool" --error-exitcode 1 --kernel-name-exclude \
      kernel_substring=at:: "$python" -m pytest -q -m gpu tests/gpu -k 'equals_the_reference'
  done
else
  skip sanitizer "compute-sanitizer is not in PATH"
fi
step speed "$python" -m benchmarks.gpu_speed
step benchmarks "$python" -m pytest benchmarks --benchmark-only -q

{
  echo "fastwgan on a GPU, $(date -u +%Y-%m-%d), $(git rev-parse --short HEAD 2>/dev/null || echo 'no git')"
  echo
  cat "$summary"
  for log in machine doctor tests-on-gpu speed; do
    printf '\n=== %s\n' "$log"
    tail -n 60 "$report/$log.log"
  done
  for log in $(awk '/FAILED|over /{print $1}' "$summary"); do
    printf '\n=== the end of %s, which failed\n' "$log"
    tail -n 80 "$report/$log.log"
  done
} >"$report/report.txt"
echo "$failed steps failed; the report is $report/report.txt"
[ $failed -eq 0 ]
