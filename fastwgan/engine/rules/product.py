"""Matrix products of activations and of weights: y = a b, over batches of matrices too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors
from fastwgan.engine.rules.forms import Shape, every_name, is_plain, open_shape, parse, sum_to


class Operands(NamedTuple):
    """The operands' shapes, and whether b is a vector."""

    a: Shape
    b: Shape
    by_vector: bool


class Matmul(Rule):
    """For the tangent: s b + a t. Second order: d tᵀ for a, sᵀ d for b.

    Args:
        weight: Only for calls whose operand 0 or 1 has no dimension of rows, by its rank.
    """

    kind = "matmul"
    reads_outputs = False

    def __init__(self, weight: int | None = None) -> None:
        self.weights = () if weight is None else (weight,)

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """A matrix, or several, times as much or a vector."""
        parsed = parse(_operands, args, kwargs)
        if parsed is None or not is_plain(*parsed):
            return None
        a, b = parsed
        if a.dim() < 2 or b.dim() < 1:
            return None
        by_vector = b.dim() == 1
        has_rows = [a.dim() >= b.dim(), b.dim() >= 3 and b.dim() >= a.dim()]
        if self.weights and has_rows[self.weights[0]]:
            return None
        row_wise = all(
            has or position in self.weights for position, has in enumerate(has_rows)
        ) and any(has_rows)
        opened = [
            has and row_wise and (z.shape[0] > 1 or a.dim() != b.dim() or a.shape[0] == b.shape[0])
            for has, z in zip(has_rows, (a, b), strict=True)
        ]
        of_a, of_b = (open_shape(z.shape, o) for z, o in zip((a, b), opened, strict=True))
        return Bound((a, b), Operands(of_a, of_b, by_vector), row_wise)

    def forward(self, options: Operands, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """One product."""
        return (torch.matmul(*inputs),), ()  # type: ignore[arg-type]

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """d bᵀ and aᵀ d."""
        return _crossed(site.options, cotangents[0], site.inputs, wanted)

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """One product a factor that moves."""
        s, t = tangents
        moved = None if s is None else s @ site.input(1)
        if t is None:
            return (moved,)
        return (site.input(0) @ t if moved is None else moved + site.input(0) @ t,)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """The adjoint's products, with tangents for the factors."""
        return _crossed(site.options, cotangents[0], tangents, wanted)


def _crossed(
    o: Operands, d: Tensor | None, factors: Tensors, wanted: Sequence[bool]
) -> list[Tensor | None]:
    """d twoᵀ, of the first factor's shape, and oneᵀ d, of the second's."""
    if d is None:
        return [None, None]
    one, two = factors
    d = d.unsqueeze(-1) if o.by_vector else d
    to_one = to_two = None
    if wanted[0] and two is not None:
        two = two.unsqueeze(-1) if o.by_vector else two
        to_one = sum_to(d @ two.mT, o.a)
    if wanted[1] and one is not None:
        if len(o.b) <= 2:  # summed over all matrices at once
            to_two = one.flatten(0, -2).t() @ d.flatten(0, -2)
            to_two = to_two.squeeze(-1) if o.by_vector else to_two
        else:
            to_two = sum_to(one.mT @ d, o.b)
    return [to_one, to_two]


def _operands(input: Any, other: Any = None, mat2: Any = None) -> Any:
    return input, mat2 if other is None else other


_rules = (Matmul(1), Matmul(0), Matmul())

RULES: dict[Any, tuple[Rule, ...]] = dict.fromkeys(
    every_name("matmul", "__matmul__", "mm", "bmm", in_place=False), _rules
)
