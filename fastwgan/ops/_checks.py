"""What every operation that writes in place asks of its tensors before it writes any."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

_REAL = frozenset((torch.float16, torch.bfloat16, torch.float32, torch.float64))


def check_writable(tensors: Sequence[Tensor], argument: str) -> None:
    """Raises unless every tensor is real floating point, dense, with memory of its own elements.

    Raises:
        TypeError: An entry is no tensor, or is sparse, complex or integer.
        ValueError: An entry has no memory (meta, lazy), or elements that share memory (expanded).
    """
    for index, tensor in enumerate(tensors):
        if isinstance(tensor, (UninitializedParameter, UninitializedBuffer)):
            raise ValueError(
                f"{argument}[{index}] was uninitialized; it must have memory: run its lazy module "
                f"once first."
            )
        check_dense_real(tensor, f"{argument}[{index}]")
        if tensor.is_meta:
            raise ValueError(f"{argument}[{index}] was a meta tensor; it must have memory.")
        if _is_expanded(tensor):
            raise ValueError(
                f"{argument}[{index}] was expanded, with elements that share memory; it must own "
                f"each element: pass a clone()."
            )


def _is_expanded(tensor: Tensor) -> bool:
    axes = zip(tensor.shape, tensor.stride(), strict=True)
    return tensor.numel() > 0 and any(size > 1 and stride == 0 for size, stride in axes)


def check_dense_real(tensor: Tensor, argument: str) -> None:
    """Raises TypeError unless `tensor` is a dense tensor of half, single or double precision."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{argument} was {type(tensor).__name__}; it must be a torch.Tensor.")
    if tensor.layout != torch.strided or tensor.dtype not in _REAL:
        kind = tensor.dtype if tensor.layout == torch.strided else tensor.layout
        raise TypeError(
            f"{argument} was a {kind} tensor; it must be a dense tensor of float16, bfloat16, "
            f"float32 or float64."
        )
