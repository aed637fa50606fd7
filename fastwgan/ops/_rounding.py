"""What a Python number becomes when a tensor's dtype holds it."""

from __future__ import annotations

import torch


def rounded(number: float, dtype: torch.dtype) -> float:
    """The nearest number of `dtype`; infinity beyond its range, where torch's own calls raise."""
    return torch.tensor(number, dtype=dtype, device="cpu").item()
