"""Which backends exist, why one does not, and which one a call takes.

A backend is one name here and one file in each operation's folder. This module knows no operation.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from fastwgan import _cpu

NAMES = ("cpu", "reference")

_FLOATS = frozenset((torch.float32, torch.float64))
_WITH_HALVES = _FLOATS | {torch.bfloat16, torch.float16}  # computed through float32
_NATIVE_DTYPES = {
    "bias_activation": _FLOATS,
    "gradient_penalty": _FLOATS,
    "rmsprop": _WITH_HALVES,
    "spectral_norm": _WITH_HALVES,
    "weight_clip": _WITH_HALVES,
}

_is_cpu = Tensor.is_cpu.__get__  # type: ignore[attr-defined]
_dtype = Tensor.dtype.__get__  # type: ignore[attr-defined]

_forced: ContextVar[str | None] = ContextVar("fastwgan_backend", default=None)


def available() -> list[str]:
    """Names of the backends that can run here, best first."""
    return [name for name in NAMES if why_unavailable(name) is None]


def why_unavailable(name: str) -> str | None:
    """One sentence that says why backend `name` cannot run here; None when it can.

    Raises:
        ValueError: `name` is no backend's name.
    """
    _check_name(name, "name")
    return None


def forced() -> str | None:
    """The backend chosen by `use_backend` or FASTWGAN_BACKEND; None when the choice is free."""
    return _forced.get() or _from_environment


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run every operation inside the block on one backend.

    Args:
        name: "cpu" or "reference".

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

    A forced backend is taken or refused; the automatic choice is "cpu" for real tensors in CPU
    memory of a dtype the kernels know, else "reference".

    Raises:
        RuntimeError: a forced backend cannot take these tensors.
    """
    wanted = forced()
    if wanted == "reference":
        return wanted
    dtypes = _NATIVE_DTYPES[op]
    if all(map(_is_cpu, tensors)) and dtypes.issuperset(map(_dtype, tensors)):
        return "cpu"
    if wanted == "cpu":
        refused = next(t for t in tensors if not t.is_cpu or t.dtype not in dtypes)
        raise RuntimeError(
            f"backend 'cpu' cannot run {op} on a {refused.dtype} tensor on {refused.device}: it "
            f"takes {_listed(dtypes)} in CPU memory; backend 'reference' takes any."
        )
    return "reference"


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
