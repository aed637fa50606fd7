"""Elements held between bounds, and distances from zero: straight lines, told by the input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fastwgan.engine.rules.base import Rule
from fastwgan.engine.rules.forms import every_name, is_number
from fastwgan.engine.rules.smooth import Elementwise

_aten = torch.ops.aten
Bounds = tuple[float | None, float | None]


def _bounds(input: Any, min: Any = None, max: Any = None) -> Any:
    given = [bound for bound in (min, max) if bound is not None]
    return (input, (min, max)) if given and all(is_number(bound) for bound in given) else None


def _at_least(input: Any, min: Any) -> Any:
    return _bounds(input, min)


def _at_most(input: Any, max: Any) -> Any:
    return _bounds(input, None, max)


def _inside(d: Tensor, x: Tensor, bounds: Bounds) -> Tensor:
    low, high = bounds
    if low is None:
        assert high is not None
        return d * (x <= high)
    return d * (x >= low) if high is None else d * ((x >= low) & (x <= high))


def _hardtanh(input: Any, min_val: Any = -1.0, max_val: Any = 1.0, inplace: bool = False) -> Any:
    return _bounds(input, min_val, max_val)


def _relu6(input: Any, inplace: bool = False) -> Any:
    return input, (0.0, 6.0)


def _strictly_inside(d: Tensor, x: Tensor, bounds: Bounds) -> Tensor:
    slope: Tensor = _aten.hardtanh_backward(d, x, *bounds)
    return slope


def _clamped(kind: str, signature: Any, first: Any) -> Elementwise:
    return Elementwise(kind, signature, lambda x, o: torch.clamp(x, *o), first, None, by_input=True)


_abs = Elementwise(
    "abs",
    lambda input: (input, None),
    lambda x, _: torch.abs(x),
    lambda d, x, _: d * torch.sign(x),
    None,
    by_input=True,
)

RULES: dict[Any, Rule] = {
    **dict.fromkeys(every_name("clamp", "clip"), _clamped("clamp", _bounds, _inside)),
    **dict.fromkeys(every_name("clamp_min"), _clamped("clamp_min", _at_least, _inside)),
    **dict.fromkeys(every_name("clamp_max"), _clamped("clamp_max", _at_most, _inside)),
    **dict.fromkeys(every_name("hardtanh"), _clamped("hardtanh", _hardtanh, _strictly_inside)),
    F.relu6: _clamped("relu6", _relu6, _strictly_inside),
    **dict.fromkeys(every_name("abs", "absolute"), _abs),
    Tensor.__abs__: _abs,
}
