"""Average and max pooling, fixed and adaptive, on the twins' own operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors
from fastwgan.engine.rules.forms import parse
from fastwgan.engine.twins.pooling import POOLINGS, Maximum, Pooled, lift


class Pooling(Rule):
    """`options` is the pooling, of any number of rows. A maximum's places are saved."""

    piecewise_linear = True
    reads_inputs = False
    reads_outputs = False

    def __init__(self, kind: str, find: Any, dims: int) -> None:
        self.kind, self._find, self._dims = kind, find, dims

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """A batch, and sizes that are numbers."""
        pooled: Pooled | None = parse(self._find, (self._dims, *args), kwargs)
        if pooled is None:
            return None
        x: Tensor = args[0] if args else kwargs["input"]
        if torch.is_autocast_enabled(x.device.type):
            return None
        return Bound((x,), pooled)

    def record(
        self, bound: Bound, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, tuple[Any, ...]]:
        """A maximum by the function beneath, which tells the places as well."""
        if not isinstance(bound.options.op, Maximum):
            return function(*args, **kwargs), ()
        (y,), saved = self.forward(bound.options, bound.inputs)
        return y, saved

    def forward(self, options: Pooled, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """Pooled."""
        assert inputs[0] is not None
        y, places = options.op.evaluate(lift(self._dims, inputs[0])[0])
        return (_lower(y, options),), () if places is None else (places,)

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Each window's share."""
        d, pooled = cotangents[0], site.options
        if d is None or not wanted[0]:
            return [None]
        shape = torch.Size((d.shape[0], *pooled.op.input_shape[1:]))
        op = replace(pooled.op, input_shape=shape)
        return [_lower(op.transpose(lift(self._dims, d)[0], _places(site)), pooled)]

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """Pooled, at the same places."""
        t, pooled = tangents[0], site.options
        if t is None:
            return (None,)
        return (_lower(pooled.op.tangent(lift(self._dims, t)[0], _places(site)), pooled),)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """None: the places are constants."""
        return [None]


def _lower(y: Tensor, pooled: Pooled) -> Tensor:
    return y.squeeze(-2) if pooled.lifted else y


def _places(site: Site) -> Tensor | None:
    return site.saved[0] if site.saved else None


RULES: dict[Any, Rule] = {
    function: Pooling(find.__name__.removeprefix("find_") + "_pool", find, dims)
    for function, (find, dims) in POOLINGS.items()
}
