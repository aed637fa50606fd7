"""Optimizers without torch's labels for its profiler, where nobody listens to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, overload

import torch
from torch.optim import Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks


class QuietStep(Optimizer):
    """A base to name before one of torch's optimizers."""

    @staticmethod
    def profile_hook_step(func: Callable[..., Any]) -> Callable[..., Any]:
        """torch's wrapper of `step`, left out of a call where no hook and no profiler listens.

        Its label for the profiler takes as long as the step of a small critic.
        """
        hooked = Optimizer.profile_hook_step(func)

        @wraps(func)
        def step(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
            return (hooked if _is_observed(self) else func)(self, *args, **kwargs)

        return step

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of every parameter that has a gradient; returns the closure's loss, if any."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_one(group)
        return loss

    def _step_one(self, group: dict[str, Any]) -> None:
        """A step of one group's parameters."""
        raise NotImplementedError

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As torch's."""
        if not set_to_none or torch._C._autograd._profiler_enabled():
            return super().zero_grad(set_to_none)
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
        return None


def _is_observed(optimizer: Optimizer) -> bool:
    return bool(
        torch.compiler.is_compiling()
        or torch._C._autograd._profiler_enabled()
        or optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or _global_optimizer_pre_hooks
        or _global_optimizer_post_hooks
    )
