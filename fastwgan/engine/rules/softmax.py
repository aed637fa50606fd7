"""Softmax and its logarithm: y and p, p the probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors
from fastwgan.engine.rules.forms import every_name, is_plain

_aten = torch.ops.aten


def softmax_adjoint(d: Tensor, p: Tensor, dim: int) -> Tensor:
    """p (d - Σ p d), which is the tangent too."""
    moved: Tensor = _aten._softmax_backward_data(d, p, dim, p.dtype)
    return moved


def softmax_second_order(d: Tensor, t: Tensor, p: Tensor, dim: int) -> Tensor:
    """The derivative of ⟨d, p (t - Σ p t)⟩ for the scores."""
    along_p = d * t - d * (p * t).sum(dim, True) - t * (p * d).sum(dim, True)
    return softmax_adjoint(along_p, p, dim)


class Softmax(Rule):
    """`options` is the dimension."""

    kind = "softmax"
    reads_inputs = False

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """With a dimension, and in the input's dtype."""
        named = dict(zip(("input", "dim"), args, strict=False)) | kwargs
        x, dim = named.pop("input", None), named.pop("dim", None)
        named.pop("_stacklevel", None)
        if len(args) > 2 or any(value is not None for value in named.values()):
            return None
        if not is_plain(x) or type(dim) is not int or x.dim() == 0:
            return None
        dim %= x.dim()
        return Bound((x,), dim, row_wise=dim > 0)

    def forward(self, options: int, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """One call."""
        assert inputs[0] is not None
        return (torch.softmax(inputs[0], options),), ()

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """p (d - Σ p d)."""
        d = cotangents[0]
        if d is None or not wanted[0]:
            return [None]
        return [softmax_adjoint(d, site.output, site.options)]

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """p (t - Σ p t)."""
        t = tangents[0]
        return (None if t is None else softmax_adjoint(t, site.output, site.options),)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Both factors' changes."""
        d, t = cotangents[0], tangents[0]
        if d is None or t is None or not wanted[0]:
            return [None]
        return [softmax_second_order(d, t, site.output, site.options)]


class LogSoftmax(Softmax):
    """y = x - log Σ exp x."""

    kind = "log_softmax"

    def forward(self, options: int, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """One call."""
        assert inputs[0] is not None
        return (torch.log_softmax(inputs[0], options),), ()

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """d - p Σ d."""
        d, y = cotangents[0], site.output
        if d is None or not wanted[0]:
            return [None]
        return [_aten._log_softmax_backward_data(d, y, site.options, y.dtype)]

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """t - Σ p t."""
        t = tangents[0]
        if t is None:
            return (None,)
        return (t - (site.output.exp() * t).sum(site.options, True),)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """-Σ d p (t - Σ p t)."""
        d, t = cotangents[0], tangents[0]
        if d is None or t is None or not wanted[0]:
            return [None]
        moved = softmax_adjoint(t, site.output.exp(), site.options)
        return [-moved * d.sum(site.options, True)]


RULES: dict[Any, Rule] = {
    **dict.fromkeys(every_name("softmax", in_place=False), Softmax()),
    **dict.fromkeys(every_name("log_softmax", in_place=False), LogSoftmax()),
}
