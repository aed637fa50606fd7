"""What a critic does with its samples, in order: the calls whose Lipschitz constants are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode

from fastwgan.engine.blocks import Rows, record
from fastwgan.engine.calls import METADATA, name_of
from fastwgan.engine.generic import rooted, run

_LOOKUPS = ("embedding",)  # noted though they read labels, not samples


@dataclass(frozen=True)
class Activation:
    """Stands among a call's arguments for a tensor that depends on the samples."""

    slot: int


@dataclass(frozen=True)
class Call:
    """One call of a torch function.

    Attributes:
        name: The function's.
        function: What was called.
        args: With these, activations replaced,
        kwargs: and these.
        inputs: Slots of the activations among them, in order, as often as they occur.
        outputs: Slots of what it returned.
        module: Path of the innermost module that was running; "" for the critic itself.
        kind: The class of that module where it has no modules inside, else the function's name.
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    module: str
    kind: str

    def argument(self, position: int, name: str) -> Any:
        """An argument that may be given by position or by name; None where it isn't given."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name)

    def constants(self) -> list[Tensor]:
        """The tensors among its arguments that don't depend on the samples."""
        return list(_tensors((self.args, self.kwargs)))

    def replay(self, values: Mapping[int, Tensor], like: Tensor) -> Any:
        """Calls again with other activations, constants brought to the dtype and device of `like`.

        Args:
            values: By slot.
            like: A tensor.
        """

        def restore(value: Any) -> Any:
            if isinstance(value, Activation):
                return values[value.slot]
            if isinstance(value, Tensor):
                value = value.detach()
                dtype = like.dtype if value.is_floating_point() else value.dtype
                return value.to(like.device, dtype)
            return value

        return self.function(*_mapped(self.args, restore), **_mapped(self.kwargs, restore))


@dataclass
class Watched:
    """A critic's calls on a batch.

    Attributes:
        rows: Of the batch.
        calls: In order.
        shapes: By slot; slot 0 holds the samples.
        floating: By slot, whether it holds numbers rather than indices or truth values.
        score: The slot of the scores; None where no call returned them.
        doubt: Why the calls may not tell what the critic does with other samples; "" if they do.
    """

    rows: int
    calls: list[Call] = field(default_factory=list)
    shapes: list[torch.Size] = field(default_factory=list)
    floating: list[bool] = field(default_factory=list)
    score: int | None = None
    doubt: str = ""


def watch(
    critic: Callable[..., Tensor],
    modules: Mapping[str, nn.Module],
    samples: Tensor,
    others: tuple[Any, ...] = (),
) -> Watched:
    """Calls the critic thrice, and notes what it does.

    Args:
        critic: In evaluation mode.
        modules: The critic's modules by name.
        samples: [rows, *shape], two rows or more.
        others: Further arguments of the critic.

    Raises:
        TypeError: the critic returned no tensor.
        ValueError: its scores aren't one or more a sample, or don't depend on the samples.
    """
    names = {id(module): name for name, module in modules.items()}
    recorder = _Recorder(names, samples.shape[0])
    root = rooted(samples.clone())
    recorder.put(root)
    with _followed(recorder):
        at = run(critic, root, recorder, others)
    if at.scores.shape[:1] != samples.shape[:1]:
        raise ValueError(
            f"critic returned scores of shape {tuple(at.scores.shape)}; their first dimension must "
            f"be the batch's, {samples.shape[0]}."
        )
    watched = recorder.watched
    watched.score = recorder.slots.get(id(at.scores))
    (gradient,) = torch.autograd.grad(at.scores[0].sum(), at.edge, allow_unused=True)
    if gradient is not None and bool((gradient[1:] != 0).any()):
        watched.doubt = "it mixes the samples of a batch"
    else:
        watched.doubt = _doubt(critic, samples, others)
    return watched


def _doubt(critic: Callable[..., Tensor], samples: Tensor, others: tuple[Any, ...]) -> str:
    """What the penalty engine finds against a recording of this critic."""
    recorded = record(critic, Rows(samples, others))
    if recorded.refusal is not None:
        return f"it has {recorded.refusal}"
    if not recorded.is_replayable:
        return "its Python draws random numbers, or reads numbers out of tensors"
    return ""


class _Recorder(TorchFunctionMode):
    def __init__(self, names: Mapping[int, str], rows: int) -> None:
        super().__init__()
        self.watched = Watched(rows)
        self.slots: dict[int, int] = {}  # by id of a tensor that `_alive` keeps alive
        self.running: list[nn.Module] = []
        self._alive: list[Tensor] = []
        self._names = names

    def put(self, tensor: Tensor) -> int:
        self.slots[id(tensor)] = len(self._alive)
        self._alive.append(tensor)
        self.watched.shapes.append(tensor.shape)
        self.watched.floating.append(tensor.is_floating_point())
        return len(self._alive) - 1

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        inputs: list[int] = []

        def replace(value: Any) -> Any:
            if isinstance(value, Tensor) and id(value) in self.slots:
                inputs.append(self.slots[id(value)])
                return Activation(inputs[-1])
            return value

        kept = _mapped(args, replace), _mapped(kwargs, replace)
        result = func(*args, **kwargs)
        if func not in METADATA and (inputs or name_of(func) in _LOOKUPS):
            outputs = tuple(self.put(y) for y in _tensors(result)) if inputs else ()
            self._note(func, kept, tuple(inputs), outputs)
        return result

    def _note(
        self,
        function: Any,
        kept: tuple[Any, Any],
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
    ) -> None:
        name = name_of(function)
        module = self.running[-1] if self.running else None
        is_leaf = module is not None and not any(module.children())
        path = self._names.get(id(module), "")
        kind = type(module).__name__ if is_leaf else name
        call = Call(name, function, kept[0], kept[1], inputs, outputs, path, kind)
        self.watched.calls.append(call)


@contextmanager
def _followed(recorder: _Recorder) -> Iterator[None]:
    """Keeps the recorder told of the modules that are running, without touching any."""

    def enter(module: nn.Module, inputs: Any) -> None:
        recorder.running.append(module)

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        recorder.running.pop()

    handles = (
        register_module_forward_pre_hook(enter),
        register_module_forward_hook(leave, always_call=True),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same lists, tuples and dicts with every other value changed."""
    if isinstance(value, (list, tuple)):
        items = [_mapped(item, change) for item in value]
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*items)
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    return change(value)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _tensors(item)
