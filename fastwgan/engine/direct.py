"""Critics made of torch's own modules alone: run on all rows at once, without autograd.

Nothing can see how such a critic is called, so that it can be given the rows of real, fake and
points together; and every operation is known, so that there is nothing to ask autograd about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as _module
from torch.overrides import TorchFunctionMode

from fastwgan.engine.calls import METADATA
from fastwgan.engine.layout import as_channels_last, fastest, is_channels_last
from fastwgan.engine.rules import bind
from fastwgan.engine.rules.local import Local
from fastwgan.engine.tape import Block, Node, Tape

_ROW_WISE: frozenset[type[nn.Module]] = frozenset(
    {
        nn.Identity,
        nn.Linear,
        nn.Conv1d,
        nn.Conv2d,
        nn.Conv3d,
        nn.ReLU,
        nn.LeakyReLU,
        nn.Tanh,
        nn.Sigmoid,
        nn.SiLU,
        nn.GELU,
        nn.ELU,
        nn.Softplus,
        nn.PReLU,
        nn.Dropout,
        nn.Flatten,
        nn.LayerNorm,
        nn.AvgPool2d,
        nn.MaxPool2d,
        nn.Upsample,
    }
)
_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
_GLOBAL_HOOKS = tuple(f"_global{name}" for name in _HOOKS)


class NotDirect(Exception):  # noqa: N818 - not an error: the way back to recording
    """An operation that mixes rows, or has no rules of its own."""


def is_direct(critic: Callable[..., Tensor]) -> bool:
    """Whether a critic is made of modules whose calls nobody can see."""
    return (
        isinstance(critic, nn.Module)
        and not _is_intercepted()
        and not any(getattr(_module, name) for name in _GLOBAL_HOOKS)
        and _is_plain(critic)
    )


def _is_intercepted() -> bool:
    """Whether something sees torch's functions, or tensors are not what they seem."""
    return bool(
        torch.compiler.is_compiling()
        or torch._C._len_torch_function_stack()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch._C._get_tracing_state() is not None
    )


def _is_plain(module: nn.Module) -> bool:
    own = module.__dict__
    if "forward" in own or any(own[name] for name in _HOOKS):
        return False
    kind = type(module)
    if kind is nn.Sequential:
        return all(_is_plain(child) for child in own["_modules"].values())
    return kind in _ROW_WISE


def run_direct(critic: nn.Module, rows: Tensor) -> Block:
    """The critic's tape and its tensors on all rows.

    Args:
        critic: One that `is_direct`.
        rows: [rows, *sample], memory of the engine's own.

    Raises:
        NotDirect: an operation has no rules of its own. Random generators are as before.
    """
    convolved = any(type(module) is nn.Conv2d for module in critic.modules())
    runner = Runner(fastest(rows, convolved=convolved))
    state = torch.get_rng_state() if rows.device.type == "cpu" else None
    try:
        with torch.no_grad(), runner:
            scores = critic(runner.rows)
    except NotDirect:
        if state is not None:
            torch.set_rng_state(state)
        raise
    runner.tape.score = runner.slot_of(scores)
    return runner.block


class Runner(TorchFunctionMode):
    """Inside this block, operations are run by their rules.

    Every tensor is read once, as a `Sequential` passes it on, so that activations can overwrite
    what no rule reads.
    """

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.tape = Tape(rows.shape[0])
        self.block = Block(self.tape, rows.shape[0])
        self._slots: dict[int, int] = {}
        self._outers: dict[int, int] = {}
        self._flow: Tensor | None = None
        self._is_channels_last = is_channels_last(rows)
        self.rows = rows
        self.tape.arguments.append(self._put(rows))

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Runs the rule of `func`."""
        kwargs = kwargs or {}
        if func in METADATA or not args or args[0] is not self._flow:
            return func(*args, **kwargs)
        rule, bound = bind(func, args, kwargs)
        if isinstance(rule, Local) or not bound.row_wise:
            raise NotDirect(func)
        inputs = tuple([self._reference(z) for z in bound.inputs])
        tensors = tuple([self._tensor(reference) for reference in inputs])
        may_overwrite = bool(self.tape.nodes) and not self.tape.nodes[-1].rule.reads_outputs
        if rule.places and may_overwrite and self.tape.nodes[-1].rule.fresh:
            outputs, saved = rule.forward_in_place(bound.options, tensors), ()
            self.block.values[-1] = None
        else:
            outputs, saved = rule.forward(bound.options, tensors)
        result = outputs[0]
        assert result is not None
        slots = (self._put(result),)
        self.tape.nodes.append(Node(rule, bound.options, inputs, slots, (True,), True))
        self.block.saved.append(saved)
        return result

    def slot_of(self, scores: Tensor) -> int:
        """The slot of the last tensor, which the critic has returned."""
        assert scores is self._flow
        return self.tape.slots - 1

    def _put(self, tensor: Tensor) -> int:
        self._flow = tensor
        self.block.values.append(tensor)
        return self.tape.new_slot(differentiable=True)

    def _tensor(self, reference: int | None) -> Tensor | None:
        if reference is None:
            return None
        return self._flow if reference >= 0 else self.tape.constants[~reference]

    def _reference(self, tensor: Tensor | None) -> int | None:
        if tensor is None:
            return None
        if tensor is self._flow:
            return self.tape.slots - 1
        index = self._outers.get(id(tensor))
        if index is None:
            index = self._outers[id(tensor)] = self.tape.add_outer(tensor)
            if self._is_channels_last:
                self.tape.constants[index] = as_channels_last(self.tape.constants[index])
        return ~index
