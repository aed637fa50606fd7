"""Builds csrc/cuda with the host's compiler over the emulator, and loads it for `fastwgan._cuda`.

The result is kept in build/cuda_emulator under a name made of everything that went into it.
FASTWGAN_EMULATOR_SANITIZE is a value for -fsanitize, for a process that has its runtime preloaded.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import shutil
import sysconfig
import tempfile
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tests.object_files import compiled, run

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KERNELS = sorted((ROOT / "csrc/cuda").glob("*.cu"))
BINDINGS = ROOT / "csrc/cuda/bindings.cpp"
EMULATOR = HERE / "cuda_emulator.cpp"
NAME = "fastwgan_cuda_emulated"
SEEDS = 3  # orders of threads and blocks that the tests of the operations take by turns

COMPILER = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("c++")
FLAGS = (
    "-std=c++17",
    "-O1",
    "-g1",
    "-fPIC",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-DFASTWGAN_CUDA_EMULATOR",
    f"-DFASTWGAN_CUDA_MODULE={NAME}",
    f"-I{ROOT / 'csrc/include'}",
    f"-I{ROOT / 'csrc/cuda'}",
    f"-I{HERE}",
)


def why_not_built() -> str | None:
    """Why the emulated kernels cannot be built here; None when they can."""
    if COMPILER is None:
        return "there is no C++ compiler"
    if not KERNELS:
        return "the sources of the kernels are not here"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "Python's headers are not here"
    return None


def sanitizer_flags() -> tuple[str, ...]:
    """The compiler's flags for FASTWGAN_EMULATOR_SANITIZE."""
    sanitizers = os.environ.get("FASTWGAN_EMULATOR_SANITIZE")
    if not sanitizers:
        return ()
    return (f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")


def load() -> Any:
    """The emulated module, with the functions of `fastwgan._cuda`; built when it has changed.

    Threads and blocks are then taken in one of `SEEDS` orders, which the name of the running test
    chooses, or FASTWGAN_EMULATOR_SEED.
    """
    name = os.environ.get("PYTEST_CURRENT_TEST", "")
    seed = os.environ.get("FASTWGAN_EMULATOR_SEED")
    counters().seed(zlib.crc32(name.encode()) % SEEDS if seed is None else int(seed))
    return _module()


@cache
def _module() -> Any:
    spec = importlib.util.spec_from_file_location(NAME, library())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def library() -> Path:
    """The emulated module's file."""
    # pybind11's headers come with torch; what the module is built with by setup.py is pybind11's
    # own package, which a test environment need not have.
    system = [sysconfig.get_path("include"), str(Path(torch.__file__).parent / "include")]
    flags = [*FLAGS, *sanitizer_flags(), *(f"-isystem{folder}" for folder in system)]
    return build(NAME, [*KERNELS, BINDINGS, EMULATOR], flags)


def build(
    name: str, sources: Sequence[Path], flags: Sequence[str], *, program: bool = False
) -> Path:
    """A shared library, or a program, of the sources, in build/cuda_emulator."""
    folder = ROOT / "build/cuda_emulator"
    result = folder / f"{name}-{_fingerprint(sources, flags)}{'' if program else '.so'}"
    if result.exists():
        return result
    assert COMPILER is not None
    objects = compiled(COMPILER, sources, flags, folder / "objects")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        linked = Path(scratch) / result.name
        run([COMPILER, *([] if program else ["-shared"]), *flags, *objects, "-o", linked])
        linked.replace(result)  # at once, so that another process never sees half of it
    return result


class Counters:
    """What the emulator counts, and the order it takes threads in."""

    def __init__(self, library: str) -> None:
        self._library = ctypes.CDLL(library)
        for name in ("launches", "synchronisations"):
            getattr(self._library, f"cuda_emulator_{name}").restype = ctypes.c_uint64

    def launches(self) -> int:
        return int(self._library.cuda_emulator_launches())

    def synchronisations(self) -> int:
        return int(self._library.cuda_emulator_synchronisations())

    def seed(self, seed: int) -> None:
        self._library.cuda_emulator_seed(seed)


@cache
def counters() -> Counters:
    """Those of the loaded module."""
    return Counters(_module().__file__)


def _fingerprint(sources: Sequence[Path], flags: Sequence[str]) -> str:
    digest = hashlib.sha256(f"{COMPILER} {flags} {torch.__version__}".encode())
    headers = [*HERE.glob("*.h"), *(ROOT / "csrc").rglob("*.h"), *(ROOT / "csrc").rglob("*.cuh")]
    for path in sorted({*sources, *headers}):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
