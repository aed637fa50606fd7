"""Runs a critic once under autograd and notes what it does with its input.

The tape is read off the calls of torch functions; autograd, which records the same run by itself,
is asked whether the tape can be right (DESIGN: the oracle). Where it cannot, `Recorder.refusal`
says why, and the run stands as a plain one, differentiable to any order.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fastwgan.engine.calls import (
    METADATA,
    RANDOM_NAMES,
    REFUSED,
    may_be_sized_by_values,
    may_write,
    name_of,
)
from fastwgan.engine.oracle import (
    memory_of,
    sharing_memory,
    surroundings,
    version_of,
    why_surrounded,
    why_written,
)
from fastwgan.engine.reached import nodes_behind
from fastwgan.engine.rules import LOCAL, bind
from fastwgan.engine.rules.base import Bound, Rule
from fastwgan.engine.rules.local import Local
from fastwgan.engine.tape import Block, Node, Tape


class Recorder(TorchFunctionMode):
    """Inside this block, operations on the critic's input are noted.

    Args:
        arguments: The critic's input [rows, ...], which requires grad and is no leaf, and further
            arguments that have rows.

    Attributes:
        tape: The operations.
        block: The tensors between them, detached.
        refusal: Why the tape is of no use, or None.
        is_replayable: False when Python has read a number out of a tensor that depends on the
            input, so that other rows might have gone another way.
    """

    def __init__(self, arguments: Sequence[Tensor]) -> None:
        super().__init__()
        rows = arguments[0].shape[0]
        self.tape = Tape(rows)
        self.block = Block(self.tape, rows)
        self.refusal: str | None = None
        self.is_replayable = True
        self._slots: dict[int, int] = {}  # by id of a tensor that `_alive` keeps alive
        self._outers: dict[int, int] = {}
        self._alive: list[Tensor] = []  # by slot
        self._versions: list[int] = []  # by slot
        self._is_read: list[bool] = []  # by slot
        self._outer_versions: list[int] = []
        self._random_state = _generator_state()
        self._surroundings = surroundings()
        self._draws = False
        for argument in arguments:
            self.tape.arguments.append(self._put(argument, is_read=False))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Runs `func`, and notes it when it reads a tensor that depends on the input."""
        kwargs = kwargs or {}
        if self.refusal is not None or func in METADATA:
            return func(*args, **kwargs)
        if not self._draws and name_of(func) in RANDOM_NAMES:
            self._draws = True
        activations = [t for t in _tensors(args, kwargs) if id(t) in self._slots]
        if not activations:
            # Random numbers that enter as constants are drawn for each set of rows.
            self.is_replayable &= name_of(func) not in RANDOM_NAMES
            return func(*args, **kwargs)
        self.refusal = (
            REFUSED.get(func) or self._stale(activations) or why_surrounded(self._surroundings)
        )
        if kwargs.get("out") is not None:
            self.refusal = f"{name_of(func)} with out="
        if self.refusal is not None:
            return func(*args, **kwargs)
        return self._operation(func, args, kwargs)

    def finish(self, scores: Tensor, root: Any) -> None:
        """Asks autograd about the whole run.

        Args:
            scores: What the critic returned.
            root: Autograd's node of the critic's input.
        """
        if self.refusal is None and id(scores) not in self._slots:
            self.refusal = "scores from an operation that torch functions do not show"
        if self.refusal is None:
            self.tape.score = self._slots[id(scores)]
            self.refusal = (
                self._stale([scores])
                or self._rewritten()
                or self._missed(root)
                or self._hidden_draws()
            )
        self._alive.clear()
        if self.refusal is not None:
            self.block.values.clear()

    def _operation(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        writes = may_write(func, args, kwargs)
        rule, bound = bind(func, args, kwargs, self._slots)
        if isinstance(rule, Local) and name_of(func) in RANDOM_NAMES:
            self.refusal = f"random numbers of {name_of(func)}, which cannot be repeated"
            return func(*args, **kwargs)
        if any(id(bound.inputs[i]) in self._slots for i in rule.weights):
            rule, bound = LOCAL, LOCAL.bind(func, args, kwargs)  # the weights move with the input
        inputs = tuple(self._reference(z, rule) for z in bound.inputs)
        if writes:
            self._preserve(bound.inputs)
        before = [(z, version_of(z)) for z in bound.inputs if z is not None]
        sharing = sharing_memory(self._alive, bound.inputs) if writes else []
        result, saved = rule.record(bound, func, args, kwargs)
        written = [z for z, version in before if version_of(z) != version]
        self.refusal = why_written(name_of(func), written, writes, sharing)
        if self.refusal is not None:
            return result
        for z in written:
            if id(z) in self._outers:
                self._outer_versions[self._outers[id(z)]] = version_of(z)
        self.is_replayable &= not may_be_sized_by_values(func, args, kwargs)
        self._note(rule, bound, inputs, args[0] if result is None else result, saved)
        return result

    def _note(
        self,
        rule: Rule,
        bound: Bound,
        inputs: tuple[int | None, ...],
        result: Any,
        saved: tuple[Any, ...],
    ) -> None:
        outputs = list(_tensors((result,), {}))
        if not outputs:
            self.is_replayable = False
            return
        slots = tuple(self._put(y, is_read=rule.reads_outputs) for y in outputs)
        differentiable = tuple(y.requires_grad for y in outputs)
        # A constant with rows of its own can widen what was one row.
        row_wise = bound.row_wise and all(y.shape[:1] == (self.tape.rows,) for y in outputs)
        self.tape.nodes.append(Node(rule, bound.options, inputs, slots, differentiable, row_wise))
        self.block.saved.append(saved)

    def _put(self, tensor: Tensor, *, is_read: bool) -> int:
        # Views made under no_grad seem to require grad, and do so once a custom Function has them.
        flows = tensor.requires_grad and (torch.is_grad_enabled() or tensor.grad_fn is not None)
        slot = self.tape.new_slot(differentiable=flows)
        self._slots[id(tensor)] = slot
        self._alive.append(tensor)
        self._versions.append(version_of(tensor))
        self._is_read.append(is_read)
        self.block.values.append(tensor.detach())
        return slot

    def _reference(self, tensor: Tensor | None, rule: Rule) -> int | None:
        if tensor is None:
            return None
        slot = self._slots.get(id(tensor))
        if slot is not None:
            self._is_read[slot] |= rule.reads_inputs
            return slot
        index = self._outers.get(id(tensor))
        if index is None:
            index = self._outers[id(tensor)] = self.tape.add_outer(tensor)
            self._outer_versions.append(version_of(tensor))
        return ~index

    def _preserve(self, inputs: Sequence[Tensor | None]) -> None:
        """Copies what rules have still to read of memory that is about to be written."""
        memory = {memory_of(z) for z in inputs if z is not None}
        for slot, value in enumerate(self.block.values):
            if value is not None and self._is_read[slot] and memory_of(value) in memory:
                self.block.values[slot] = value.clone()
        for index, outer in enumerate(self.tape.outers):
            if not outer.requires_grad and memory_of(outer) in memory:
                self.tape.constants[index] = outer.detach().clone()

    def _stale(self, activations: Sequence[Tensor]) -> str | None:
        for tensor in activations:
            slot = self._slots[id(tensor)]
            if version_of(tensor) != self._versions[slot]:
                return "an in-place write to a tensor through another view of it"
            if tensor.requires_grad != self.tape.is_differentiable[slot]:
                return "a custom autograd.Function"
        return None

    def _rewritten(self) -> str | None:
        for outer, version in zip(self.tape.outers, self._outer_versions, strict=True):
            if version_of(outer) != version:
                return "a weight that is written after it was used"
        return None

    def _missed(self, root: Any) -> str | None:
        for outer in self.tape.outers:
            if outer.grad_fn is not None and root in nodes_behind(outer.grad_fn, stop=root):
                return "an operation that torch functions do not show (custom Function, jit)"
        return None

    def _hidden_draws(self) -> str | None:
        if self._draws or _generator_state() == self._random_state:
            return None
        return "random numbers that no torch function drew"


def _tensors(args: Sequence[Any], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """Every tensor among the arguments, in nested lists and tuples too."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value, {})
        elif isinstance(value, dict):
            yield from _tensors((), value)


def _generator_state() -> bytes:
    """Of the CPU's generator, which is in CPU memory wherever the critic is."""
    state = torch.get_rng_state()
    return ctypes.string_at(state.data_ptr(), state.numel())  # torch's own way there needs numpy
