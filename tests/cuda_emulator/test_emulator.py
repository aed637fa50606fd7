"""The tester tested: right kernels pass in every order of threads, and wrong ones are caught."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.cuda_emulator.module import EMULATOR, FLAGS, HERE, SEEDS, build, why_not_built

pytestmark = pytest.mark.skipif(why_not_built() is not None, reason=str(why_not_built()))

SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
LAUNCH_FAILURE = 1000 + 719


@pytest.fixture(scope="session")
def program() -> Path:
    return build("faults", [HERE / "faults.cu", EMULATOR], FLAGS, program=True)


@pytest.fixture(scope="session")
def sanitized() -> Path:
    flags = (*FLAGS, *SANITIZED)
    return build("faults-sanitized", [HERE / "faults.cu", EMULATOR], flags, program=True)


def _run(program: Path, name: str, seed: int) -> subprocess.CompletedProcess[str]:
    # A fiber that a fault left where it stood is no leak.
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0", "LD_PRELOAD": ""}
    return subprocess.run(
        [program, name, str(seed)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


RIGHT = ("neighbours", "sums", "collectives", "atomics", "halves", "inside-shared", "synchronises")


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("name", RIGHT)
def test_right_kernels_are_right(program: Path, name: str, seed: int) -> None:
    done = _run(program, name, seed)
    assert (done.stdout, done.stderr) == ("0 0\n", "")


@pytest.mark.parametrize("name", RIGHT)
def test_the_sanitizers_say_nothing_of_right_kernels(sanitized: Path, name: str) -> None:
    done = _run(sanitized, name, 0)
    assert (done.stdout, done.stderr) == ("0 0\n", "")


@pytest.mark.parametrize("seed", range(10))
def test_a_missing_barrier_shows_in_the_numbers(program: Path, seed: int) -> None:
    error, status = _run(program, "missing-barrier", seed).stdout.split()
    assert status == "0"
    assert not float(error) < 1  # NaN, or the number of another block


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("divergent-barrier", "divergent barrier: 100 threads wait at __syncthreads"),
        ("two-barriers", "divergent barrier: threads of a block wait at __syncthreads of lines"),
        ("lanes-apart", "lanes of a warp wait at different collectives, of lines"),
        ("ended-lanes", "for lanes of their mask that never come"),
        ("outside-mask", "reads lane 20, which its mask leaves out"),
    ],
)
def test_what_would_be_undefined_is_said(program: Path, name: str, said: str) -> None:
    done = _run(program, name, 1)
    assert said in done.stderr
    assert int(done.stdout.split()[1]) == LAUNCH_FAILURE


@pytest.mark.parametrize("name", ["outside", "outside-shared"])
def test_a_write_out_of_bounds_is_seen(sanitized: Path, name: str) -> None:
    done = _run(sanitized, name, 0)
    assert done.returncode != 0
    assert "ERROR: AddressSanitizer: heap-buffer-overflow" in done.stderr
    assert "faults.cu" in done.stderr
