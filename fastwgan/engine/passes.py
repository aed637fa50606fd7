"""The three passes after the forward: transpose, tangent, and one ordinary backward."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fastwgan.engine.rules.base import Rule
from fastwgan.engine.rules.local import Local
from fastwgan.engine.tape import Block, Node, Tape

Adjoints = list[Tensor | None]
"""By slot: what flows back into it, None for nothing."""


class Gradients:
    """The gradients of a tape's outer tensors, summed as they come. Never workspace memory."""

    def __init__(self, tape: Tape) -> None:
        self._sums: list[Tensor | None] = [None] * len(tape.outers)

    def add(self, index: int, term: Tensor, rule: Rule) -> None:
        """Adds a term of a rule's, copied where others may hold the same memory."""
        before = self._sums[index]
        if before is None:
            self._sums[index] = term.clone() if rule.lends else term
        else:
            before.add_(term)

    def __getitem__(self, index: int) -> Tensor | None:
        return self._sums[index]


def transpose(block: Block, rows: slice | None, seed: Tensor) -> tuple[Tensor | None, Adjoints]:
    """The gradient of ⟨seed, scores⟩ at the input, and every cotangent on the way there.

    Args:
        block: Where.
        rows: Which of its rows; None for all.
        seed: As the scores of these rows.

    Returns:
        The gradient at the input, None when it does not depend on it; and by slot the cotangents
        of differentiable slots.
    """
    tape = block.tape
    cotangents: Adjoints = [None] * tape.slots
    cotangents[tape.score] = seed
    flows = tape.is_differentiable
    for index in reversed(range(len(tape.nodes))):
        node = tape.nodes[index]
        ds = tuple(cotangents[slot] for slot in node.outputs)
        if all(d is None for d in ds):
            continue
        wanted = [
            reference is not None and reference >= 0 and flows[reference]
            for reference in node.inputs
        ]
        adjoints = node.rule.adjoint(block.site(index, rows), ds, wanted)
        for reference, adjoint in zip(node.inputs, adjoints, strict=True):
            if adjoint is not None and reference is not None:
                _accumulate(cotangents, reference, adjoint)
    return cotangents[tape.arguments[0]], cotangents


def tangent(
    block: Block,
    rows: slice | None,
    start: Tensor,
    cotangents: Adjoints,
    gradients: Gradients,
    needed: Sequence[bool],
) -> Adjoints:
    """Moves the input by `start`; adds the second-order terms of outer tensors to `gradients`.

    Args:
        block: Where.
        rows: Which of its rows; None for all.
        start: As the input of these rows.
        cotangents: Of `transpose` at the same rows; freed slot by slot.
        gradients: What the terms of parameters are added to.
        needed: By slot, whether a gradient behind it is asked for.

    Returns:
        By slot, the second-order terms of activations.
    """
    tape = block.tape
    tangents: Adjoints = [None] * tape.slots
    tangents[tape.arguments[0]] = start
    terms: Adjoints = [None] * tape.slots
    last = _last_readers(tape)
    moving = tape.moving(needed)
    for index, node in enumerate(tape.nodes):
        ts = tuple(None if r is None or r < 0 else tangents[r] for r in node.inputs)
        if any(node.differentiable) and any(t is not None for t in ts):
            ds = tuple(cotangents[slot] for slot in node.outputs)
            on = any(moving[slot] for slot in node.outputs)
            moved = _tangent_at(block, index, rows, ds, ts, gradients, needed, terms, on)
            for slot, t, flows in zip(node.outputs, moved, node.differentiable, strict=True):
                tangents[slot] = t if flows else None
        for slot in node.outputs:
            cotangents[slot] = None
        for reference in node.inputs:
            if reference is not None and reference >= 0 and last[reference] == index:
                tangents[reference] = None
    return terms


def _tangent_at(
    block: Block,
    index: int,
    rows: slice | None,
    ds: tuple[Tensor | None, ...],
    ts: tuple[Tensor | None, ...],
    gradients: Gradients,
    needed: Sequence[bool],
    terms: Adjoints,
    on: bool,
) -> tuple[Tensor | None, ...]:
    tape = block.tape
    node = tape.nodes[index]
    site = block.site(index, rows)
    wanted = [tape.wants(reference, needed) for reference in node.inputs]
    if isinstance(node.rule, Local):
        moved, second = node.rule.tangent_and_second_order(site, ds, ts, wanted)
    else:
        moved = node.rule.tangent(site, ts) if on else (None,) * len(ds)
        second = (
            node.rule.second_order(site, ds, ts, wanted)
            if any(wanted) and any(d is not None for d in ds)
            else [None] * len(wanted)
        )
    for reference, term in zip(node.inputs, second, strict=True):
        if term is None or reference is None:
            continue
        if reference < 0:
            gradients.add(~reference, term, node.rule)
        else:
            _accumulate(terms, reference, term)
    return moved


def backward(
    block: Block,
    rows: slice | None,
    adjoints: Adjoints,
    gradients: Gradients,
    needed: Sequence[bool],
) -> Tensor | None:
    """One ordinary backward from the adjoints of any slots.

    Args:
        block: Where. Each value is freed once no earlier node reads it.
        rows: Which of its rows; None for all.
        adjoints: By slot, what flows into it from outside; taken over.
        gradients: What the parameters' are added to.
        needed: By slot, whether a gradient behind it is asked for.

    Returns:
        The input's gradient at these rows; None when not needed, or zero.
    """
    tape = block.tape
    for index in reversed(range(len(tape.nodes))):
        node = tape.nodes[index]
        ds = tuple(adjoints[slot] for slot in node.outputs)
        if any(d is not None for d in ds):
            _backward_at(block, index, node, rows, ds, adjoints, gradients, needed)
        for slot in node.outputs:
            adjoints[slot] = None
    return adjoints[tape.arguments[0]]


def _backward_at(
    block: Block,
    index: int,
    node: Node,
    rows: slice | None,
    ds: tuple[Tensor | None, ...],
    adjoints: Adjoints,
    gradients: Gradients,
    needed: Sequence[bool],
) -> None:
    wanted = [block.tape.wants(reference, needed) for reference in node.inputs]
    if not any(wanted):
        return
    found = node.rule.adjoint(block.site(index, rows), ds, wanted)
    for reference, adjoint in zip(node.inputs, found, strict=True):
        if adjoint is None or reference is None:
            continue
        if reference < 0:
            gradients.add(~reference, adjoint, node.rule)
        else:
            _accumulate(adjoints, reference, adjoint)


def _accumulate(adjoints: Adjoints, slot: int, term: Tensor) -> None:
    before = adjoints[slot]
    adjoints[slot] = term if before is None else before + term


def _last_readers(tape: Tape) -> list[int]:
    last = [-1] * tape.slots
    for index, node in enumerate(tape.nodes):
        for reference in node.inputs:
            if reference is not None and reference >= 0:
                last[reference] = index
    return last
