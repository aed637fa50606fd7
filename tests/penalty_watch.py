"""Critics and modes that keep what they see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class Recording:
    """A critic that keeps what it was called with."""

    def __init__(self, critic: Callable[[Tensor], Tensor]) -> None:
        self.critic = critic
        self.calls: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        assert torch.is_grad_enabled()
        assert x.requires_grad
        self.calls.append(x.detach().clone())
        return self.critic(x)


class Draws(TorchFunctionMode):
    """The names and shapes of all random draws."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[int, ...]]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name.startswith(("rand", "uniform", "normal", "bernoulli", "empty_strided_rand")):
            self.found.append((name, tuple(result.shape)))
        return result
