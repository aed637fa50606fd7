"""Dropout of every kind: y = mask x + shift, both drawn once a run and then constants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors
from fastwgan.engine.rules.forms import is_number, is_plain, parse


class Draw(NamedTuple):
    """How a mask is drawn: whether dropout is on, a share p of zeros, in place or not."""

    p: float
    training: bool
    inplace: bool


def _draws(input: Any, p: Any = 0.5, training: bool = True, inplace: bool = False) -> Any:
    return input, Draw(p, bool(training), bool(inplace))


def _draws_alpha(input: Any, p: Any = 0.5, training: bool = False, inplace: bool = False) -> Any:
    return input, Draw(p, bool(training), bool(inplace))


def _draws_builtin(input: Any, p: Any, train: bool) -> Any:
    return input, Draw(p, bool(train), False)


class Dropout(Rule):
    """Masks are drawn by torch's own call on ones, and so are the bits that torch draws.

    Args:
        kind: Its name.
        draw: The function that draws.
        dims: How many dimensions the input must have; None for any.
        whole: Whether a channel stays or goes as a whole.
    """

    piecewise_linear = True
    reads_inputs = False
    reads_outputs = False
    fresh = False
    lends = True
    _signature = staticmethod(_draws)

    def __init__(
        self, kind: str, draw: Any = F.dropout, dims: int | None = None, whole: bool = False
    ) -> None:
        self.kind, self._draw, self._dims, self._whole = kind, draw, dims, whole

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """A batch, and a probability that is a number."""
        is_builtin = function in (torch.dropout, torch.dropout_)
        parsed = parse(_draws_builtin if is_builtin else self._signature, args, kwargs)
        if parsed is None or not is_plain(parsed[0]):
            return None
        x, draw = parsed
        if function is torch.dropout_:
            draw = draw._replace(inplace=True)
        if x.dim() == 0 or self._dims not in (None, x.dim()) or not is_number(draw.p):
            return None
        return Bound((x,), draw) if 0 <= draw.p <= 1 else None

    def record(
        self, bound: Bound, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, tuple[Any, ...]]:
        """As torch does it, with the mask kept."""
        x, draw = bound.inputs[0], bound.options
        assert x is not None
        if not _is_on(draw, x):
            return function(*args, **kwargs), ()
        mask, shift = self._mask(x.detach(), draw.p)
        y = x.mul_(mask) if draw.inplace else x * mask
        if shift is not None:
            y = y.add_(shift) if draw.inplace else y + shift
        return y, (mask,)

    def forward(self, options: Draw, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """With a mask of its own."""
        x = inputs[0]
        assert x is not None
        if not _is_on(options, x):
            return (x,), ()
        mask, shift = self._mask(x, options.p)
        return (x * mask if shift is None else x * mask + shift,), (mask,)

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Masked."""
        return [_masked(site, cotangents[0]) if wanted[0] else None]

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """Masked."""
        return (_masked(site, tangents[0]),)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """None: the mask is a constant."""
        return [None]

    def _mask(self, x: Tensor, p: float) -> tuple[Tensor, Tensor | None]:
        """Mask and shift, [rows, ...] as x or as broadcasts to it."""
        return self._draw(_ones(x, whole=self._whole), p, True), None


class AlphaDropout(Dropout):
    """Dropped elements get SELU's lowest value, and the result its old mean and variance."""

    _signature = staticmethod(_draws_alpha)

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """Not p = 1, which torch computes in another way."""
        bound = super().bind(function, args, kwargs)
        return None if bound is None or bound.options.p == 1 else bound

    def _mask(self, x: Tensor, p: float) -> tuple[Tensor, Tensor | None]:
        noise = torch.empty_like(_ones(x, whole=self._whole)).bernoulli_(1 - p)
        alpha = 1.7580993408473766
        a = 1 / math.sqrt((alpha * alpha * p + 1) * (1 - p))
        shift = (noise - 1).mul_(alpha * a).add_(alpha * a * p)
        return noise.mul_(a), shift


def _ones(x: Tensor, *, whole: bool) -> Tensor:
    """Of x's shape, or with one element a channel."""
    if whole:
        return x.new_ones(*x.shape[:2], *[1] * (x.dim() - 2))
    return torch.ones_like(x)


def _is_on(draw: Draw, x: Tensor) -> bool:
    return draw.training and draw.p > 0 and x.numel() > 0


def _masked(site: Site, d: Tensor | None) -> Tensor | None:
    return d if d is None or not site.saved else d * site.saved[0]


_dropout = Dropout("dropout")

RULES: dict[Any, Rule] = {
    F.dropout: _dropout,
    torch.dropout: _dropout,
    torch.dropout_: _dropout,
    F.dropout1d: Dropout("dropout1d", F.dropout1d, 3, whole=True),
    F.dropout2d: Dropout("dropout2d", F.dropout2d, 4, whole=True),
    F.dropout3d: Dropout("dropout3d", F.dropout3d, 5, whole=True),
    F.alpha_dropout: AlphaDropout("alpha_dropout"),
    F.feature_alpha_dropout: AlphaDropout("feature_alpha_dropout", whole=True),
}
