"""What every operation that writes in place asks of its tensors before it writes any."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastwgan import _cpu


def check_writable(tensors: Sequence[Tensor], argument: str) -> None:
    """Raises unless every tensor is real floating point, dense, with memory of its own elements.

    Raises:
        TypeError: An entry is no tensor, or is sparse, complex or integer.
        ValueError: An entry has no memory (meta), or elements that share memory (expanded).
    """
    for index, tensor in enumerate(tensors):
        if not isinstance(tensor, Tensor):
            raise TypeError(
                f"{argument}[{index}] was {type(tensor).__name__}; it must be a torch.Tensor."
            )
        if tensor.layout != torch.strided or not tensor.is_floating_point():
            kind = tensor.dtype if tensor.layout == torch.strided else tensor.layout
            raise TypeError(
                f"{argument}[{index}] was a {kind} tensor; it must be a dense tensor of a real "
                f"floating-point dtype."
            )
        if tensor.is_meta:
            raise ValueError(f"{argument}[{index}] was a meta tensor; it must have memory.")
        if torch._debug_has_internal_overlap(tensor) == 1:
            raise ValueError(
                f"{argument}[{index}] was expanded, with elements that share memory; it must own "
                f"each element: pass a clone()."
            )


def all_plain(tensors: Sequence[Tensor]) -> bool:
    """True when `check_writable` would pass, found fast: all float32 or all float64, without gaps,
    in CPU memory.

    Only for tensors that `is_exact` let through.
    """
    return _cpu.TensorTable(tensors).bits != 0
