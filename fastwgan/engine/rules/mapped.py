"""Other linear maps of one tensor: picking, padding, resampling, rearranging.

The tangent is the same call; the adjoint is autograd's backward of that call, which reads no
values, so that it costs no more than one backward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors
from fastwgan.engine.rules.forms import (
    Shape,
    are_counts,
    every_name,
    fit,
    is_dense,
    is_plain,
    open_shape,
)
from fastwgan.engine.rules.local import tensors_in


class Call(NamedTuple):
    """A function of one tensor, its linear part, and the tensor's shape."""

    function: Callable[[Tensor], Any]
    linear: Callable[[Tensor], Any]
    x: Shape


class Mapped(Rule):
    """`keeps_rows` says, of the input and the further arguments, whether dimension 0 is let be."""

    piecewise_linear = True
    reads_inputs = False
    reads_outputs = False
    fresh = False
    lends = True

    def __init__(self, kind: str, keeps_rows: Callable[..., bool]) -> None:
        self.kind, self._keeps_rows = kind, keeps_rows

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """A tensor, and further arguments that hold none."""
        arguments = dict(kwargs)
        x, rest = (args[0], args[1:]) if args else (arguments.pop("input", None), ())
        if not is_dense(x) or tensors_in([rest, arguments]):
            return None
        if not is_plain(x) and torch.is_autocast_enabled(x.device.type) and self.kind != "pick":
            return None
        try:
            row_wise = x.dim() > 0 and self._keeps_rows(x, *rest, **arguments)
        except (TypeError, IndexError):
            return None
        linear = _without_constant(arguments) if self.kind == "pad" else arguments
        flat = rest[:2] if self.kind == "pad" else rest
        call = Call(
            lambda z: function(z, *rest, **arguments),
            lambda z: function(z, *flat, **linear),
            open_shape(x.shape, row_wise),
        )
        return Bound((x,), call, row_wise)

    def forward(self, options: Call, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """The call."""
        assert inputs[0] is not None
        return tensors_in(options.function(inputs[0])), ()

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """One backward of the call on a tensor without memory."""
        present = next((d for d in cotangents if d is not None), None)
        if present is None or not wanted[0]:
            return [None]
        call: Call = site.options
        with torch.enable_grad():
            leaf = present.new_empty(()).expand(fit(call.x, present)).requires_grad_()
            outputs = tensors_in(call.linear(leaf))
        pairs = [(y, d) for y, d in zip(outputs, cotangents, strict=True) if d is not None]
        return list(torch.autograd.grad([y for y, _ in pairs], [leaf], [d for _, d in pairs]))

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """The call's linear part; None for each output where nothing moves."""
        t = tangents[0]
        return (None,) * len(site.outputs) if t is None else tensors_in(site.options.linear(t))

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """None."""
        return [None]


def _without_constant(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name != "value"}


def _index_keeps_rows(x: Tensor, index: Any) -> bool:
    """True where the first index is a whole slice, or an ellipsis that stands for dimension 0."""
    parts = index if isinstance(index, tuple) else (index,)
    known = all(
        part is None or part is Ellipsis or isinstance(part, slice) or type(part) is int
        for part in parts
    )
    if not known or not parts:
        return False
    if parts[0] is Ellipsis:
        return sum(part is not None for part in parts[1:]) < x.dim()
    return isinstance(parts[0], slice) and parts[0] == slice(None)


def _after_rows(x: Tensor, dims: Any) -> bool:
    each = dims if isinstance(dims, (tuple, list)) else (dims,)
    return are_counts(each) and all(dim % x.dim() != 0 for dim in each)


def _at_dim(x: Tensor, dim: Any, *others: Any, **more: Any) -> bool:
    return _after_rows(x, dim)


def _by_size(x: Tensor, size: Any = None, dim: Any = 0, **more: Any) -> bool:
    return _after_rows(x, dim)


def _unbound(x: Tensor, dim: Any = 0) -> bool:
    return _after_rows(x, dim)


def _flipped(x: Tensor, *dims: Any, **more: Any) -> bool:
    given = more.get("dims", dims)
    return _after_rows(x, given[0] if given and not are_counts(given) else given)


def _rolled(x: Tensor, shifts: Any, dims: Any = None) -> bool:
    return dims is not None and _after_rows(x, dims)


def _repeated(x: Tensor, *sizes: Any, **more: Any) -> bool:
    given = more.get("repeats", sizes)
    flat = given[0] if given and not are_counts(given) else given
    return len(flat) == x.dim() and flat[0] == 1


def _padded(x: Tensor, pad: Any, mode: str = "constant", value: Any = None) -> bool:
    return len(pad) // 2 < x.dim()


def _images(x: Tensor, *others: Any, **more: Any) -> bool:
    return x.dim() >= 4


def _resampled(x: Tensor, *others: Any, **more: Any) -> bool:
    return x.dim() >= 3


_FAMILIES: dict[str, tuple[Callable[..., bool], tuple[str, ...]]] = {
    "pick": (_index_keeps_rows, ("__getitem__",)),
    "select": (_at_dim, ("select", "narrow", "unfold")),
    "split": (_by_size, ("chunk", "split", "tensor_split", "split_with_sizes")),
    "unbind": (_unbound, ("unbind",)),
    "flip": (_flipped, ("flip",)),
    "roll": (_rolled, ("roll",)),
    "repeat": (_repeated, ("repeat",)),
    "pixel_shuffle": (_images, ("pixel_shuffle", "pixel_unshuffle")),
}

_kinds = [
    (function, Mapped(kind, keeps_rows))
    for kind, (keeps_rows, names) in _FAMILIES.items()
    for function in every_name(*names, in_place=False)
    if function is not F.unfold
]

RULES: dict[Any, Rule] = {
    **dict(_kinds),
    F.pad: Mapped("pad", _padded),
    F.interpolate: Mapped("interpolate", _resampled),
}
