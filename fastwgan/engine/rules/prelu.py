"""PReLU: x where positive, else slope x, the slope a weight of its own or one a channel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors
from fastwgan.engine.rules.forms import every_name, is_plain, parse

_aten = torch.ops.aten


class PRelu(Rule):
    """`options` is unused. The slope's second-order term is d t where x is not positive."""

    kind = "prelu"
    piecewise_linear = True
    reads_outputs = False
    weights = (1,)

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """A batch with channels, or one slope for all."""
        parsed = parse(lambda input, weight: (input, weight), args, kwargs)
        if parsed is None or not is_plain(*parsed):
            return None
        x, slope = parsed
        if x.dim() < 1 or slope.dim() != 1 or (slope.numel() > 1 and x.dim() < 2):
            return None
        return Bound((x, slope), None)

    def forward(self, options: Any, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """One call."""
        return (torch.prelu(*inputs),), ()  # type: ignore[arg-type]

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Times the slope; and Σ d min(x, 0)."""
        d = cotangents[0]
        if d is None:
            return [None, None]
        to_x, to_slope = _aten._prelu_kernel_backward(d, site.input(), _slope(site))
        return [
            to_x if wanted[0] else None,
            _to_weight(to_slope, site.input(1)) if wanted[1] else None,
        ]

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """Times the slope."""
        t = tangents[0]
        if t is None:
            return (None,)
        return (_aten._prelu_kernel_backward(t, site.input(), _slope(site))[0],)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Σ d t over x ≤ 0, for the slope alone."""
        d, t = cotangents[0], tangents[0]
        if not wanted[1] or d is None or t is None:
            return [None, None]
        return [None, _to_weight(d * t * (site.input() <= 0), site.input(1))]


def _slope(site: Site) -> Tensor:
    """The slope as x is laid out, [C, 1, ...] or [1]."""
    x, slope = site.input(), site.input(1)
    return slope.view(-1, *[1] * (x.dim() - 2)) if slope.numel() > 1 else slope


def _to_weight(d: Tensor, slope: Tensor) -> Tensor:
    """The sum over all but channels, [C], or over everything, [1]."""
    if slope.numel() == 1:
        return d.sum().view(1)
    return d.sum([0, *range(2, d.dim())])


RULES: dict[Any, Rule] = dict.fromkeys(every_name("prelu"), PRelu())
