"""Clipping of every element of many tensors to [-bound, bound], in place, in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastwgan import backends
from fastwgan.ops._checks import check_writable
from fastwgan.ops._library import LIBRARY, by_device, is_exact, takes_plain
from fastwgan.ops.weight_clip import native, reference

__all__ = ["BACKENDS", "clip_"]

BACKENDS = backends.Modules("fastwgan.ops.weight_clip", cpu=native, reference=reference)


def clip_(tensors: Sequence[Tensor], bound: float) -> None:
    """Replaces every element x of every tensor by min(max(x, -bound), bound); NaN stays NaN.

    Args:
        tensors: Real floating tensors of any shape, strides and device, none overlapping
            itself or another; one may be listed twice. Written in place, also where they require
            grad; their version counters move.
        bound: Finite and above zero, in the units of the tensors; rounded to each one's dtype, so
            that one beyond the dtype's range clips nothing.

    Raises:
        TypeError: An entry is no tensor, or is sparse, complex or integer.
        ValueError: An entry has no memory (meta), or elements that share memory (expanded).
        RuntimeError: A forced backend cannot take one of the tensors.

    Not differentiable: it is meant for parameters between two steps, as in Arjovsky et al. 2017,
    "Wasserstein GAN", algorithm 1, line 7. Cost: one reading and one writing of the tensors.
    """
    tensors = tensors if type(tensors) is list else list(tensors)
    if not tensors:
        return
    if takes_plain() and native.clip_plain_(tensors, bound):
        torch.autograd.graph.increment_version(tensors)
        return
    tensors = list({id(tensor): tensor for tensor in tensors}.values())  # each once
    check_writable(tensors, "parameters")
    if is_exact(tensors):
        _clip_op(tensors, bound)
    else:
        with torch.no_grad():
            torch.ops.fastwgan.weight_clip_(tensors, bound)


def _run(backend: str, tensors: list[Tensor], bound: float) -> None:
    BACKENDS[backend].clip_(tensors, bound)
    torch.autograd.graph.increment_version(tensors)


def _clip_op(tensors: list[Tensor], bound: float) -> None:
    parts = [[tensors[index] for index in indices] for indices in by_device(tensors)]
    for backend, part in [(backends.select("weight_clip", part), part) for part in parts]:
        _run(backend, part, bound)


LIBRARY.define("weight_clip_(Tensor(a!)[] tensors, float bound) -> ()")
LIBRARY.impl("weight_clip_", _clip_op, "CompositeExplicitAutograd")


@torch.library.register_fake("fastwgan::weight_clip_", lib=LIBRARY)  # type: ignore[untyped-decorator]
def _clip_fake(tensors: list[Tensor], bound: float) -> None:
    return None
