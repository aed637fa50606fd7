"""Matrix products by the faster of the libraries that torch carries."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fastwgan.engine.cpu_only import is_for_cpu
from fastwgan.ops.bias_activation import activate_

# oneDNN's product, which torch's compiler uses too; absent where torch was built without oneDNN.
_ONEDNN: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_THIN = 16
_FEWEST_ROWS, _FEW_ROWS = 16, 160
_SMALLEST_WEIGHT = 2**17  # elements; on smaller ones MKL is as fast, and cheaper to call


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The rows x [..., in] times weightᵀ, plus bias; weight [out, in] of any strides."""
    if _is_faster_by_onednn(x, weight):
        y: Tensor = _ONEDNN(x, weight, bias, "none", [], "")
        return y
    return F.linear(x, weight, bias)


def activated(x: Tensor, weight: Tensor, bias: Tensor | None, slope: float) -> Tensor:
    """LeakyReLU of `affine`, ReLU at slope 0, in fewer passes over the result."""
    if _is_faster_by_onednn(x, weight):
        name, scalars = ("relu", []) if slope == 0 else ("leaky_relu", [slope])
        y: Tensor = _ONEDNN(x, weight, bias, name, scalars, "")
        return y
    z = F.linear(x, weight)
    activate_(z.view(-1, z.shape[-1]), bias, slope)
    return z


def times(d: Tensor, weight: Tensor) -> Tensor:
    """The rows d [..., out] times weight [out, in]."""
    if _is_faster_by_onednn(d, weight):
        y: Tensor = _ONEDNN(d, weight.t(), None, "none", [], "")
        return y
    if weight.shape[0] == 1:
        return d * weight[0]  # eight times as fast as a product with one term
    return d @ weight


def weight_gradient(d: Tensor, x: Tensor) -> Tensor:
    """dᵀx [out, in] of rows d [..., out] and x [..., in], summed over rows."""
    if d.dim() > 2:
        d, x = d.flatten(0, -2), x.flatten(0, -2)
    if x.shape[1] < _THIN <= d.shape[1]:
        # BLAS is twice as fast on few rows than on few columns.
        return (x.t() @ d).t().contiguous()
    if x.shape[0] <= _FEW_ROWS and _is_faster_by_onednn(d, x):
        term: Tensor = _ONEDNN(d.t(), x.t(), None, "none", [], "")
        return term
    return d.t() @ x


def _is_faster_by_onednn(rows: Tensor, matrix: Tensor) -> bool:
    """On AVX-512 and two threads by 1.1 to 1.5 where rows are few and matrices large; measured."""
    return (
        rows.dtype is torch.float32
        and is_for_cpu(rows)
        and rows.dim() == 2
        and rows.shape[0] >= _FEWEST_ROWS
        and matrix.numel() >= _SMALLEST_WEIGHT
        and _ONEDNN is not None
        and torch.backends.mkldnn.is_available()
        and bool(torch.backends.mkldnn.enabled)
    )
