"""Weight clipping in plain torch: the definition of correct."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastwgan.ops._rounding import rounded


def clip_(tensors: Sequence[Tensor], bound: float) -> None:
    """Clamps every tensor in place to [-bound, bound]; NaN stays NaN."""
    with torch.no_grad():
        for tensor in tensors:
            limit = rounded(bound, tensor.dtype)
            tensor.clamp_(-limit, limit)
