"""What the rules of several kinds share: shapes whose rows are left open, and forms of calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Shape = tuple[int | None, ...]
"""A shape; None in dimension 0 stands for the number of rows, whatever it is."""


def open_shape(shape: Sequence[int], row_wise: bool) -> Shape:
    """The shape, its rows left open where there are any."""
    return (None, *shape[1:]) if row_wise and shape else tuple(shape)


def fit(shape: Shape, like: Tensor) -> list[int]:
    """The shape with as many rows as `like`."""
    return [like.shape[0] if size is None else size for size in shape]


def sum_to(d: Tensor, shape: Shape) -> Tensor:
    """The cotangent of a tensor that was broadcast from `shape`; `d` itself where it was not."""
    sizes = fit(shape, d)
    return d if list(d.shape) == sizes else d.sum_to_size(sizes)


def is_plain(*tensors: Any) -> bool:
    """True for real, dense tensors of one floating-point dtype, outside autocast."""
    first = tensors[0]
    return (
        is_dense(*tensors)
        and all(t.dtype is first.dtype for t in tensors)
        and not torch.is_autocast_enabled(first.device.type)
    )


def is_dense(*tensors: Any) -> bool:
    """True for real, dense floating-point tensors."""
    return all(
        isinstance(t, Tensor) and t.layout is torch.strided and t.is_floating_point()
        for t in tensors
    )


def is_number(value: Any) -> bool:
    """True for Python's real numbers, bool left out."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def are_counts(values: Iterable[Any]) -> bool:
    """True for plain integers, as sizes and dimensions are."""
    return all(type(value) is int for value in values)


def parse(signature: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What `signature` makes of a call's arguments, None where they do not fit it."""
    if kwargs.get("out", args) is None:
        kwargs = {name: value for name, value in kwargs.items() if name != "out"}
    try:
        return signature(*args, **kwargs)
    except TypeError:
        return None


def every_name(*names: str, in_place: bool = True) -> list[Any]:
    """The functions of these names in torch, Tensor and torch.nn.functional, each once."""
    found: dict[Any, None] = {}
    for name in names:
        for owner in (torch, Tensor, F, torch.special, torch.linalg):
            for full in (name, f"{name}_") if in_place else (name,):
                function = getattr(owner, full, None)
                if function is not None:
                    found[function] = None
    return list(found)
