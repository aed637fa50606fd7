"""cat and stack: several tensors side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors
from fastwgan.engine.rules.forms import every_name, fit, is_plain, open_shape, parse


class Join(Rule):
    """cat and stack. `options` is the dimension and the inputs' shapes."""

    piecewise_linear = True
    reads_inputs = False
    reads_outputs = False
    lends = True

    def __init__(self, kind: str, *, stacks: bool) -> None:
        self.kind, self._stacks = kind, stacks
        self._join = torch.stack if stacks else torch.cat

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """Tensors of one dtype and rank."""
        parsed = parse(lambda tensors, dim=0: (tensors, dim), args, kwargs)
        if parsed is None or type(parsed[1]) is not int or not isinstance(parsed[0], (list, tuple)):
            return None
        tensors, dim = tuple(parsed[0]), parsed[1]
        if not tensors or not is_plain(*tensors) or len({t.dim() for t in tensors}) != 1:
            return None
        rank = tensors[0].dim()
        dim %= rank + self._stacks or 1
        row_wise = rank > 0 and dim > 0 and len({t.shape[0] for t in tensors}) == 1
        shapes = tuple(open_shape(t.shape, row_wise) for t in tensors)
        return Bound(tensors, (dim, shapes), row_wise)

    def forward(self, options: Any, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """Joined."""
        return (self._join(inputs, options[0]),), ()  # type: ignore[arg-type]

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Each input's part."""
        d, (dim, shapes) = cotangents[0], site.options
        if d is None:
            return [None] * len(shapes)
        sizes = [1 if self._stacks else shape[dim] for shape in shapes]
        parts = d.unbind(dim) if self._stacks else d.split(sizes, dim)
        return [part if want else None for part, want in zip(parts, wanted, strict=True)]

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """Joined, zeros where there is none."""
        moving = next((t for t in tangents if t is not None), None)
        if moving is None:
            return (None,)
        dim, shapes = site.options
        full = [
            moving.new_zeros(fit(shape, moving)) if t is None else t
            for t, shape in zip(tangents, shapes, strict=True)
        ]
        return (self._join(full, dim),)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """None."""
        return [None] * len(wanted)


RULES: dict[Any, Rule] = {
    function: rule
    for rule, names in (
        (Join("cat", stacks=False), ("cat", "concat", "concatenate")),
        (Join("stack", stacks=True), ("stack",)),
    )
    for function in every_name(*names, in_place=False)
}
