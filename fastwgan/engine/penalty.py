"""A penalty's value and gradients, by the passes, at rows of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fastwgan.engine.generic import NO_GRADIENT
from fastwgan.engine.passes import Adjoints, Gradients, tangent, transpose
from fastwgan.engine.tape import Block
from fastwgan.ops.gradient_penalty.autograd import run_norm_penalty


class Term(NamedTuple):
    """One penalty at some rows of a block; None is all of them."""

    rows: slice | None
    kind: str
    weight: float
    target: float
    groups: int


class Penalised(NamedTuple):
    """A penalty, and what its backward starts from."""

    value: Tensor  # []
    norms: Tensor  # [rows / groups]
    second_order: Adjoints  # by slot


def value_at(block: Block, term: Term) -> tuple[Tensor, Tensor, Tensor, Adjoints]:
    """Penalty [], norms [rows / groups], d penalty / d gradient as the points; and cotangents.

    Raises:
        ValueError: the scores have no gradient at the points.
    """
    scores = block.scores if term.rows is None else block.scores[term.rows]
    gradient, cotangents = transpose(block, term.rows, torch.ones_like(scores))
    if gradient is None:
        raise ValueError(NO_GRADIENT)
    rows = gradient.reshape(gradient.shape[0] // term.groups, -1)
    value, norms, start = run_norm_penalty(rows, term.kind, term.target, term.weight)
    return value, norms, start.to(gradient.dtype).view(gradient.shape), cotangents


def penalise(block: Block, term: Term, gradients: Gradients, needed: Sequence[bool]) -> Penalised:
    """Passes 2 and 3; the terms of parameters are added to `gradients`."""
    value, norms, start, cotangents = value_at(block, term)
    second_order = tangent(block, term.rows, start, cotangents, gradients, needed)
    return Penalised(value, norms, second_order)
