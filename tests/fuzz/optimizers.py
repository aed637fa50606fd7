"""Our optimizer beside torch's: RMSprop with its clipping, Adam with a clip after each step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

import fastwgan
from tests.fuzz.comparison import held


class Choice(NamedTuple):
    kind: str = "rmsprop"
    clip: float | None = None
    momentum: float = 0.0
    centered: bool = False
    weight_decay: float = 0.0


class OptimizerPair:
    """Optimizers of the parameters that both critics have now."""

    def __init__(self, ours: nn.Module, theirs: nn.Module, choice: Choice) -> None:
        self.choice = choice
        self.clip = choice.clip
        self.ours = _ours(list(ours.parameters()), choice)
        self.theirs = _theirs(list(theirs.parameters()), choice)

    def step(self) -> None:
        """RMSprop clips what it steps, parameters with a gradient; clip_after_step clips all."""
        self.ours.step()
        self.theirs.step()
        if self.clip is not None:
            with torch.no_grad():
                for parameter in held(self.theirs):
                    if parameter.grad is not None or self.choice.kind == "adam":
                        parameter.clamp_(-self.clip, self.clip)

    def largest_gradient(self) -> float:
        gradients = [p.grad for p in held(self.theirs) if p.grad is not None]
        return max((float(g.abs().max()) for g in gradients), default=0.0)

    def largest(self) -> float:
        """Of gradients and state."""
        states = [t for state in self.theirs.state.values() for t in state.values()]
        return max([self.largest_gradient(), *(float(t.abs().max()) for t in states)])

    def dtypes(self) -> set[torch.dtype]:
        """Of our parameters and state, which a conversion of the critic leaves as it was."""
        state = (values.items() for values in self.ours.state.values())
        kept = {value.dtype for values in state for name, value in values if name != "step"}
        return kept | {p.dtype for p in held(self.ours)}

    def is_of_one_dtype(self) -> bool:
        """Whether each parameter's state is of its dtype."""
        return all(
            value.dtype is parameter.dtype
            for parameter, values in self.ours.state.items()
            for name, value in values.items()
            if name != "step"
        )

    def shapes(self) -> list[torch.Size]:
        return [p.shape for p in held(self.ours)]

    @torch.no_grad()
    def take_over(self) -> None:
        """Gives theirs the numbers of ours."""
        for mine, other in zip(held(self.ours), held(self.theirs), strict=True):
            other.copy_(mine)
            other.grad = None if mine.grad is None else mine.grad.double()
            for name, value in self.ours.state.get(mine, {}).items():
                self.theirs.state[other][name].copy_(value)


def _ours(parameters: list[Tensor], choice: Choice) -> torch.optim.Optimizer:
    if choice.kind == "rmsprop":
        return fastwgan.optim.RMSprop(
            parameters,
            momentum=choice.momentum,
            centered=choice.centered,
            weight_decay=choice.weight_decay,
            weight_clip=choice.clip,
        )
    adam = torch.optim.Adam(parameters, weight_decay=choice.weight_decay)
    if choice.clip is not None:
        fastwgan.clip_after_step(adam, choice.clip)
    return adam


def _theirs(parameters: list[Tensor], choice: Choice) -> torch.optim.Optimizer:
    if choice.kind == "rmsprop":
        return torch.optim.RMSprop(
            parameters,
            momentum=choice.momentum,
            centered=choice.centered,
            weight_decay=choice.weight_decay,
        )
    return torch.optim.Adam(parameters, weight_decay=choice.weight_decay)
