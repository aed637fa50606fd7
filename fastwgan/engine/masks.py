"""Masks of dropout, drawn several times faster than torch draws them."""

from __future__ import annotations

import torch
from torch import Tensor


def drawn_mask(rows: int, columns: int, p: float, dtype: torch.dtype) -> Tensor:
    """A mask [rows, columns] in CPU memory: zero with probability p, else 1 / (1 - p).

    Several elements share one draw of 64 bits of torch's default generator, where `F.dropout` takes
    two draws an element: other masks from the same seed, of the same distribution. Eight share one
    where p is a multiple of 1/256; else two, and p is rounded to 2⁻³².
    """
    kind, count = (torch.int8, 2**8) if (p * 2**8).is_integer() else (torch.int32, 2**32)
    size = rows * columns
    draws = torch.empty(-(-size * kind.itemsize // 8), dtype=torch.int64).random_(-(2**63), None)
    values = draws.view(kind)[:size]  # uniform on [-count / 2, count / 2)
    dropped = min(round(p * count), count - 1) - count // 2  # fits the dtype
    kept: Tensor = values >= dropped
    return kept.to(dtype).mul_(1 / (1 - p)).view(rows, columns)
