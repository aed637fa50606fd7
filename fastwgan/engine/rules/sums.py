"""Sums of two operands, and a tensor plus or times a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastwgan.engine.rules.base import Bound, Site, Tensors
from fastwgan.engine.rules.forms import Shape, fit, is_number, is_plain, sum_to
from fastwgan.engine.rules.operands import Arithmetic, Pair, open_tensor


class Sum(Arithmetic):
    """y = p a + q b + c, where b can be absent: add, sub, and mul and div by a number."""

    piecewise_linear = True
    reads_inputs = False
    fresh = False

    def _of_two(self, a: Tensor, b: Tensor, alpha: float) -> Bound | None:
        return super()._of_two(a, b, alpha) if self.kind in ("add", "sub") else None

    def _with_number(self, first: Any, second: Any, alpha: float) -> Bound | None:
        x, number = (second, first) if is_number(first) else (first, second)
        if not is_plain(x):
            return None
        shape, row_wise = open_tensor(x)
        options = Pair(shape, shape, shape)
        if self.kind == "mul":
            options = options._replace(p=number)
        elif self.kind == "div":
            if number == 0 or is_number(first):
                return None
            options = options._replace(p=1 / number)
        elif is_number(first):  # number ± alpha x
            options = options._replace(p=-alpha if self.kind == "sub" else alpha, c=number)
        else:
            options = options._replace(c=alpha * number * (-1 if self.kind == "sub" else 1))
        return Bound((x, None), options, row_wise)

    def forward(self, options: Pair, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """The same sum."""
        a, b = inputs
        assert a is not None
        y = _times(a, options.p)
        if b is not None:
            y = torch.add(y, b, alpha=options.q)
        return (y if options.c == 0 else y + options.c,), ()

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """p d and q d."""
        d, o = cotangents[0], site.options
        if d is None:
            return [None, None]
        return [
            sum_to(_times(d, o.p), o.a) if wanted[0] else None,
            sum_to(_times(d, o.q), o.b) if wanted[1] else None,
        ]

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """The same sum of tangents."""
        (s, t), o = tangents, site.options
        if s is not None and t is not None:
            return (torch.add(_times(s, o.p), t, alpha=o.q),)
        if s is not None:
            return (_widened(_times(s, o.p), o.a, o),)
        return (None if t is None else _widened(_times(t, o.q), o.b, o),)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """None."""
        return [None, None]


class Negative(Sum):
    """y = -x."""

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """Any."""
        return super().bind(torch.mul, (*args, -1), kwargs)


def _widened(t: Tensor, shape: Shape, o: Pair) -> Tensor:
    """A tangent as large as the sum; an activation of one row has met the recorded ones alone."""
    return t.expand(fit(o.y, t) if shape[:1] == o.y[:1] else o.recorded)


def _times(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1 else x * factor
