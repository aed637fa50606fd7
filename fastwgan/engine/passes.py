"""The three passes after the forward: transpose, tangent, and one ordinary backward."""

from __future__ import annotations

from torch import Tensor

from fastwgan.engine.plan import Plan, Step
from fastwgan.engine.rules.base import Rule
from fastwgan.engine.rules.local import Local
from fastwgan.engine.tape import Block, Tape

Adjoints = list[Tensor | None]
"""By slot: what flows back into it, None for nothing."""
Tensors = tuple[Tensor | None, ...]


class Gradients:
    """The gradients of a tape's outer tensors, summed as they come. Never workspace memory."""

    def __init__(self, tape: Tape) -> None:
        self._sums: list[Tensor | None] = [None] * len(tape.outers)

    def add(self, index: int, term: Tensor, rule: Rule) -> None:
        """Adds a term of a rule's, which may be memory that others hold where the rule says so."""
        before = self._sums[index]
        if before is None:
            self._sums[index] = term.clone() if rule.lends else term
        else:
            before.add_(term)

    def __getitem__(self, index: int) -> Tensor | None:
        return self._sums[index]


def transpose(
    block: Block, plan: Plan, rows: slice | None, seed: Tensor
) -> tuple[Tensor | None, Adjoints]:
    """The gradient of ⟨seed, scores⟩ at the input, and every cotangent on the way there.

    Args:
        block: Where.
        plan: The tape's.
        rows: Which of its rows; None for all.
        seed: As the scores of these rows.

    Returns:
        The gradient at the input, None when it does not depend on it; and by slot the cotangents
        of differentiable slots.
    """
    tape = block.tape
    cotangents: Adjoints = [None] * tape.slots
    cotangents[tape.score] = seed
    for index in range(len(plan.steps) - 1, -1, -1):
        step = plan.steps[index]
        ds = tuple([cotangents[slot] for slot in step.outputs])
        if any_of(ds):
            adjoints = step.rule.adjoint(block.site(index, rows), ds, step.flows)
            for reference, adjoint in zip(step.inputs, adjoints, strict=True):
                if adjoint is not None and reference is not None:
                    accumulate(cotangents, reference, adjoint)
    return cotangents[tape.arguments[0]], cotangents


def tangent(
    block: Block,
    plan: Plan,
    rows: slice | None,
    start: Tensor,
    cotangents: Adjoints,
    gradients: Gradients,
) -> Adjoints:
    """Moves the input by `start`; adds the second-order terms of outer tensors to `gradients`.

    Args:
        block: Where.
        plan: The tape's.
        rows: Which of its rows; None for all.
        start: As the input of these rows.
        cotangents: Of `transpose` at the same rows; freed slot by slot.
        gradients: What the terms of parameters are added to.

    Returns:
        By slot, the second-order terms of activations.
    """
    tape = block.tape
    tangents: Adjoints = [None] * tape.slots
    tangents[tape.arguments[0]] = start
    terms: Adjoints = [None] * tape.slots
    for index, step in enumerate(plan.steps):
        ts = tuple([None if r is None or r < 0 else tangents[r] for r in step.inputs])
        if step.differentiable and any_of(ts):
            ds = tuple([cotangents[slot] for slot in step.outputs])
            moved, second = _tangent_at(block, index, step, rows, ds, ts)
            put_tangents(tape, step, moved, tangents)
            add_terms(step, second, gradients, terms)
        for slot in step.outputs:
            cotangents[slot] = None
        for slot in step.frees:
            tangents[slot] = None
    return terms


def _tangent_at(
    block: Block, index: int, step: Step, rows: slice | None, ds: Tensors, ts: Tensors
) -> tuple[Tensors, list[Tensor | None]]:
    site = block.site(index, rows)
    if isinstance(step.rule, Local):
        return step.rule.tangent_and_second_order(site, ds, ts, step.wanted)
    moved = step.rule.tangent(site, ts) if step.moves else ()
    if step.is_wanted and any_of(ds):
        return moved, step.rule.second_order(site, ds, ts, step.wanted)
    return moved, []


def put_tangents(tape: Tape, step: Step, moved: Tensors, tangents: Adjoints) -> None:
    """Notes the tangents of a step's outputs, where they are differentiable."""
    for slot, t in zip(step.outputs, moved, strict=False):  # none where nothing reads them
        tangents[slot] = t if tape.is_differentiable[slot] else None


def add_terms(
    step: Step, terms: list[Tensor | None], gradients: Gradients, adjoints: Adjoints
) -> None:
    """Adds a step's terms to the sums of parameters and to the adjoints of activations."""
    for reference, term in zip(step.inputs, terms, strict=False):
        if term is None or reference is None:
            continue
        if reference < 0:
            gradients.add(~reference, term, step.rule)
        else:
            accumulate(adjoints, reference, term)


def backward(
    block: Block, plan: Plan, rows: slice | None, adjoints: Adjoints, gradients: Gradients
) -> Tensor | None:
    """One ordinary backward from the adjoints of any slots.

    Args:
        block: Where.
        plan: The tape's.
        rows: Which of its rows; None for all.
        adjoints: By slot, what flows into it from outside; taken over.
        gradients: What the parameters' are added to.

    Returns:
        The input's gradient at these rows; None when not needed, or zero.
    """
    tape = block.tape
    for index in range(len(plan.steps) - 1, -1, -1):
        step = plan.steps[index]
        ds = tuple([adjoints[slot] for slot in step.outputs])
        if step.is_wanted and any_of(ds):
            terms = step.rule.adjoint(block.site(index, rows), ds, step.wanted)
            add_terms(step, terms, gradients, adjoints)
        for slot in step.outputs:
            adjoints[slot] = None
    return adjoints[tape.arguments[0]]


def accumulate(adjoints: Adjoints, slot: int, term: Tensor) -> None:
    """Adds a term to a slot's adjoint, out of place: others may hold either."""
    before = adjoints[slot]
    adjoints[slot] = term if before is None else before + term


def any_of(tensors: Tensors) -> bool:
    """Whether any is there."""
    return any(tensor is not None for tensor in tensors)
