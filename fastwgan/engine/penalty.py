"""A penalty's value and gradients, by the passes, at rows of blocks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fastwgan.engine.casting import no_casting
from fastwgan.engine.generic import NO_GRADIENT
from fastwgan.engine.passes import Adjoints, Gradients, backward, tangent, transpose
from fastwgan.engine.plan import Plan, plan_of
from fastwgan.engine.ready import ready
from fastwgan.engine.scaling import Scale, first_scale, is_scaled, within_range
from fastwgan.engine.tape import Block
from fastwgan.ops.gradient_penalty.autograd import run_norm_penalty


class Term(NamedTuple):
    """One penalty at some rows of a block; None is all of them."""

    rows: slice | None
    kind: str
    weight: float
    target: float
    groups: int


class Value(NamedTuple):
    """A penalty, and what its derivatives start from."""

    penalty: Tensor  # []
    norms: Tensor  # [rows / groups]
    gradient: Tensor  # as the points
    start: Tensor  # d penalty / d gradient [rows / groups, elements], at least float32
    cotangents: Adjoints  # by slot

    @property
    def slope(self) -> Tensor:
        """The largest |d value / d log norm| [] of a single norm's value: ⟨d value / d g, g⟩."""
        along = (self.start * self.gradient.reshape(self.start.shape)).sum(1)
        return along.abs().amax() * len(along)


def value_at(block: Block, plan: Plan, term: Term) -> Value:
    """The penalty of the critic's gradient at the points.

    Raises:
        ValueError: the scores have no gradient at the points.
    """
    scores = block.scores if term.rows is None else block.scores[term.rows]
    gradient, cotangents = transpose(block, plan, term.rows, torch.ones_like(scores))
    if gradient is None:
        raise ValueError(NO_GRADIENT)
    rows = gradient.reshape(gradient.shape[0] // term.groups, -1)
    penalty, norms, start = run_norm_penalty(rows, term.kind, term.target, term.weight)
    return Value(penalty, norms, gradient, start, cotangents)


def penalise(
    block: Block, plan: Plan, rows: slice | None, value: Value, scale: Scale, gradients: Gradients
) -> Adjoints:
    """Pass 3, times `scale`; the terms of parameters are added to `gradients`.

    Returns:
        By slot, the second-order terms of activations, which a backward starts from.
    """
    wide = value.start * scale if is_scaled(scale) else value.start
    start = wide.to(value.gradient.dtype).view(value.gradient.shape)
    return tangent(block, plan, rows, start, value.cotangents, gradients)


def by_itself(block: Block, term: Term, points: Tensor | None) -> Tensor:
    """The penalty [], with all its gradients, of a block that has no loss.

    Args:
        block: The critic at the points.
        term: The penalty.
        points: What was given to the critic, where its gradient is asked for.
    """
    tape = block.tape
    plan = plan_of(tape, points_need_gradient=points is not None)
    with torch.no_grad(), no_casting(block.scores.device.type):
        gradients = Gradients(tape)
        value = value_at(block, plan, term)
        scale = within_range(first_scale([block], block.rows), [value])
        second_order = penalise(block, plan, None, value, scale, gradients)
        at_points = None
        if any(adjoint is not None for adjoint in second_order):
            at_points = backward(block, plan, None, second_order, gradients)
    tensors = [tape.outers[index] for index in plan.reached]
    found = [gradients[index] for index in plan.reached]
    if points is not None:
        tensors.append(points)
        found.append(at_points)
    return ready(value.penalty, tensors, found, scale)
