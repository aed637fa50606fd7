"""Why the backends for GPUs can or cannot run here, and the compiled CUDA kernels themselves.

Nothing here is asked before a call has a tensor outside CPU memory, or a GPU backend is named.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

_BUILD_NOTE = Path(__file__).with_name("_cuda_build.txt")  # left by a build without `_cuda`

_emulation: Any = None


def cuda_module() -> Any:
    """The compiled kernels, `fastwgan._cuda`, or what stands in for them inside `emulated`."""
    return _emulation if _emulation is not None else importlib.import_module("fastwgan._cuda")


@contextmanager
def emulated(module: Any) -> Iterator[None]:
    """For tests: backend "cuda" takes tensors in CPU memory and calls `module` for `_cuda`.

    It holds for the whole process, so that threads of autograd see it too. Only what is forced to
    "cuda" is affected: the automatic choice for tensors in CPU memory never looks at it.
    """
    global _emulation
    before, _emulation = _emulation, module
    try:
        yield
    finally:
        _emulation = before


def device_types(backend: str) -> tuple[str, ...]:
    """Types of the devices whose tensors backend "cuda" or "triton" takes."""
    if backend == "cuda":
        return ("cuda",) if _emulation is None else ("cpu",)
    return ("cpu",) if _interpreted() else ("cuda", "xpu")


def why_no_cuda() -> str | None:
    """One clause that says why the compiled CUDA kernels cannot run; None when they can."""
    return None if _emulation is not None else _why_no_compiled()


@cache
def why_no_triton() -> str | None:
    """One clause that says why the Triton kernels cannot run; None when they can."""
    if not _is_installed("triton"):
        return "triton is not installed (pip install 'fastwgan[triton]')"
    module = _imported("triton")
    if isinstance(module, str):
        return module
    if not (_interpreted() or torch.cuda.is_available() or torch.xpu.is_available()):
        return f"triton {module.__version__} is installed, but torch finds no GPU"
    return None


@cache
def _why_no_compiled() -> str | None:
    if not _is_installed("fastwgan._cuda"):
        reason = _BUILD_NOTE.read_text().strip() if _BUILD_NOTE.exists() else ""
        return f"not built: {reason}" if reason else "not built"
    module = _imported("fastwgan._cuda")
    if isinstance(module, str):
        return module
    driver, runtime = module.driver_version(), module.runtime_version()
    if 0 < driver < runtime:
        return f"built for CUDA {_version(runtime)}, but the driver ends at CUDA {_version(driver)}"
    if not torch.cuda.is_available():
        return "built, no device: torch.cuda.is_available() is False"
    if driver == 0:
        return "built, no device: no CUDA driver is loaded"
    return None


def _imported(name: str) -> ModuleType | str:
    """The module, or the clause that says why it cannot be imported."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        return f"importing {name} failed with {type(error).__name__}: {error}"


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _version(number: int) -> str:
    """CUDA's own numbering: 12040 is 12.4."""
    return f"{number // 1000}.{number % 1000 // 10}"


@cache
def _interpreted() -> bool:
    """True when Triton runs its kernels with numpy on CPU tensors: decided once, at its import."""
    if not _is_installed("triton"):
        return False
    module = _imported("triton")
    return not isinstance(module, str) and bool(module.knobs.runtime.interpret)
