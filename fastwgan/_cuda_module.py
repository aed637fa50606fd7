"""The compiled CUDA kernels' module, or why it cannot be used.

Tests put a module of the same functions in their place (`substituted`), which takes CPU tensors as
device memory: the files `ops/<op>/cuda.py` run unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_substitute: Any = None


def module() -> Any:
    """The extension module `fastwgan._cuda`, or what a test has put in its place.

    Raises:
        ImportError: it was not built.
    """
    if _substitute is not None:
        return _substitute
    from fastwgan import _cuda

    return _cuda


def why_unavailable() -> str | None:
    """One sentence on why the compiled CUDA kernels cannot run here; None when they can."""
    try:
        cuda = module()
    except ImportError as error:
        return f"fastwgan was built without CUDA ({build_note() or error})"
    driver, runtime = cuda.driver_version(), cuda.runtime_version()
    if driver == 0:
        return "built, but this machine has no NVIDIA driver"
    if driver < runtime:
        return (
            f"the NVIDIA driver is for CUDA {_version(driver)}, older than CUDA "
            f"{_version(runtime)}, which the kernels were built with"
        )
    if cuda.device_count() == 0:
        return "built, but there is no CUDA device"
    return None


def build_note() -> str | None:
    """What the build said when it left CUDA out; None where it said nothing."""
    try:
        from fastwgan import _cuda_build
    except ImportError:
        return None
    return _cuda_build.REASON


@contextmanager
def substituted(module: Any) -> Iterator[None]:
    """Run the CUDA backend on another module inside the block; for tests."""
    global _substitute
    before, _substitute = _substitute, module
    try:
        yield
    finally:
        _substitute = before


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
