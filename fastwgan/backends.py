"""Which backends exist, why one does not, and which one a call takes.

A backend is one name here and one file in each operation's folder. This module knows no operation.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType

import torch
from torch import Tensor

from fastwgan import _cpu, _gpu

NAMES = ("cuda", "triton", "cpu", "reference")
GPU_NAMES = ("cuda", "triton")  # best first

_FLOATS = frozenset((torch.float32, torch.float64))
_WITH_HALVES = _FLOATS | {torch.bfloat16, torch.float16}  # computed through float32
_CPU_DTYPES = {
    "bias_activation": _FLOATS,
    "feedforward_critic": _FLOATS,
    "gradient_penalty": _FLOATS,
    "rmsprop": _WITH_HALVES,
    "spectral_norm": _WITH_HALVES,
    "weight_clip": _WITH_HALVES,
}

_GPU_DTYPES = _WITH_HALVES  # of every operation

_is_cpu = Tensor.is_cpu.__get__  # type: ignore[attr-defined]
_dtype = Tensor.dtype.__get__  # type: ignore[attr-defined]

_forced: ContextVar[str | None] = ContextVar("fastwgan_backend", default=None)
_has_warned = False


class Modules(dict[str, ModuleType]):
    """One operation's module for each backend; a GPU backend's is imported when first asked for.

    Args:
        package: The operation's package, which has a module of the name of each GPU backend.
        loaded: The modules of the other backends.
    """

    def __init__(self, package: str, **loaded: ModuleType) -> None:
        super().__init__(loaded)
        self._package = package

    def __missing__(self, name: str) -> ModuleType:
        if name not in GPU_NAMES:
            raise KeyError(name)
        self[name] = importlib.import_module(f"{self._package}.{name}")
        return self[name]


def available() -> list[str]:
    """Names of the backends that can run here, best first."""
    return [name for name in NAMES if why_unavailable(name) is None]


def why_unavailable(name: str) -> str | None:
    """One sentence that says why backend `name` cannot run here; None when it can.

    Raises:
        ValueError: `name` is no backend's name.
    """
    _check_name(name, "name")
    if name == "cuda":
        return _gpu.why_no_cuda()
    return _gpu.why_no_triton() if name == "triton" else None


def forced() -> str | None:
    """The backend chosen by `use_backend` or FASTWGAN_BACKEND; None when the choice is free."""
    return _forced.get() or _from_environment


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run every operation inside the block on one backend.

    Args:
        name: "cuda", "triton", "cpu" or "reference".

    Raises:
        ValueError: `name` is no backend's name.
        RuntimeError: the backend cannot run here; or, at a call inside the block, cannot take the
            tensors of that call. The message lists those that can.
    """
    _check_name(name, "name")
    reason = why_unavailable(name)
    if reason is not None:
        raise RuntimeError(f"backend {name!r} cannot run: {reason}; available: {available()}.")
    token = _forced.set(name)
    try:
        yield
    finally:
        _forced.reset(token)


def select(op: str, tensors: Sequence[Tensor]) -> str:
    """The backend for one call of operation `op` on `tensors`.

    A forced backend is taken or refused. The automatic choice, for tensors of a dtype the kernels
    know, is "cpu" in CPU memory, and on a GPU "cuda", else "triton", else "reference" with one
    warning a process; for anything else it is "reference".

    Raises:
        RuntimeError: a forced backend cannot run here or cannot take these tensors, or the tensors
            are on two devices.
    """
    wanted = forced()
    if wanted == "reference":
        return wanted
    if wanted is None or wanted == "cpu":
        dtypes = _CPU_DTYPES[op]
        if all(map(_is_cpu, tensors)) and dtypes.issuperset(map(_dtype, tensors)):
            return "cpu"
    _check_one_device(op, tensors)
    if wanted is None:
        return _on_gpu(op, tensors)
    _check_taken(wanted, op, tensors)
    return wanted


def has_kernel(op: str, tensor: Tensor) -> bool:
    """Whether `select` takes operation `op` on a tensor to a kernel, and not to plain torch."""
    wanted = forced()
    if wanted is None:
        return select(op, (tensor,)) != "reference"
    types, dtypes = _taken_by(wanted, op)
    return tensor.device.type in types and tensor.dtype in dtypes


def _on_gpu(op: str, tensors: Sequence[Tensor]) -> str:
    """The automatic choice for tensors that the CPU kernels do not take."""
    types = {tensor.device.type for tensor in tensors}
    if not types <= {"cuda", "xpu"} or not _GPU_DTYPES.issuperset(map(_dtype, tensors)):
        return "reference"
    for name in GPU_NAMES:
        if types <= set(_gpu.device_types(name)) and why_unavailable(name) is None:
            return name
    _warn_of_reference()
    return "reference"


def _warn_of_reference() -> None:
    global _has_warned
    if _has_warned:
        return
    _has_warned = True
    reasons = "; ".join(
        f"{name}: {why_unavailable(name) or 'takes tensors in CPU memory only'}"
        for name in GPU_NAMES
    )
    warnings.warn(
        f"no fastwgan kernels for this GPU can run, so plain torch runs instead ({reasons}).",
        RuntimeWarning,
        stacklevel=4,
    )


def _check_one_device(op: str, tensors: Sequence[Tensor]) -> None:
    devices = {tensor.device for tensor in tensors if not tensor.is_meta}
    if len(devices) > 1:
        listed = " and ".join(sorted(map(str, devices)))
        raise RuntimeError(f"{op} was given tensors on {listed}; they must be on one device.")


def _check_taken(wanted: str, op: str, tensors: Sequence[Tensor]) -> None:
    """Raises unless the forced backend can run and takes these tensors."""
    reason = why_unavailable(wanted)
    if reason is not None:
        raise RuntimeError(f"backend {wanted!r} cannot run: {reason}; available: {available()}.")
    types, dtypes = _taken_by(wanted, op)
    for tensor in tensors:
        if tensor.device.type not in types or tensor.dtype not in dtypes:
            places = " or ".join("CPU" if name == "cpu" else name for name in types)
            raise RuntimeError(
                f"backend {wanted!r} cannot run {op} on a {tensor.dtype} tensor on "
                f"{tensor.device}: it takes {_listed(dtypes)} in {places} memory; backend "
                f"'reference' takes any."
            )


def _taken_by(name: str, op: str) -> tuple[tuple[str, ...], frozenset[torch.dtype]]:
    """Types of devices and dtypes that a backend's kernels take."""
    if name == "cpu":
        return ("cpu",), _CPU_DTYPES[op]
    return _gpu.device_types(name) if name in GPU_NAMES else (), _GPU_DTYPES


def instruction_sets() -> list[str]:
    """CPU instruction sets that this processor can run, narrowest first, then the portable bodies.

    "portable256" and "portable512" are the AVX2 and AVX-512 bodies compiled to baseline code: the
    same widths, tails and order of sums on a processor that lacks the instructions.
    """
    return list(_cpu.instruction_sets())


def instruction_set() -> str:
    """The instruction set in use: the widest, or the one that FASTWGAN_CPU_ISA forces."""
    return str(_cpu.instruction_set())


@contextmanager
def use_instruction_set(name: str) -> Iterator[None]:
    """Run the CPU kernels of this process with one instruction set inside the block.

    Raises:
        ValueError: `name` is none of `instruction_sets()`.
    """
    if name not in instruction_sets():
        raise ValueError(f"instruction set was {name!r}; it must be one of {instruction_sets()}.")
    before = instruction_set()
    _cpu.set_instruction_set(name)
    try:
        yield
    finally:
        _cpu.set_instruction_set(before)


def _check_name(name: str, source: str) -> None:
    if name not in NAMES:
        raise ValueError(f"{source} was {name!r}; it must be one of {list(NAMES)}.")


def _listed(dtypes: Iterable[torch.dtype]) -> str:
    return ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))


def _read_environment() -> str | None:
    name = os.environ.get("FASTWGAN_BACKEND") or None
    if name is not None and name != "auto":
        _check_name(name, "FASTWGAN_BACKEND")
        return name
    return None


_from_environment = _read_environment()
