"""Runs twins in place of operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode

from fastwgan.engine.twins import activation, convolution_calls, pooling
from fastwgan.engine.twins.eligible import records_plainly, saving_hooks

TWINS: dict[Callable[..., Any], Callable[..., Any]] = {
    **activation.TWINS,
    **convolution_calls.TWINS,
    **pooling.TWINS,
}


class Twins(TorchFunctionMode):
    """Inside this block, operations that have a twin run it wherever the twin covers the call."""

    def __init__(self) -> None:
        super().__init__()
        self._hooks = saving_hooks()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Runs the twin of `func`, or `func` itself."""
        twin = TWINS.get(func)
        if twin is not None and records_plainly(self._hooks):
            result = twin(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        return func(*args, **(kwargs or {}))
