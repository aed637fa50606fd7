"""What a critic did with its input: the operations in order, and the tensors between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from fastwgan.engine.rules.base import Rule, Site

Reference = int | None
"""Where an operation's input comes from: slot s as s, outer tensor i as ~i, absent as None."""


@dataclass(slots=True)
class Node:
    """One operation. Slots hold tensors that depend on the critic's input."""

    rule: Rule
    options: Any
    inputs: tuple[Reference, ...]
    outputs: tuple[int, ...]
    differentiable: tuple[bool, ...]  # one an output
    row_wise: bool


@dataclass(slots=True)
class Tape:
    """A critic's operations on B rows, and how its scores are found.

    Attributes:
        outers: Tensors that do not depend on the critic's input: parameters, weights computed from
            parameters alone, constants.
        constants: The same, detached.
        arguments: Slots of the critic's input, and of further arguments that have rows.
        score: Slot of the scores.
    """

    rows: int
    nodes: list[Node] = field(default_factory=list)
    outers: list[Tensor] = field(default_factory=list)
    constants: list[Tensor] = field(default_factory=list)
    arguments: list[int] = field(default_factory=list)
    slots: int = 0
    score: int = -1
    is_differentiable: list[bool] = field(default_factory=list)  # by slot

    def new_slot(self, *, differentiable: bool) -> int:
        """The number of a slot that no tensor is in yet."""
        self.is_differentiable.append(differentiable)
        self.slots += 1
        return self.slots - 1

    def add_outer(self, tensor: Tensor) -> int:
        """The index of a tensor that is not among the outer ones yet."""
        self.outers.append(tensor)
        self.constants.append(tensor.detach())
        return len(self.outers) - 1

    def trainable(self, points_need_gradient: bool) -> list[bool]:
        """By slot: whether an adjoint of it is needed, for some gradient asked for behind it."""
        needed = [False] * self.slots
        needed[self.arguments[0]] = points_need_gradient
        for node in self.nodes:
            if any(self.wants(reference, needed) for reference in node.inputs):
                for slot, differentiable in zip(node.outputs, node.differentiable, strict=True):
                    needed[slot] = differentiable
        return needed

    def moving(self, needed: Sequence[bool]) -> list[bool]:
        """By slot: whether some second-order term asked for reads its tangent."""
        moving = [False] * self.slots
        for node in reversed(self.nodes):
            wanted = any(self.wants(reference, needed) for reference in node.inputs)
            products = wanted and (not node.rule.piecewise_linear or self._has_weights(node))
            if products or any(moving[slot] for slot in node.outputs):
                for reference in node.inputs:
                    if reference is not None and reference >= 0:
                        moving[reference] = True
        return moving

    def _has_weights(self, node: Node) -> bool:
        outer = (~reference for reference in node.inputs if reference is not None and reference < 0)
        return any(self.outers[index].requires_grad for index in outer)

    def reached(self) -> list[int]:
        """The outer tensors that require grad and that the scores depend on."""
        live = [False] * self.slots
        live[self.score] = True
        found: dict[int, None] = {}
        for node in reversed(self.nodes):
            flows = zip(node.outputs, node.differentiable, strict=True)
            if not any(live[slot] and differentiable for slot, differentiable in flows):
                continue
            for reference in node.inputs:
                if reference is None:
                    continue
                if reference >= 0:
                    live[reference] = self.is_differentiable[reference]
                elif self.outers[~reference].requires_grad:
                    found[~reference] = None
        return sorted(found)

    def done_after(self) -> list[list[int]]:
        """By node: the slots that neither a later node's forward reads nor any rule's passes."""
        last: dict[int, int] = {}
        kept = {self.score, *self.arguments}
        for index, node in enumerate(self.nodes):
            read = [r for r in node.inputs if r is not None and r >= 0]
            last.update(dict.fromkeys([*read, *node.outputs], index))
            if node.rule.reads_inputs:
                kept.update(read)
            if node.rule.reads_outputs:
                kept.update(node.outputs)
        done: list[list[int]] = [[] for _ in self.nodes]
        for slot, index in last.items():
            if slot not in kept:
                done[index].append(slot)
        return done

    def wants(self, reference: Reference, needed: Sequence[bool]) -> bool:
        """Whether an adjoint of this input is needed."""
        if reference is None:
            return False
        return needed[reference] if reference >= 0 else self.outers[~reference].requires_grad


class Block:
    """The tape's tensors for some rows: all that the passes read.

    Attributes:
        values: By slot; None once freed, or where nothing reads it.
        saved: By node, what its rule keeps besides inputs and outputs.
        constants: The tape's outer tensors, detached, in this block's memory format.
    """

    def __init__(self, tape: Tape, rows: int) -> None:
        self.tape = tape
        self.rows = rows
        self.values: list[Tensor | None] = []
        self.saved: list[tuple[Any, ...]] = []
        self.constants = tape.constants

    @property
    def scores(self) -> Tensor:
        """The scores [rows, ...]."""
        scores = self.values[self.tape.score]
        assert scores is not None
        return scores

    def free_unread(self) -> None:
        """Lets go of activations that no rule's passes read."""
        for slots in self.tape.done_after():
            for slot in slots:
                self.values[slot] = None

    def free(self) -> None:
        """Lets go of all that the passes read, once they are done."""
        self.values = [None] * self.tape.slots
        self.saved = [()] * len(self.tape.nodes)

    def site(self, index: int, rows: slice | None = None) -> Site:
        """What the rule of node `index` sees: all rows of the block, or those given."""
        node = self.tape.nodes[index]
        values, constants, saved = self.values, self.constants, self.saved[index]
        if rows is None:
            inputs = [
                None if r is None else values[r] if r >= 0 else constants[~r] for r in node.inputs
            ]
            outputs = [values[slot] for slot in node.outputs]
        else:
            reads, rule = node.rule.reads_inputs, node.rule
            inputs = [
                None
                if r is None or (r >= 0 and not reads)
                else _rows_of(values[r], rows)
                if r >= 0
                else constants[~r]
                for r in node.inputs
            ]
            outputs = [
                _rows_of(values[slot], rows) if rule.reads_outputs else None
                for slot in node.outputs
            ]
            saved = tuple([_rows_of(item, rows) for item in saved])
        return Site(node.options, tuple(inputs), tuple(outputs), saved)


def _rows_of(item: Any, rows: slice) -> Any:
    return item[rows] if isinstance(item, Tensor) else item
