"""Batch norm: by the batch's own statistics, or by running ones, which are constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors
from fastwgan.engine.rules.forms import is_number, is_plain, parse
from fastwgan.engine.rules.normalisation import (
    Normalisation,
    Statistics,
    are_normalised,
    channels,
)


class Running(NamedTuple):
    """The arguments that are no activations or weights; the statistics are moved by each run."""

    mean: Tensor | None
    variance: Tensor | None
    momentum: float
    affine: tuple[int, ...]
    eps: float


class BatchNorm(Normalisation):
    """In training: each channel over all rows, which it mixes."""

    def __init__(self) -> None:
        super().__init__("batch_norm", _bind_training)

    def forward(self, options: Running, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """Torch's own call, for what it does to the running statistics."""
        x, weight, bias = inputs
        assert x is not None
        saved = self.statistics(x, options)
        running = options.mean, options.variance
        y = F.batch_norm(x, *running, weight, bias, True, options.momentum, options.eps)
        return (y,), saved

    def form(self, x: Tensor, options: Any) -> tuple[Tensor, list[int]]:
        """All dimensions but the channels'."""
        return x, [0, *range(2, x.dim())]

    def statistics(self, x: Tensor, options: Any) -> tuple[Any, ...]:
        """Kept as one, since they have no rows."""
        return (Statistics(*super().statistics(x, options)),)

    def pull(self, site: Site, d: Tensor, affine: Tensors, wanted: list[bool]) -> Tensors:
        """Torch's backward, in which running statistics have no part."""
        mean, rstd = (z.flatten() for z in self.read(site.saved))
        found: Tensors = torch.ops.aten.native_batch_norm_backward(
            d, site.input(), affine[0], None, None, mean, rstd, True, site.options.eps, wanted
        )
        return found

    def read(self, saved: tuple[Any, ...]) -> Statistics:
        """The one."""
        statistics: Statistics = saved[0]
        return statistics


class Fixed(NamedTuple):
    """The weights' shape beside x's, and eps."""

    affine: tuple[int, ...]
    eps: float


class FixedBatchNorm(Rule):
    """In eval: y = (x - mean) r w + b, affine in x. Inputs: x, weight, bias, mean, variance."""

    kind = "batch_norm in eval"
    piecewise_linear = True
    reads_outputs = False
    weights = (1, 2, 3, 4)
    unread = (2,)

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """With running statistics that need no gradient."""
        bound: Bound | None = parse(_bind_eval, args, kwargs)
        return bound

    def forward(self, options: Fixed, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """One call."""
        x, weight, bias, mean, variance = inputs
        assert x is not None
        return (F.batch_norm(x, mean, variance, weight, bias, False, 0.0, options.eps),), ()

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """d r w; Σ d h; Σ d."""
        d = cotangents[0]
        if d is None:
            return [None] * 5
        mean = site.input(3).view(site.options.affine)
        over = [0, *range(2, d.dim())]
        to_weight = None
        if wanted[1]:
            to_weight = (d * (site.input() - mean)).sum(over).mul_(_rstd(site).flatten())
        return [
            d * _slope(site) if wanted[0] else None,
            to_weight,
            d.sum(over) if wanted[2] else None,
            None,
            None,
        ]

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """t r w."""
        t = tangents[0]
        return (None if t is None else t * _slope(site),)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Σ d r t for the weight alone."""
        d, t = cotangents[0], tangents[0]
        found: list[Tensor | None] = [None] * 5
        if wanted[1] and d is not None and t is not None:
            found[1] = (d * t).sum([0, *range(2, d.dim())]).mul_(_rstd(site).flatten())
        return found


def _rstd(site: Site) -> Tensor:
    """[1, C, 1, ...]."""
    o: Fixed = site.options
    return (site.input(4) + o.eps).rsqrt().view(o.affine)


def _slope(site: Site) -> Tensor:
    """r w, [1, C, 1, ...]."""
    weight = site.inputs[1]
    return _rstd(site) if weight is None else _rstd(site) * weight.view(site.options.affine)


def _bind_training(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: Any = 1e-5,
) -> Bound | None:
    if not training or not are_normalised(input, weight, bias, eps) or input.dim() < 2:
        return None
    if not is_number(momentum):
        return None
    running = Running(running_mean, running_var, momentum, channels(input), eps)
    return Bound((input, weight, bias), running, row_wise=False)


def _bind_eval(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: Any = 1e-5,
) -> Bound | None:
    if training or not are_normalised(input, weight, bias, eps) or input.dim() < 2:
        return None
    statistics = running_mean, running_var
    if not is_plain(input, *statistics) or any(z.requires_grad for z in statistics):
        return None
    return Bound((input, weight, bias, *statistics), Fixed(channels(input), eps))


RULES: dict[Any, tuple[Rule, ...]] = {F.batch_norm: (BatchNorm(), FixedBatchNorm())}
