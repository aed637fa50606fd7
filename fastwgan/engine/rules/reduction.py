"""Sums, means and extremes over dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors
from fastwgan.engine.rules.forms import (
    Shape,
    are_counts,
    every_name,
    fit,
    is_plain,
    open_shape,
    parse,
)


class Over(NamedTuple):
    """What is reduced.

    Attributes:
        x: The input's shape.
        kept: The output's with all dimensions kept.
        y: The output's.
        dims: Those reduced.
        n: How many elements go into one.
        correction: What a variance's divisor has less than n.
    """

    x: Shape
    kept: Shape
    y: Shape
    dims: list[int]
    n: int
    correction: float


class Reduction(Rule):
    """What all reductions share: the call's form."""

    lends = True

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """Any dimensions, all too."""
        parsed = parse(self.signature, args, kwargs)
        if parsed is None or not is_plain(parsed[0]):
            return None
        x, dim, keepdim, correction = parsed
        dims = [dim] if type(dim) is int else list(range(x.dim())) if dim is None else list(dim)
        if not are_counts(dims) or type(keepdim) is not bool or x.numel() == 0:
            return None
        dims = sorted(d % max(x.dim(), 1) for d in dims) or list(range(x.dim()))
        kept = [1 if i in dims else size for i, size in enumerate(x.shape)]
        y = kept if keepdim else [size for i, size in enumerate(x.shape) if i not in dims]
        row_wise = x.dim() > 0 and 0 not in dims
        n = 1
        for d in dims:
            n *= x.shape[d]
        of_x, of_kept, of_y = (open_shape(shape, row_wise) for shape in (x.shape, kept, y))
        return Bound((x,), Over(of_x, of_kept, of_y, dims, n, correction), row_wise)

    @staticmethod
    def signature(input: Any, dim: Any = None, keepdim: Any = False) -> Any:
        """(x, dims, keepdim, correction), or None."""
        return input, dim, keepdim, 0.0

    def forward(self, options: Over, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """Reduced."""
        assert inputs[0] is not None
        y = self.reduce(inputs[0], options)
        return (y.reshape(fit(options.y, inputs[0])),), ()

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """By `pull`."""
        d = cotangents[0]
        if d is None or not wanted[0]:
            return [None]
        o = site.options
        return [self.pull(site, d.reshape(fit(o.kept, d))).expand(fit(o.x, d))]

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """By `push`."""
        t = tangents[0]
        if t is None:
            return (None,)
        return (self.push(site, t).reshape(fit(site.options.y, t)),)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """By `curve`."""
        d, t = cotangents[0], tangents[0]
        if d is None or t is None or not wanted[0] or self.piecewise_linear:
            return [None]
        return [self.curve(site, d.reshape(fit(site.options.kept, t)), t)]

    def reduce(self, x: Tensor, o: Over) -> Tensor:
        """y, dimensions kept."""
        raise NotImplementedError

    def pull(self, site: Site, d: Tensor) -> Tensor:
        """The adjoint, or what broadcasts to it; d has its dimensions kept."""
        raise NotImplementedError

    def push(self, site: Site, t: Tensor) -> Tensor:
        """The tangent."""
        raise NotImplementedError

    def curve(self, site: Site, d: Tensor, t: Tensor) -> Tensor:
        """The second-order term; d has its dimensions kept."""
        raise NotImplementedError


def kept_output(site: Site) -> Tensor:
    """y with its dimensions kept."""
    y = site.output
    return y.reshape(fit(site.options.kept, y))


class Total(Reduction):
    """sum and mean."""

    piecewise_linear = True
    reads_inputs = False
    reads_outputs = False

    def reduce(self, x: Tensor, o: Over) -> Tensor:
        """Σ x, over n for a mean."""
        return x.mean(o.dims, True) if self.kind == "mean" else x.sum(o.dims, True)

    def pull(self, site: Site, d: Tensor) -> Tensor:
        """d everywhere, over n for a mean."""
        return d / site.options.n if self.kind == "mean" else d

    def push(self, site: Site, t: Tensor) -> Tensor:
        """The same."""
        return self.reduce(t, site.options)


class Extreme(Reduction):
    """amax and amin: what several maxima share is divided evenly."""

    piecewise_linear = True

    @staticmethod
    def signature(input: Any, dim: Any = None, keepdim: Any = False) -> Any:
        """An empty tuple of dimensions is all."""
        return input, None if dim == () else dim, keepdim, 0.0

    def reduce(self, x: Tensor, o: Over) -> Tensor:
        """The extreme."""
        return x.amax(o.dims, True) if self.kind == "amax" else x.amin(o.dims, True)

    def pull(self, site: Site, d: Tensor) -> Tensor:
        """Shared out."""
        return d * self._shares(site)

    def push(self, site: Site, t: Tensor) -> Tensor:
        """The mean of those that share."""
        return (t * self._shares(site)).sum(site.options.dims, True)

    def _shares(self, site: Site) -> Tensor:
        same = (site.input() == kept_output(site)).to(site.output.dtype)
        return same / same.sum(site.options.dims, True)


class Choice(Rule):
    """max and min over one dimension, with the places: outputs are values and indices."""

    kind = "max over a dimension"
    piecewise_linear = True
    reads_inputs = False

    def __init__(self, choose: Any) -> None:
        self._choose = choose

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """With a dimension that is a number."""
        parsed = parse(lambda input, dim, keepdim=False: (input, dim, keepdim), args, kwargs)
        if parsed is None or not is_plain(parsed[0]) or type(parsed[1]) is not int:
            return None
        x, dim, keepdim = parsed
        dim %= max(x.dim(), 1)
        row_wise = x.dim() > 1 and dim > 0
        return Bound((x,), (dim, keepdim, open_shape(x.shape, row_wise)), row_wise)

    def forward(self, options: Any, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """Values and places."""
        return tuple(self._choose(inputs[0], options[0], options[1])), ()

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """To the places."""
        d, places, (dim, keepdim, shape) = cotangents[0], site.outputs[1], site.options
        if d is None or places is None or not wanted[0]:
            return [None]
        if not keepdim:
            d, places = d.unsqueeze(dim), places.unsqueeze(dim)
        return [d.new_zeros(fit(shape, d)).scatter_(dim, places, d)]

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """At the places."""
        t, places, (dim, keepdim, _) = tangents[0], site.outputs[1], site.options
        if t is None or places is None:
            return None, None
        if keepdim:
            return t.gather(dim, places), None
        return t.gather(dim, places.unsqueeze(dim)).squeeze(dim), None

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """None."""
        return [None]


class WholeExtreme(Extreme):
    """The extreme of all elements."""

    @staticmethod
    def signature(input: Any) -> Any:  # type: ignore[override]
        """Nothing else."""
        return input, None, False, 0.0


_FAMILIES: dict[str, tuple[Rule, ...]] = {
    "sum": (Total("sum"),),
    "mean": (Total("mean"),),
    "amax": (Extreme("amax"),),
    "amin": (Extreme("amin"),),
    "max": (Choice(torch.max), WholeExtreme("amax")),
    "min": (Choice(torch.min), WholeExtreme("amin")),
}

RULES: dict[Any, tuple[Rule, ...]] = {
    function: rules
    for name, rules in _FAMILIES.items()
    for function in every_name(name, in_place=False)
}
