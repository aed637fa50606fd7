"""Questions to autograd about what a critic did, for recordings that could be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from fastwgan.engine.twins.eligible import saving_hooks


def memory_of(tensor: Tensor) -> int:
    """Where the memory is that a tensor is a view of."""
    return tensor.untyped_storage().data_ptr()


def version_of(tensor: Tensor) -> int:
    """How often a tensor was written; those made in inference mode do not know."""
    return 0 if tensor.is_inference() else tensor._version


def surroundings() -> tuple[Any, ...]:
    """What changes the meaning of operations without their knowing."""
    return saving_hooks(), forward_ad._current_level, torch._C._len_torch_dispatch_stack()


def why_surrounded(before: tuple[Any, ...]) -> str | None:
    """Why operations now mean something else than when the critic was called, or None."""
    now = surroundings()
    if now == before:
        return None
    if now[0] != before[0]:
        return "hooks on saved tensors (torch.utils.checkpoint), which would save nothing"
    return "forward-mode derivatives or a TorchDispatchMode inside"


def sharing_memory(
    tensors: Sequence[Tensor], others: Sequence[Tensor | None]
) -> list[tuple[Tensor, int]]:
    """Those of the tensors that are in memory of the others, and their versions."""
    memory = {memory_of(z) for z in others if z is not None}
    return [(z, version_of(z)) for z in tensors if memory_of(z) in memory]


def why_written(
    name: str, written: Sequence[Tensor], announced: bool, sharing: Sequence[tuple[Tensor, int]]
) -> str | None:
    """Why a tape cannot hold what a function wrote, or None.

    Args:
        name: The function's.
        written: The arguments that it wrote to.
        announced: Whether it was known before that it may write.
        sharing: The activations in memory of its arguments, and their versions before.
    """
    if not written:
        return None
    if not announced:
        return f"{name}, which wrote to its argument unannounced"
    if not torch.is_grad_enabled() and any(z.requires_grad for z in written):
        return "an in-place write under no_grad, which autograd does not see"
    memory = {memory_of(z) for z in written}
    if any(memory_of(z) in memory and version_of(z) == version for z, version in sharing):
        return "an in-place write through .data, which autograd does not see"
    return None
