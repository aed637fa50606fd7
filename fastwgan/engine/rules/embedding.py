"""Rows of a table by their numbers: the table is all that the output is differentiable in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors
from fastwgan.engine.rules.forms import is_plain, parse

_aten = torch.ops.aten


class Embedding(Rule):
    """`options` is the padding's index, -1 for none, and whether gradients are scaled by counts."""

    kind = "embedding"
    piecewise_linear = True
    reads_outputs = False
    weights = (1,)

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """Dense gradients, and no renormalised table."""
        bound: Bound | None = parse(_bind_embedding, args, kwargs)
        return bound

    def forward(self, options: Any, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """The rows picked."""
        labels, table = inputs
        assert labels is not None
        assert table is not None
        return (F.embedding(labels, table),), ()

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Each row's sum, the padding's left out."""
        d = cotangents[0]
        if d is None or not wanted[1]:
            return [None, None]
        padding, by_counts = site.options
        size = site.input(1).shape[0]
        return [
            None,
            _aten.embedding_dense_backward(d, site.input(), size, padding, by_counts),
        ]

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """None: labels do not move."""
        return (None,)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """None."""
        return [None, None]


def _bind_embedding(
    input: Any,
    weight: Any,
    padding_idx: Any = None,
    max_norm: Any = None,
    norm_type: Any = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Bound | None:
    if max_norm is not None or sparse or not is_plain(weight) or input.dim() < 1:
        return None
    padding = -1 if padding_idx is None else padding_idx % weight.shape[0]
    return Bound((input, weight), (padding, scale_grad_by_freq))


RULES: dict[Any, Rule] = {F.embedding: Embedding()}
