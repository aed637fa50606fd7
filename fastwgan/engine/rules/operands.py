"""Two operands that broadcast, or a tensor and a number: the forms of such calls."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastwgan.engine.rules.base import Bound, Rule
from fastwgan.engine.rules.forms import (
    Shape,
    is_number,
    is_plain,
    open_shape,
    parse,
)


class Pair(NamedTuple):
    """Two operands' shapes and their result's, as recorded too, for y = p a + q b + c."""

    a: Shape
    b: Shape
    y: Shape
    recorded: tuple[int, ...] = ()
    p: float = 1.0
    q: float = 0.0
    c: float = 0.0


class Arithmetic(Rule):
    """An operation on two operands.

    Args:
        kind: Its name.
        weight: Only for calls whose operand 0 or 1, as given here, has fewer dimensions than the
            other, and so none of rows.
        swapped: The call names the second operand first.
    """

    lends = True
    reads_outputs = False

    def __init__(self, kind: str, weight: int | None = None, *, swapped: bool = False) -> None:
        self.kind = kind
        self.weights = () if weight is None else (weight,)
        self._swapped = swapped

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """Two tensors of one dtype, or a tensor and a number."""
        parsed = parse(_operands, args, kwargs)
        if parsed is None:
            return None
        first, second, alpha = parsed
        if alpha != 1 and (not is_number(alpha) or self.kind not in ("add", "sub")):
            return None
        if self._swapped:
            first, second = second, first
        if is_number(first) or is_number(second):
            return None if self.weights else self._with_number(first, second, alpha)
        return self._of_two(first, second, alpha) if is_plain(first, second) else None

    def _of_two(self, a: Tensor, b: Tensor, alpha: float) -> Bound | None:
        ranks = a.dim(), b.dim()
        if self.weights and ranks[self.weights[0]] >= ranks[1 - self.weights[0]]:
            return None
        try:
            shape = torch.broadcast_shapes(a.shape, b.shape)
        except RuntimeError:
            return None
        row_wise = len(shape) > 0 and (bool(self.weights) or ranks[0] == ranks[1])
        has_rows = [z.dim() == len(shape) and z.shape[:1] == shape[:1] for z in (a, b)]
        sign = -alpha if self.kind == "sub" else alpha
        of_a, of_b = (
            open_shape(z.shape, row_wise and has) for z, has in zip((a, b), has_rows, strict=True)
        )
        options = Pair(of_a, of_b, open_shape(shape, row_wise), tuple(shape), q=sign)
        return Bound((a, b), options, row_wise)

    def _with_number(self, first: Any, second: Any, alpha: float) -> Bound | None:
        raise NotImplementedError


def _operands(input: Any, other: Any, alpha: Any = 1) -> Any:
    return input, other, alpha


def open_tensor(x: Tensor) -> tuple[Shape, bool]:
    """The shape with its rows left open, and whether it has any."""
    return open_shape(x.shape, x.dim() > 0), x.dim() > 0
