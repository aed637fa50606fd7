"""Critics made of torch's own modules alone: run on all rows at once, without autograd.

Nothing can see how such a critic is called, so that it can be given the rows of real, fake and
points together, and its modules need not be called at all; and every operation is known, so that
there is nothing to ask autograd about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as _module

from fastwgan.engine.layout import as_channels_last, fastest, is_channels_last
from fastwgan.engine.rules import bind
from fastwgan.engine.rules.base import Bound, Rule, Tensors
from fastwgan.engine.rules.local import Local
from fastwgan.engine.tape import Block, Node, Tape

Call = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function, and its arguments after the input."""


class NotDirect(Exception):  # noqa: N818 - not an error: the way back to recording
    """An operation that mixes rows, or has no rules of its own."""


def _convolution(function: Callable[..., Any]) -> Callable[[Any], Call | None]:
    def call(m: Any) -> Call | None:
        if m.padding_mode != "zeros":
            return None
        return function, (m.weight, m.bias, m.stride, m.padding, m.dilation, m.groups)

    return call


_CALLS: dict[type[nn.Module], Callable[[Any], Call | None]] = {
    nn.Linear: lambda m: (F.linear, (m.weight, m.bias)),
    nn.Conv1d: _convolution(torch.conv1d),
    nn.Conv2d: _convolution(torch.conv2d),
    nn.Conv3d: _convolution(torch.conv3d),
    nn.ReLU: lambda m: (F.relu, ()),
    nn.LeakyReLU: lambda m: (F.leaky_relu, (m.negative_slope,)),
    nn.Tanh: lambda m: (torch.tanh, ()),
    nn.Sigmoid: lambda m: (torch.sigmoid, ()),
    nn.SiLU: lambda m: (F.silu, ()),
    nn.ELU: lambda m: (F.elu, (m.alpha,)),
    nn.Softplus: lambda m: (F.softplus, (m.beta, m.threshold)),
    nn.PReLU: lambda m: (F.prelu, (m.weight,)),
    nn.Dropout: lambda m: (F.dropout, (m.p, m.training)),
    nn.Flatten: lambda m: (torch.flatten, (m.start_dim, m.end_dim)),
    nn.LayerNorm: lambda m: (F.layer_norm, (m.normalized_shape, m.weight, m.bias, m.eps)),
}
"""What the forward of each module calls; None where that is something else."""

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS = tuple(f"_global{name}" for name in _HOOKS)
# As torch has them: a class that was patched since has to be called.
_CLASSES: tuple[Any, ...] = (*_CALLS, nn.Sequential, nn.Identity)
_FORWARDS: dict[Any, Any] = {kind: kind.forward for kind in _CLASSES}
_CALL = nn.Module.__call__


def calls_of(critic: Callable[..., Tensor]) -> list[Call] | None:
    """What a critic does with its input, or None for one that has to be called to know.

    Args:
        critic: Any; an answer is there for modules of torch's alone, in nested `Sequential`s,
            without hooks.
    """
    if not isinstance(critic, nn.Module) or _is_intercepted():
        return None
    calls: list[Call] = []
    return calls if _collect(critic, calls) else None


def _is_intercepted() -> bool:
    """Whether something sees torch's functions and modules, or tensors are not what they seem."""
    return bool(
        torch.compiler.is_compiling()
        or torch._C._len_torch_function_stack()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch._C._get_tracing_state() is not None
        or any(getattr(_module, name) for name in _GLOBAL_HOOKS)
        or nn.Module.__call__ is not _CALL
    )


def _collect(module: nn.Module, calls: list[Call]) -> bool:
    own, kind = module.__dict__, type(module)
    if any(map(own.__getitem__, _HOOKS)):
        return False
    if "forward" in own or kind.forward is not _FORWARDS.get(kind):
        return False
    if kind is nn.Sequential:
        return all(_collect(child, calls) for child in own["_modules"].values())
    if kind is nn.Identity or (kind is nn.Dropout and not module.training):
        return True
    describe = _CALLS.get(kind)
    call = describe(module) if describe is not None else None
    if call is None:
        return False
    calls.append(call)
    return True


def run_direct(calls: list[Call], rows: Tensor) -> Block:
    """The tape of these calls, and its tensors on all rows.

    Each tensor is read by the next call alone, so that activations can overwrite what no rule
    reads.

    Args:
        calls: Of `calls_of`.
        rows: [rows, *sample], memory of the engine's own.

    Raises:
        NotDirect: an operation has no rules of its own. Random generators are as before.
    """
    draws = any(function is F.dropout for function, _ in calls) and rows.is_cpu
    state = torch.get_rng_state() if draws else None
    convolved = any(function is torch.conv2d for function, _ in calls)
    try:
        with torch.no_grad():
            return _Run(fastest(rows, convolved=convolved)).all_of(calls)
    except NotDirect:
        if state is not None:
            torch.set_rng_state(state)
        raise


class _Run:
    """Runs calls by their rules, one after another."""

    def __init__(self, rows: Tensor) -> None:
        self.tape = Tape(rows.shape[0])
        self.block = Block(self.tape, rows.shape[0])
        self._outers: dict[int, int] = {}
        self._is_channels_last = is_channels_last(rows)
        self._put(rows)
        self.tape.arguments.append(0)

    def all_of(self, calls: list[Call]) -> Block:
        """Every call, the first on the rows."""
        done = 0
        while done < len(calls):
            pair = calls[done : done + 2]
            if len(pair) == 2 and pair[0][0] is F.linear and self._two(*pair):
                done += 2
                continue
            self._one(*calls[done])
            done += 1
        self.tape.score = self.tape.slots - 1
        return self.block

    def _one(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        rule, bound = self._bind(function, args)
        node = self._node(rule, bound)
        before = self.tape.nodes[-1].rule if self.tape.nodes else None
        saved: tuple[Any, ...] = ()
        if rule.in_place and before is not None and before.fresh and not before.reads_outputs:
            outputs = rule.forward_in_place(bound.options, self._tensors(node))
            self.block.values[-1] = None
        else:
            outputs, saved = rule.forward(bound.options, self._tensors(node))
        self._note(node, outputs[0], saved)

    def _two(self, product: Call, activation: Call) -> bool:
        """Runs a product and the activation after it as one, if that saves a pass."""
        rule, bound = self._bind(*product)
        after, options = self._bind(*activation)  # bound to the product's input, which is alike
        if not after.in_place:
            return False
        node = self._node(rule, bound)
        outputs = rule.forward_activated(bound.options, self._tensors(node), after, options.options)
        if outputs is None:
            return False
        self._note(node, None, ())
        self._note(self._node(after, options), outputs[0], ())
        return True

    def _bind(self, function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Rule, Bound]:
        rule, bound = bind(function, (self.block.values[-1], *args), {})
        if isinstance(rule, Local) or not bound.row_wise:
            raise NotDirect(function)
        return rule, bound

    def _node(self, rule: Rule, bound: Bound) -> Node:
        slot = self.tape.slots - 1
        inputs = (slot, *[self._reference(z) for z in bound.inputs[1:]])
        return Node(rule, bound.options, inputs, (slot + 1,), (True,), row_wise=True)

    def _tensors(self, node: Node) -> Tensors:
        constants = self.tape.constants
        return (
            self.block.values[-1],
            *[None if r is None else constants[~r] for r in node.inputs[1:]],
        )

    def _note(self, node: Node, output: Tensor | None, saved: tuple[Any, ...]) -> None:
        self._put(output)
        self.tape.nodes.append(node)
        self.block.saved.append(saved)

    def _put(self, tensor: Tensor | None) -> None:
        self.block.values.append(tensor)
        self.tape.new_slot(differentiable=True)

    def _reference(self, tensor: Tensor | None) -> int | None:
        if tensor is None:
            return None
        index = self._outers.get(id(tensor))
        if index is None:
            index = self._outers[id(tensor)] = self.tape.add_outer(tensor)
            if self._is_channels_last:
                self.tape.constants[index] = as_channels_last(self.tape.constants[index])
        return ~index
