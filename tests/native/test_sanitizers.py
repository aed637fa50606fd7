"""The kernels' C ABI driven from C++ under sanitizers, which see what no comparison of numbers can.

ThreadSanitizer runs them over std::thread, since libgomp's barriers are invisible to it; Address-
and UndefinedBehaviorSanitizer run them without OpenMP. The files in this folder are the driver.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from fastwgan import backends

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DRIVER = [HERE / f"{name}.cpp" for name in (
    "driver", "elementwise", "penalty", "spectral", "pool", "hostile"
)]
NEEDS_PYTHON = {"bindings", "tensor_table", "pooled_tensors"}
KERNELS = [p for p in sorted((ROOT / "csrc/cpu").glob("*.cpp")) if p.stem not in NEEDS_PYTHON]
FLAGS = [
    "-std=c++17", "-O1", "-g1", "-fno-math-errno", "-pthread", f"-I{ROOT / 'csrc/include'}",
    "-Wall", "-Wextra", "-Werror", "-Wno-psabi",
]  # fmt: skip
# Address space randomisation beyond this leaves no room for ThreadSanitizer's shadow memory.
TSAN_RANDOM_BITS = 28

COMPILER = shutil.which("g++") or shutil.which("c++")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="uses the sanitizers of gcc on Linux"),
    pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler here"),
]


class Sanitizer(NamedTuple):
    name: str
    flags: list[str]


THREAD = Sanitizer("tsan", ["-fsanitize=thread", "-DFASTWGAN_STD_THREAD"])
ADDRESS = Sanitizer("asan-ubsan", ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"])


class Programs:
    """Compiles once a session, two files at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects: dict[tuple[Path, str], Path] = {}

    def driver(self, sanitizer: Sanitizer) -> Path:
        # The driver itself is left plain: the memory it hands over is watched all the same.
        return self._linked("driver", [(s, []) for s in DRIVER] + self._of(KERNELS, sanitizer))

    def faults(self, sanitizer: Sanitizer) -> Path:
        return self._linked("faults", self._of([HERE / "faults.cpp"], sanitizer), sanitizer)

    @staticmethod
    def _of(sources: list[Path], sanitizer: Sanitizer) -> list[tuple[Path, list[str]]]:
        return [(source, sanitizer.flags) for source in sources]
