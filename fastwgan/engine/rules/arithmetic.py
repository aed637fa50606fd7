"""Sums, products and quotients of two tensors that broadcast, or of a tensor and a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors
from fastwgan.engine.rules.forms import every_name, is_number, is_plain, sum_to
from fastwgan.engine.rules.operands import Arithmetic, Pair, open_tensor
from fastwgan.engine.rules.sums import Negative, Sum


class Product(Arithmetic):
    """y = a b."""

    def _with_number(self, first: Any, second: Any, alpha: float) -> Bound | None:
        return None

    def forward(self, options: Pair, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """One product."""
        return (torch.mul(*inputs),), ()  # type: ignore[arg-type]

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Times the other."""
        return _crossed(site, cotangents[0], site.inputs, wanted)

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """s b + a t."""
        s, t = tangents
        a, b = site.input(0), site.input(1)
        if s is not None and t is not None:
            return (torch.addcmul(s * b, a, t),)
        if s is not None:
            return (s * b,)
        return (None if t is None else a * t,)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """d t for one, d s for the other."""
        return _crossed(site, cotangents[0], tangents, wanted)


def _crossed(
    site: Site, d: Tensor | None, factors: Tensors, wanted: Sequence[bool]
) -> list[Tensor | None]:
    """d times the second factor, as the first operand; and the other way round."""
    if d is None:
        return [None, None]
    one, two = factors
    return [
        sum_to(d * two, site.options.a) if wanted[0] and two is not None else None,
        sum_to(d * one, site.options.b) if wanted[1] and one is not None else None,
    ]


class Quotient(Arithmetic):
    """y = a / b; or c / b for a number c."""

    reads_outputs = True

    def _with_number(self, first: Any, second: Any, alpha: float) -> Bound | None:
        if not is_number(first) or not is_plain(second):
            return None
        shape, row_wise = open_tensor(second)
        return Bound((None, second), Pair(shape, shape, shape, c=first), row_wise)

    def forward(self, options: Pair, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """One quotient."""
        a, b = inputs
        assert b is not None
        return (options.c / b if a is None else a / b,), ()

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """d / b and -d y / b."""
        d, o = cotangents[0], site.options
        if d is None:
            return [None, None]
        to_a = d / site.input(1)
        return [
            sum_to(to_a, o.a) if wanted[0] else None,
            sum_to(-to_a * site.output, o.b) if wanted[1] else None,
        ]

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """(s - y t) / b."""
        s, t = tangents
        b = site.input(1)
        if t is None:
            return (None if s is None else s / b,)
        y_t = site.output * t
        return ((-y_t if s is None else s - y_t) / b,)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """-d t / b² and d (2 y t - s) / b²."""
        d, (s, t), o = cotangents[0], tangents, site.options
        if d is None or (s is None and t is None):
            return [None, None]
        scaled = d / site.input(1).square()
        to_a = sum_to(-scaled * t, o.a) if wanted[0] and t is not None else None
        if not wanted[1]:
            return [to_a, None]
        if t is None:
            assert s is not None
            return [to_a, sum_to(-scaled * s, o.b)]
        twice = 2 * site.output * t
        return [to_a, sum_to(scaled * (twice if s is None else twice - s), o.b)]


def _each(kind: type[Arithmetic], name: str) -> tuple[Rule, ...]:
    return kind(name, 1), kind(name, 0), kind(name)


_FAMILIES: dict[tuple[str, ...], tuple[Rule, ...]] = {
    ("add", "__add__", "__radd__", "__iadd__"): _each(Sum, "add"),
    ("sub", "subtract", "__sub__", "__isub__"): _each(Sum, "sub"),
    ("rsub", "__rsub__"): (Sum("sub", swapped=True),),
    ("neg", "negative", "__neg__"): (Negative("mul"),),
    ("mul", "multiply", "__mul__", "__rmul__", "__imul__"): (
        Sum("mul"),
        *_each(Product, "mul"),
    ),
    ("div", "divide", "true_divide", "__truediv__", "__itruediv__"): (
        Sum("div"),
        *_each(Quotient, "div"),
    ),
    ("__rdiv__", "__rtruediv__"): (Quotient("div", swapped=True),),
}

RULES: dict[Any, tuple[Rule, ...]] = {
    function: rules for names, rules in _FAMILIES.items() for function in every_name(*names)
}
