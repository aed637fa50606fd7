"""Matrix products by the faster of the libraries that torch carries."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# oneDNN's product, which torch's compiler uses too; absent where torch was built without oneDNN.
_ONEDNN: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_FEWEST_ROWS = 16
_SMALLEST_WEIGHT = 2**17  # elements; on smaller ones MKL is as fast, and cheaper to call


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The rows x [..., in] times weightᵀ, plus bias; weight [out, in] of any strides."""
    if _is_faster_by_onednn(x, weight):
        y: Tensor = _ONEDNN(x, weight, bias, "none", [], "")
        return y
    return F.linear(x, weight, bias)


def times(d: Tensor, weight: Tensor) -> Tensor:
    """The rows d [..., out] times weight [out, in]."""
    if _is_faster_by_onednn(d, weight):
        y: Tensor = _ONEDNN(d, weight.t(), None, "none", [], "")
        return y
    return d @ weight


def _is_faster_by_onednn(rows: Tensor, weight: Tensor) -> bool:
    """On AVX-512 and two threads by 1.1 to 1.5 where rows are few and weights large; measured."""
    return (
        rows.dtype is torch.float32
        and rows.is_cpu
        and rows.dim() == 2
        and rows.shape[0] >= _FEWEST_ROWS
        and weight.numel() >= _SMALLEST_WEIGHT
        and _ONEDNN is not None
        and torch.backends.mkldnn.is_available()
        and bool(torch.backends.mkldnn.enabled)
    )
