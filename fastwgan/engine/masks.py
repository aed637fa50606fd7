"""Masks of dropout, drawn several times faster than torch draws them."""

from __future__ import annotations

import torch
from torch import Tensor

_BITS = 32


def drawn_mask(rows: int, columns: int, p: float, dtype: torch.dtype) -> Tensor:
    """A mask [rows, columns] in CPU memory: zero with probability p, else 1 / (1 - p).

    Two elements share one draw of 64 bits of torch's default generator, where `F.dropout` takes
    two draws an element: other masks from the same seed, of the same distribution (p is rounded
    to 2⁻³²).
    """
    size = rows * columns
    draws = torch.empty((size + 1) // 2, dtype=torch.int64).random_(-(2**63), None)
    bits = draws.view(torch.int32)[:size]  # uniform on [-2³¹, 2³¹)
    dropped = min(round(p * 2**_BITS), 2**_BITS - 1) - 2 ** (_BITS - 1)  # fits 32 bits
    kept: Tensor = bits >= dropped
    return kept.to(dtype).mul_(1 / (1 - p)).view(rows, columns)
