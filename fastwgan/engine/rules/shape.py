"""Reshaping, permuting, expanding, casting: the same elements in another form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors
from fastwgan.engine.rules.forms import (
    Shape,
    every_name,
    fit,
    is_dense,
    open_shape,
    sum_to,
)


class Form(NamedTuple):
    """Shapes of the input and of the output."""

    x: Shape
    y: Shape


class Linear(Rule):
    """What all operations of one tensor share that are linear and read no values."""

    piecewise_linear = True
    reads_inputs = False
    reads_outputs = False
    fresh = False
    lends = True

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def forward(self, options: Any, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """The map."""
        assert inputs[0] is not None
        return (self.apply(options, inputs[0]),), ()

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """The transposed map."""
        d = cotangents[0]
        return [None if d is None or not wanted[0] else self.transpose(site.options, d)]

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """The map."""
        t = tangents[0]
        return (None if t is None else self.apply(site.options, t),)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """None."""
        return [None]

    def apply(self, options: Any, x: Tensor) -> Tensor:
        """The output."""
        raise NotImplementedError

    def transpose(self, options: Any, d: Tensor) -> Tensor:
        """The adjoint."""
        raise NotImplementedError


def _result_of(function: Any, x: Tensor, args: Any, kwargs: Any) -> Tensor | None:
    """What a call returns for a tensor like x that costs no memory; None for what is no tensor."""
    try:
        y = function(x.new_empty(()).expand(x.shape), *args, **kwargs)
    except (RuntimeError, TypeError, IndexError):
        return None
    return y if isinstance(y, Tensor) and y.dtype is x.dtype else None


class Reshape(Linear):
    """Every element stays in order. Row-wise where dimension 0 is as before."""

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """All forms but a view as another dtype."""
        if not args or not is_dense(args[0]):
            return None
        y = _result_of(function, args[0], args[1:], kwargs)
        if y is None or y.numel() != args[0].numel():
            return None
        return _bound(args[0], y.shape)

    def apply(self, options: Form, x: Tensor) -> Tensor:
        """Reshaped."""
        return x.reshape(fit(options.y, x))

    def transpose(self, options: Form, d: Tensor) -> Tensor:
        """Reshaped back."""
        return d.reshape(fit(options.x, d))


class Expand(Linear):
    """Repeated along dimensions of one element."""

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """All forms."""
        if not args or not is_dense(args[0]):
            return None
        y = _result_of(function, args[0], args[1:], kwargs)
        if y is None:
            return None
        return _bound(args[0], y.shape, rows_stay=y.dim() == args[0].dim())

    def apply(self, options: Form, x: Tensor) -> Tensor:
        """Expanded."""
        return x.expand(fit(options.y, x))

    def transpose(self, options: Form, d: Tensor) -> Tensor:
        """Summed."""
        return sum_to(d, options.x)


def _bound(x: Tensor, shape: torch.Size, *, rows_stay: bool = True) -> Bound:
    row_wise = rows_stay and x.dim() > 0 and len(shape) > 0 and shape[0] == x.shape[0]
    return Bound((x,), Form(open_shape(x.shape, row_wise), open_shape(shape, row_wise)), row_wise)


class Permute(Linear):
    """`options` is the new order of dimensions, and the way back."""

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """All forms; the order is read off what the call makes of sizes 2, 3, ..."""
        if not args or not is_dense(args[0]):
            return None
        x = args[0]
        probe = torch.empty(()).expand([*range(2, 2 + x.dim())])
        try:
            order = [size - 2 for size in function(probe, *args[1:], **kwargs).shape]
        except (RuntimeError, TypeError, IndexError):
            return None
        back = sorted(range(len(order)), key=order.__getitem__)
        return Bound((x,), (order, back), row_wise=order[:1] == [0])

    def apply(self, options: tuple[list[int], list[int]], x: Tensor) -> Tensor:
        """Permuted."""
        return x.permute(options[0])

    def transpose(self, options: tuple[list[int], list[int]], d: Tensor) -> Tensor:
        """Permuted back."""
        return d.permute(options[1])


class Cast(Linear):
    """The same values in another dtype, layout or memory; `options` is the two dtypes."""

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """Between real dtypes of one device."""
        if not args or not is_dense(args[0]):
            return None
        x = args[0]
        try:
            y = function(x.new_empty(()).expand(x.shape), *args[1:], **kwargs)
        except (RuntimeError, TypeError):
            return None
        if not is_dense(y) or y.device != x.device or y.shape != x.shape:
            return None
        return Bound((x,), (x.dtype, y.dtype), row_wise=x.dim() > 0)

    def apply(self, options: tuple[torch.dtype, torch.dtype], x: Tensor) -> Tensor:
        """Cast."""
        return x.to(options[1])

    def transpose(self, options: tuple[torch.dtype, torch.dtype], d: Tensor) -> Tensor:
        """Cast back."""
        return d.to(options[0])


_CASTS = ("to", "type", "float", "double", "half", "bfloat16", "contiguous", "clone", "type_as")
_FAMILIES: tuple[tuple[Rule, tuple[str, ...]], ...] = (
    (Reshape("reshape"), ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze")),
    (Reshape("reshape"), ("view_as", "reshape_as", "ravel")),
    (Expand("expand"), ("expand", "expand_as", "broadcast_to")),
    (Permute("permute"), ("permute", "transpose", "t", "movedim", "moveaxis", "adjoint")),
    (Permute("permute"), ("swapaxes", "swapdims")),
    (Cast("cast"), (*_CASTS, "detach")),
)

RULES: dict[Any, Rule] = {
    function: rule for rule, names in _FAMILIES for function in every_name(*names, in_place=False)
} | {getattr(Tensor, name).__get__: Permute("permute") for name in ("T", "mT")}
