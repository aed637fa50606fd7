"""Bias and LeakyReLU, and their derivatives, in plain torch: the definition of correct."""

from __future__ import annotations

import torch
from torch import Tensor


def activate_(values: Tensor, bias: Tensor | None, slope: float) -> None:
    """values ← act(values + bias), in place; values [rows, columns], bias [columns]."""
    if bias is not None:
        values += bias
    # Not 0 x: of an infinite x that is NaN.
    values.copy_(values.relu() if slope == 0 else torch.where(values > 0, values, slope * values))


def differentiate(
    cotangents: Tensor, outputs: Tensor, results: Tensor, slope: float, summed_rows: int | None
) -> Tensor | None:
    """results ← cotangents act'; returns the sum [columns] of their first `summed_rows` rows."""
    rest = torch.zeros_like(cotangents) if slope == 0 else slope * cotangents
    results.copy_(torch.where(outputs > 0, cotangents, rest))
    return None if summed_rows is None else results[:summed_rows].sum(0)
