"""Watching a critic at work: what it does with its samples, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fastwgan.engine.blocks import Rows, record
from fastwgan.engine.calls import METADATA, name_of
from fastwgan.engine.generic import rooted, run
from fastwgan.train.lipschitz_calls import Activation, Call, Watched, mapped, tensors

_LOOKUPS = ("embedding",)  # noted though they read labels, not samples


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
    with _followed(recorder, modules.values()):
        at = run(critic, root, recorder, others)
    if at.scores.shape[:1] != samples.shape[:1]:
        raise ValueError(
            f"critic returned scores of shape {tuple(at.scores.shape)}; their first dimension must "
            f"be the batch's, {samples.shape[0]}."
        )
    watched = recorder.watched
    watched.score = recorder.slots.get(id(at.scores))
    (gradient,) = torch.autograd.grad(at.scores[0].sum(), at.edge, allow_unused=True)
    if gradient is not None and bool((gradient[1:].nan_to_num() != 0).any()):
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

        kept = mapped(args, replace), mapped(kwargs, replace)
        result = func(*args, **kwargs)
        if func not in METADATA and (inputs or name_of(func) in _LOOKUPS):
            outputs = tuple(self.put(y) for y in tensors(result)) if inputs else ()
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
        kind = _layer_of_torch(module) or name
        path = self._names.get(id(module), "")
        call = Call(name, function, kept[0], kept[1], inputs, outputs, path, kind)
        self.watched.calls.append(call)


def _layer_of_torch(module: nn.Module | None) -> str:
    """The class of a layer of torch.nn, also of one derived from it or parametrized; else ""."""
    inside = {} if module is None else dict(module.named_children())
    if inside.keys() - {"parametrizations", "out_proj"}:
        return ""
    for each in type(module).__mro__:
        if each.__module__.startswith("torch.nn.modules.") and each is not nn.Module:
            return each.__name__
    return ""


@contextmanager
def _followed(recorder: _Recorder, modules: Iterable[nn.Module]) -> Iterator[None]:
    """Keeps the recorder told of the modules that are running."""

    def enter(module: nn.Module, inputs: Any) -> None:
        recorder.running.append(module)

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        recorder.running.pop()

    with ExitStack() as stack:
        for module in modules:
            if not isinstance(module, torch.jit.ScriptModule):
                stack.callback(module.register_forward_pre_hook(enter).remove)
                stack.callback(module.register_forward_hook(leave, always_call=True).remove)
        yield
