"""Finding the tensor that went NaN or infinite first, by doing a run's last steps again.

A run goes on from a checkpoint bit for bit, so it fails again where it failed. Its steps are done
as they were, with a look at all tensors before and after each update, until one isn't finite. That
step is then done once more with hooks on the networks, which name the layer where it began.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from fastwgan.train.loop import Trainer

Stop = Callable[[], bool]
_Named = list[tuple[str, Tensor]]

_LONGEST = 60.0  # seconds
_UPDATES = {"critic_step": "critic", "generator_step": "generator"}  # methods: the network changed
_WHOLE = {"critic": "the critic's scores", "generator": "the generator's samples"}


@dataclass(frozen=True)
class Finding:
    """The first tensor of a run that wasn't finite.

    Attributes:
        tensor: Its name.
        kind: NaN or infinite.
        when: Which update of the step made it so, or came before or after it.
        step: Counted from 1, as in metrics.jsonl.
    """

    tensor: str
    kind: str
    when: str
    step: int


class ReplayEndedError(RuntimeError):
    """Time was up, or the run was told to stop, before the step was reached."""


def first_not_finite(
    trainer: Trainer, state: dict[str, Any], last_step: int, stop: Stop
) -> Finding | None:
    """Does the steps from `state` to `last_step` again, up to the first tensor that isn't finite.

    Args:
        trainer: Of the run; it is left where that tensor was found.
        state: Its `state_dict` at an earlier step, all finite.
        last_step: The step at which the run was seen not to be finite.
        stop: Asked before every step.

    Returns:
        None where everything stays finite this time.

    Raises:
        ReplayEndedError: `stop` said so, or a minute has passed.
    """
    deadline = time.monotonic() + _LONGEST
    trainer.load_state_dict(state)
    while trainer.step < last_step:
        if stop() or time.monotonic() > deadline:
            raise ReplayEndedError
        before = copy.deepcopy(trainer.state_dict())
        found = _step(trainer, closely=None)
        if found is not None:
            trainer.load_state_dict(before)
            closer = _step(trainer, closely=found.update)
            return (closer or found).finding
    return None


class _FoundError(Exception):
    """Leaves a step in its midst."""

    def __init__(self, update: int, finding: Finding) -> None:
        super().__init__(finding)
        self.update = update
        self.finding = finding


def _step(trainer: Trainer, closely: int | None) -> _FoundError | None:
    """One step of a trainer, up to the first tensor that isn't finite."""
    look = _Look(trainer, closely)
    try:
        with look.at_updates():
            trainer.train_step()
        look.check("after the updates", _weights(trainer.average, "average"), step=trainer.step)
    except _FoundError as found:
        return found
    return None


class _Look:
    """Looks at a trainer's tensors as one step goes on.

    Args:
        trainer: Its step is to be done.
        closely: The update of the step, counted from 1, in which every layer's output is looked at
            too. Hooks make a critic's pass another one, equal to rounding only.
    """

    def __init__(self, trainer: Trainer, closely: int | None) -> None:
        self._trainer = trainer
        self._closely = closely
        self._update = 0

    @contextlib.contextmanager
    def at_updates(self) -> Iterator[None]:
        """While entered, each update of the trainer is looked at."""
        attributes = vars(self._trainer)
        before = {name: attributes[name] for name in _UPDATES if name in attributes}
        for name in _UPDATES:
            attributes[name] = functools.partial(self._around, name, getattr(self._trainer, name))
        try:
            yield
        finally:
            for name in _UPDATES:
                del attributes[name]
            attributes.update(before)

    def check(self, when: str, tensors: _Named, *, step: int) -> None:
        """Raises `_FoundError` for the first of some tensors that isn't finite."""
        if _all_finite([tensor for _, tensor in tensors]):
            return
        for name, tensor in tensors:
            if not _all_finite([tensor]):
                kind = "NaN" if bool(tensor.isnan().any()) else "infinite"
                raise _FoundError(self._update, Finding(name, kind, when, step))

    def _around(self, name: str, update: Callable[..., Any], *arguments: Any) -> Any:
        trainer, owner, step = self._trainer, _UPDATES[name], self._trainer.step + 1
        self._update += 1
        number = f" {self._update}" if owner == "critic" else ""
        self.check(f"before {owner} update{number}", _kept(trainer), step=step)
        outputs: _Named = []
        closely = self._update == self._closely
        with _outputs(trainer, outputs) if closely else contextlib.nullcontext():
            result = update(*arguments)
        scalars = result if isinstance(result, Mapping) else {"generator_loss": result}
        changed = [*_gradients(trainer, owner), *_moments(trainer, owner)]
        changed += _weights(getattr(trainer, owner), owner)
        tensors = [*outputs, *scalars.items(), *changed]
        self.check(f"in {owner} update{number}", tensors, step=step)
        return result


@contextlib.contextmanager
def _outputs(trainer: Trainer, kept: _Named) -> Iterator[None]:
    """While entered, the outputs of both networks and their layers are kept, as they come."""

    def keep(name: str, module: nn.Module, inputs: object, output: object) -> None:
        if name in _WHOLE.values():  # known by its better name, not as its last layer's
            kept[:] = [(name if tensor is output else old, tensor) for old, tensor in kept]
        if isinstance(output, Tensor):
            kept.append((name, output))

    handles = []
    for owner, whole in _WHOLE.items():
        for path, module in getattr(trainer, owner).named_modules():
            name = f"the output of {owner}.{path}" if path else whole
            handles.append(module.register_forward_hook(functools.partial(keep, name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _kept(trainer: Trainer) -> _Named:
    """What lasts from one update to the next."""
    return [
        named
        for owner in _UPDATES.values()
        for named in _weights(getattr(trainer, owner), owner) + _moments(trainer, owner)
    ]


def _weights(module: nn.Module, owner: str) -> _Named:
    return [(f"{owner}.{name}", tensor) for name, tensor in module.state_dict().items()]


def _gradients(trainer: Trainer, owner: str) -> _Named:
    """From the last layer to the first: the way that a backward pass goes."""
    parameters = reversed(list(getattr(trainer, owner).named_parameters()))
    return [
        (f"the gradient of {owner}.{name}", parameter.grad)
        for name, parameter in parameters
        if parameter.grad is not None
    ]


def _moments(trainer: Trainer, owner: str) -> _Named:
    state = getattr(trainer, f"{owner}_optimizer").state
    return [
        (f"{moment} of {owner}.{name}", value)
        for name, parameter in getattr(trainer, owner).named_parameters()
        for moment, value in state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    ]


def _all_finite(tensors: list[Tensor]) -> bool:
    floating = [tensor for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    with torch.no_grad():
        return not floating or bool(get_total_norm(floating, norm_type=float("inf")).isfinite())
