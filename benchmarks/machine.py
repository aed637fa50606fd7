"""Which machine the numbers come from, and whether anything else computed on it meanwhile."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from fastwgan import backends

PROC_STAT = Path("/proc/stat")
BUSY_SHARE = 0.05


@dataclass(frozen=True)
class Machine:
    """What the table says about the machine."""

    processor: str
    cores: int
    threads: int
    instruction_set: str
    torch: str
    python: str

    def line(self) -> str:
        used = f"{self.threads} of {self.cores} cores, {self.instruction_set}"
        return f"{self.processor}, {used}, torch {self.torch}, Python {self.python}"


def describe_machine() -> Machine:
    """This machine, with the threads and the instruction set now in use."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        instruction_set=backends.instruction_set(),
        torch=torch.__version__,
        python=platform.python_version(),
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


class OthersWatch:
    """Share of all cores that other processes (and, on a virtual machine, the host) took.

    Two OpenMP threads that share cores with another process wait for each other, and times grow
    tenfold: numbers taken on a busy machine are worth nothing and must say so.
    """

    def __init__(self) -> None:
        self._begin = _sample()

    def share(self) -> float | None:
        """Since construction; None where the system does not tell."""
        end = _sample()
        if self._begin is None or end is None:
            return None
        wall = end.wall - self._begin.wall
        others = (end.busy - self._begin.busy) - (end.own - self._begin.own)
        return max(0.0, others) / (wall * (os.cpu_count() or 1))


def others_share_now(seconds: float = 0.3) -> float | None:
    """The same over a short sleep of our own."""
    watch = OthersWatch()
    time.sleep(seconds)
    return watch.share()


@dataclass(frozen=True)
class _Sample:
    wall: float
    own: float
    busy: float


def _sample() -> _Sample | None:
    if not PROC_STAT.exists():
        return None
    ticks = [int(field) for field in PROC_STAT.read_text().splitlines()[0].split()[1:9]]
    idle, iowait = ticks[3], ticks[4]
    busy = (sum(ticks) - idle - iowait) / os.sysconf("SC_CLK_TCK")
    return _Sample(wall=time.monotonic(), own=time.process_time(), busy=busy)
