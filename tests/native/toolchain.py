"""Compiles the native checks once a session: two files at a time, each sanitizer when asked for."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CHECKS = [
    HERE / f"{name}.cpp"
    for name in (
        "driver",
        "elementwise",
        "penalty",
        "spectral",
        "feedforward",
        "pool",
        "hostile",
        "feedforward_hostile",
    )
]
FUZZ = sorted(HERE.glob("fuzz*.cpp"))
_PYTHONS_END = ("bindings", "plain_", "pooled_tensors", "tensor_table")
KERNELS = [
    p for p in sorted((ROOT / "csrc/cpu").glob("*.cpp")) if not p.stem.startswith(_PYTHONS_END)
]

COMPILER = shutil.which("g++") or shutil.which("c++")
FLAGS = ["-std=c++17", "-O1", "-g1", "-fno-math-errno", "-pthread", f"-I{ROOT / 'csrc/include'}"]
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-psabi"]


class Sanitizer(NamedTuple):
    name: str
    flags: tuple[str, ...]


# libgomp's barriers are invisible to ThreadSanitizer; those of std::thread are not.
_THREADS = "-DFASTWGAN_STD_THREAD"
_FATAL = "-fno-sanitize-recover=all"
THREAD = Sanitizer("tsan", ("-fsanitize=thread", _THREADS))
ADDRESS = Sanitizer("asan-ubsan", ("-fsanitize=address,undefined", _FATAL, _THREADS))
SANITIZERS = (THREAD, ADDRESS)


class Toolchain:
    """Programs built in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plain = self._compiled(CHECKS, Sanitizer("plain", ()))
        self.objects: dict[str, list[Path]] = {}  # kernels, by sanitizer
        self.programs: dict[tuple[str, str], Path] = {}

    def driver(self, sanitizer: Sanitizer) -> Path:
        """The checks, left plain, over kernels that the sanitizer watches."""
        return self._program("driver", self._kernels(sanitizer), self.plain, sanitizer)

    def fuzz(self, sanitizer: Sanitizer) -> Path:
        """Random calls, themselves plain, of kernels that the sanitizer watches."""
        if ("fuzz", sanitizer.name) in self.programs:
            return self.programs["fuzz", sanitizer.name]
        random_calls = self._compiled(FUZZ, Sanitizer("plain", ()))
        return self._program("fuzz", self._kernels(sanitizer), random_calls, sanitizer)

    def faults(self, sanitizer: Sanitizer) -> Path:
        """The programs that are wrong on purpose."""
        return self._program(
            "faults", self._compiled([HERE / "faults.cpp"], sanitizer), [], sanitizer
        )

    def _kernels(self, sanitizer: Sanitizer) -> list[Path]:
        if sanitizer.name not in self.objects:
            self.objects[sanitizer.name] = self._compiled(KERNELS, sanitizer)
        return self.objects[sanitizer.name]

    def _program(
        self, name: str, watched: list[Path], objects: list[Path], sanitizer: Sanitizer
    ) -> Path:
        key = name, sanitizer.name
        if key not in self.programs:
            program = self.folder / f"{name}-{sanitizer.name}"
            self._run([*sanitizer.flags, "-pthread", *objects, *watched, "-o", program])
            self.programs[key] = program
        return self.programs[key]

    def _compiled(self, sources: list[Path], sanitizer: Sanitizer) -> list[Path]:
        objects = [self.folder / f"{source.stem}-{sanitizer.name}.o" for source in sources]
        with ThreadPoolExecutor(2) as pool:
            arguments = [
                [*FLAGS, *WARNINGS, *sanitizer.flags, "-c", source, "-o", target]
                for source, target in zip(sources, objects, strict=True)
            ]
            list(pool.map(self._run, arguments))
        return objects

    @staticmethod
    def _run(arguments: list[str | Path]) -> None:
        assert COMPILER is not None
        done = subprocess.run(
            [COMPILER, *arguments], capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
