"""What the machine can do at best, measured in the run it is compared with."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

COPY_BYTES = 128 * 2**20  # four times the largest cache in use: the copy runs from memory to memory
SGEMM_SIZE = 1536
REPEATS = 15


@dataclass(frozen=True)
class Work:
    """The least that a case must move and multiply, counted by hand, not measured."""

    bytes: float
    flops: float = 0.0


@dataclass(frozen=True)
class Roofline:
    """Rates of this machine with the threads in use.

    Attributes:
        copy: Bytes per second of `Tensor.copy_` from memory to memory, read plus written.
        sgemm: Floating-point operations per second of a float32 matrix product.
    """

    copy: float
    sgemm: float

    def of_copy(self, work: Work, seconds: float) -> float:
        """Share of the copy bandwidth that the counted bytes took; over 1 only from cache."""
        return work.bytes / self.copy / seconds

    def of_sgemm(self, work: Work, seconds: float) -> float:
        """Share of the matrix product's rate that the counted operations took."""
        return work.flops / self.sgemm / seconds


def measure_roofline_apart(threads: int) -> Roofline:
    """Measures in a process of its own, in a few seconds.

    The C library keeps more freed memory to itself after a large block was freed once. Had the
    arrays of this measurement been freed in the benchmarks' process, their peers would be spared
    page faults that they have in a user's.
    """
    command = [sys.executable, "-m", "benchmarks.roofline", str(threads)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True)
    return Roofline(**json.loads(done.stdout))


def measure_roofline() -> Roofline:
    """Takes about a second. The best of some repeats, for a roof is what can be reached."""
    source = torch.ones(COPY_BYTES // 4)
    target = torch.empty_like(source)
    left = torch.ones(SGEMM_SIZE, SGEMM_SIZE)
    product = torch.empty_like(left)
    copy_seconds = _best_seconds(lambda: target.copy_(source))
    sgemm_seconds = _best_seconds(lambda: torch.mm(left, left, out=product))
    return Roofline(copy=2 * COPY_BYTES / copy_seconds, sgemm=2 * SGEMM_SIZE**3 / sgemm_seconds)


def _best_seconds(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]))
    print(json.dumps(asdict(measure_roofline())))
