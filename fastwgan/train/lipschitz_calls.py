"""The calls of torch functions that a critic makes, such that they can be made again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


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
        kind: The class of that module where it is a layer of torch.nn, else the function's name.
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
        return list(tensors((self.args, self.kwargs)))

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

        return self.function(*mapped(self.args, restore), **mapped(self.kwargs, restore))


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


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same lists, tuples and dicts with every other value changed."""
    if isinstance(value, (list, tuple)):
        items = [mapped(item, change) for item in value]
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*items)
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, dict):
        return {key: mapped(item, change) for key, item in value.items()}
    return change(value)


def tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested lists, tuples and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from tensors(item)
