"""Loss and penalty of a piecewise-linear critic in one sweep back and one forth.

Where second-order terms fall on weights alone, the loss's rows need nothing of the penalty: one
transpose pass takes the cotangents of both from their seeds. The tangent pass then meets every
layer with all that its weight's gradient needs: cotangents d of the loss's rows and δ of the
penalty's, inputs h of the former and tangents t of the latter. With t written over the inputs that
nobody reads any more, dᵀh + δᵀt is one product over all rows.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fastwgan.engine.generic import NO_GRADIENT
from fastwgan.engine.passes import (
    Adjoints,
    Gradients,
    Tensors,
    accumulate,
    add_terms,
    any_of,
    put_tangents,
)
from fastwgan.engine.penalty import Term
from fastwgan.engine.plan import Plan, Step
from fastwgan.engine.tape import Block
from fastwgan.ops.gradient_penalty.autograd import run_norm_penalty


class Joint(NamedTuple):
    """Rows of a block: first the loss's, then the penalty's."""

    block: Block
    plan: Plan
    loss_rows: slice
    penalty_rows: slice


class Swept(NamedTuple):
    """What one sweep finds besides the gradients of parameters."""

    penalty: Tensor  # []
    norms: Tensor  # [rows / groups]
    at_samples: Tensor | None  # gradient at the input of the loss's rows, where needed


def sweep(at: Joint, seeds: Tensor, term: Term, gradients: Gradients) -> Swept:
    """Passes 2 to 4.

    Args:
        at: Where; the plan is piecewise linear.
        seeds: As the block's scores: the loss's derivatives, and ones.
        term: The penalty.
        gradients: What the parameters' are added to.

    Raises:
        ValueError: the scores have no gradient at the points.
    """
    summed: set[int] = set()  # nodes whose bias has its gradient
    cotangents = _transpose(at, seeds, gradients, summed)
    found = cotangents[at.block.tape.arguments[0]]
    if found is None:
        raise ValueError(NO_GRADIENT)
    has_all = found.shape[0] == at.block.rows
    gradient = found[at.penalty_rows] if has_all else found
    rows = gradient.reshape(gradient.shape[0] // term.groups, -1)
    penalty, norms, start = run_norm_penalty(rows, term.kind, term.target, term.weight)
    _tangent(at, start.to(gradient.dtype).view(gradient.shape), cotangents, gradients, summed)
    return Swept(penalty, norms, found[at.loss_rows] if has_all else None)


def _transpose(at: Joint, seeds: Tensor, gradients: Gradients, summed: set[int]) -> Adjoints:
    """By slot, the cotangents of all rows; at the input of the penalty's alone, where that does.

    Biases before an activation get their gradients, and their nodes are noted in `summed`.
    """
    block, plan = at.block, at.plan
    points = block.tape.arguments[0]
    cotangents: Adjoints = [None] * block.tape.slots
    cotangents[block.tape.score] = seeds
    owned = [False] * block.tape.slots  # of memory that nobody else holds
    for index in range(len(plan.steps) - 1, -1, -1):
        step = plan.steps[index]
        ds = tuple([cotangents[slot] for slot in step.outputs])
        if not any_of(ds):
            continue
        if points in step.inputs and not plan.points_are_needed:
            site = block.site(index, at.penalty_rows)
            ds = tuple([None if d is None else d[at.penalty_rows] for d in ds])
        else:
            site = block.site(index)
        if step.rule.places and owned[step.outputs[0]] and ds[0] is not None and step.flows[0]:
            found, sums = step.rule.adjoint_and_sum(
                site, ds[0], ds[0], at.loss_rows.stop if step.sums_for is not None else None
            )
            adjoints: list[Tensor | None] = [found]
            cotangents[step.outputs[0]] = None
            if sums is not None and step.sums_for is not None:
                node, bias = step.sums_for
                gradients.add(bias, sums, step.rule)
                summed.add(node)
        else:
            adjoints = step.rule.adjoint(site, ds, step.flows)
        for reference, adjoint in zip(step.inputs, adjoints, strict=True):
            if adjoint is not None and reference is not None:
                owned[reference] = cotangents[reference] is not None or (
                    step.rule.merges or step.rule.places
                )
                accumulate(cotangents, reference, adjoint)
    return cotangents


def _tangent(
    at: Joint, start: Tensor, cotangents: Adjoints, gradients: Gradients, summed: set[int]
) -> None:
    """Moves the points by `start`, and takes each layer's gradients on the way."""
    block, plan = at.block, at.plan
    tangents: Adjoints = [None] * block.tape.slots
    points = block.tape.arguments[0]
    if plan.moves_input:
        values = block.values[points]
        assert values is not None
        start = values[at.penalty_rows].copy_(start)
    tangents[points] = start
    for index, step in enumerate(plan.steps):
        ts = tuple([None if r is None or r < 0 else tangents[r] for r in step.inputs])
        ds = tuple([cotangents[slot] for slot in step.outputs])
        if step.differentiable:
            if any_of(ts) and step.moves:
                put_tangents(block.tape, step, _moved(at, index, step, ts), tangents)
            if step.has_weights and any_of(ds):
                _weights(at, index, step, ds, ts, gradients, has_bias=index in summed)
        for slot in step.outputs:
            cotangents[slot] = None
        for slot in step.frees:
            tangents[slot] = None
            block.values[slot] = None


def _moved(at: Joint, index: int, step: Step, ts: Tensors) -> Tensors:
    # The tangent of a product reads the weight alone: no rows need be cut out.
    site = at.block.site(index, None if step.rule.merges else at.penalty_rows)
    if step.places_tangent and ts[0] is not None:
        return (step.rule.tangent_at(site, ts[0], site.outputs[0]),)
    return step.rule.tangent(site, ts)


def _weights(
    at: Joint,
    index: int,
    step: Step,
    ds: Tensors,
    ts: Tensors,
    gradients: Gradients,
    *,
    has_bias: bool,
) -> None:
    """The gradients of a layer's outer tensors: of the loss's rows, and second-order."""
    only = (*step.wants_outer[:2], False) if has_bias else step.wants_outer
    if step.merges:
        site = at.block.site(index)
        x = site.inputs[0]
        if x is not None and ts[0] is not None and is_same(x[at.penalty_rows], ts[0]):
            weight = (False, True, *[False] * (len(only) - 2))
            add_terms(step, step.rule.adjoint(site, ds, weight), gradients, [])
            only = (only[0], False, *only[2:])
    if any(only):
        d_loss = tuple([None if d is None else d[at.loss_rows] for d in ds])
        site = at.block.site(index, at.loss_rows)
        add_terms(step, step.rule.adjoint(site, d_loss, only), gradients, [])
    if any(only) and any_of(ts):
        d_points = tuple([None if d is None else d[at.penalty_rows] for d in ds])
        site = at.block.site(index, at.penalty_rows)
        add_terms(step, step.rule.second_order(site, d_points, ts, only), gradients, [])


def is_same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same elements of the same memory."""
    return (
        one.data_ptr() == other.data_ptr()
        and one.shape == other.shape
        and one.stride() == other.stride()
    )


def seeds_of(scores: Tensor, values: list[tuple[slice, Tensor | float | None]]) -> Tensor:
    """Seeds as the scores, from those of some rows; constants are remembered."""
    if not any(isinstance(value, Tensor) for _, value in values):
        key = (
            scores.shape,
            scores.stride(),
            scores.dtype,
            scores.device,
            tuple((rows.start, rows.stop, value) for rows, value in values),
        )
        seeds = _CONSTANT_SEEDS.get(key)
        if seeds is None:
            if len(_CONSTANT_SEEDS) >= _MOST_SEEDS:
                _CONSTANT_SEEDS.clear()
            seeds = _CONSTANT_SEEDS[key] = _filled(scores, values)
        return seeds
    return _filled(scores, values)


def _filled(scores: Tensor, values: list[tuple[slice, Tensor | float | None]]) -> Tensor:
    seeds = torch.zeros_like(scores)
    for rows, value in values:
        place = seeds if rows == slice(None) else seeds[rows]  # the scores can have no rows
        if isinstance(value, Tensor):
            place.copy_(value)
        elif value is not None:
            place.fill_(value)
    return seeds


_CONSTANT_SEEDS: dict[object, Tensor] = {}
_MOST_SEEDS = 64
