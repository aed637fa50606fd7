"""What the passes need to know of a tape, worked out once for all tapes of its form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastwgan.engine.rules.base import Rule
from fastwgan.engine.rules.local import Local
from fastwgan.engine.tape import Node, Reference, Tape


@dataclass(slots=True, frozen=True)
class Step:
    """One node on the way through the passes.

    Attributes:
        flows: By input, whether it is an activation that an adjoint can reach the points through.
        wanted: By input, whether a gradient is asked for behind it.
        is_wanted: Whether any is.
        moves: Whether the tangent of an output is read.
        is_local: Whether the rule is one of autograd's.
        merges: The weight's terms of loss and penalty may be one product.
        wants_outer: By input, whether it is an outer tensor whose gradient is asked for.
        has_weights: Whether any is.
        sums_for: A node and its bias among the outer tensors, whose gradient is the sum of this
            activation's adjoint over rows.
        places_tangent: The tangent's place is the penalty rows of the output, for `merges`.
        differentiable: Whether any output is.
        frees: Slots that no later node reads.
    """

    rule: Rule
    inputs: tuple[Reference, ...]
    outputs: tuple[int, ...]
    flows: tuple[bool, ...]
    wanted: tuple[bool, ...]
    is_wanted: bool
    moves: bool
    is_local: bool
    merges: bool
    wants_outer: tuple[bool, ...]
    has_weights: bool
    sums_for: tuple[int, int] | None
    places_tangent: bool
    differentiable: bool
    frees: tuple[int, ...]


@dataclass(slots=True, frozen=True)
class Plan:
    """Every node's step.

    Attributes:
        moves_input: The input's own rows may be overwritten by its tangent.
        is_piecewise_linear: No activation has second-order terms.
        points_are_needed: Whether the input's own gradient is asked for.
        reached: The outer tensors that require grad and that the scores depend on.
    """

    steps: tuple[Step, ...]
    moves_input: bool
    points_are_needed: bool
    is_piecewise_linear: bool
    reached: tuple[int, ...]


_PLANS: dict[Any, Plan] = {}
_MOST_PLANS = 256


def plan_of(tape: Tape, *, points_need_gradient: bool) -> Plan:
    """The plan of a tape, remembered by the tape's form."""
    key = (_form(tape), points_need_gradient)
    plan = _PLANS.get(key)
    if plan is None:
        if len(_PLANS) >= _MOST_PLANS:
            _PLANS.clear()
        plan = _PLANS[key] = _plan(tape, points_need_gradient)
    return plan


def _form(tape: Tape) -> Any:
    """All that a plan depends on."""
    nodes = tuple((n.rule, n.inputs, n.outputs, n.differentiable) for n in tape.nodes)
    return nodes, tuple(t.requires_grad for t in tape.outers), tape.score, tape.arguments[0]


def _plan(tape: Tape, points_need_gradient: bool) -> Plan:
    needed = tape.trainable(points_need_gradient)
    moving = tape.moving(needed)
    readers = _readers(tape)
    linear = all(node.rule.piecewise_linear for node in tape.nodes)
    placeable = [linear and _may_be_overwritten(tape, readers, slot) for slot in range(tape.slots)]
    last = {slot: nodes[-1] for slot, nodes in readers.items()}
    steps = []
    for index, node in enumerate(tape.nodes):
        wanted = tuple(tape.wants(reference, needed) for reference in node.inputs)
        outer = tuple(
            w and r is not None and r < 0 for w, r in zip(wanted, node.inputs, strict=True)
        )
        steps.append(
            Step(
                rule=node.rule,
                inputs=node.inputs,
                outputs=node.outputs,
                flows=tuple(
                    r is not None and r >= 0 and tape.is_differentiable[r] for r in node.inputs
                ),
                wanted=wanted,
                is_wanted=any(wanted),
                moves=any(moving[slot] for slot in node.outputs),
                is_local=isinstance(node.rule, Local),
                merges=linear and _merges(node, wanted),
                wants_outer=outer,
                has_weights=any(outer),
                sums_for=_sums_for(tape, readers, node, index, needed),
                places_tangent=node.rule.places and placeable[node.outputs[0]],
                differentiable=any(node.differentiable),
                frees=tuple(r for r in node.inputs if r is not None and last.get(r) == index),
            )
        )
    reached = tuple(tape.reached())
    return Plan(tuple(steps), placeable[tape.arguments[0]], points_need_gradient, linear, reached)


def _sums_for(
    tape: Tape, readers: dict[int, list[int]], node: Node, index: int, needed: Sequence[bool]
) -> tuple[int, int] | None:
    """The layer with a bias that this activation follows, if it alone does."""
    source = node.inputs[0]
    before = tape.nodes[index - 1] if index else None
    if not node.rule.places or source is None or before is None:
        return None
    if before.outputs != (source,) or readers[source] != [index] or not before.rule.merges:
        return None
    bias = before.inputs[2]
    if bias is None or bias >= 0 or not tape.wants(bias, needed):
        return None
    return index - 1, ~bias


def _merges(node: Node, wanted: Sequence[bool]) -> bool:
    source = node.inputs[0] if node.inputs else None
    return node.rule.merges and wanted[1] and source is not None and source >= 0


def _readers(tape: Tape) -> dict[int, list[int]]:
    """By slot, the indices of the nodes that read it."""
    readers: dict[int, list[int]] = {}
    for index, node in enumerate(tape.nodes):
        for reference in node.inputs:
            if reference is not None and reference >= 0:
                readers.setdefault(reference, []).append(index)
    return readers


def _may_be_overwritten(tape: Tape, readers: dict[int, list[int]], slot: int) -> bool:
    """Whether nobody reads a slot's penalty rows but for products that merge.

    A reader whose output can share the slot's memory is looked through.
    """
    for index in readers.get(slot, []):
        node = tape.nodes[index]
        if node.rule.merges:
            if node.inputs.index(slot) != 0 or slot in node.inputs[1:]:
                return False
            continue
        if node.rule.reads_inputs:
            return False
        if not node.rule.fresh and (
            node.rule.reads_outputs
            or not all(_may_be_overwritten(tape, readers, out) for out in node.outputs)
        ):
            return False
    return slot != tape.score
