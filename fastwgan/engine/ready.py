"""Hands gradients that are computed already to autograd's first backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def ready(value: Tensor, tensors: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> Tensor:
    """`value`, with the given gradients at `tensors`; None is zero.

    The gradients are handed over: nobody else may write or read them.
    """
    if not tensors:
        return value
    result: Tensor = _Ready.apply(_Held(value, list(gradients)), *tensors)
    return result


def refuse_second_derivative() -> None:
    """Raises inside of a backward that is to be differentiated itself.

    Raises:
        RuntimeError: this is one.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(
            "create_graph was True in a backward through the penalty engine; it must be False: "
            'gradient_penalty(..., engine="never") is differentiable to any order.'
        )


def keeps_graph() -> bool:
    """Whether the backward that runs now was called with retain_graph=True."""
    keeps: bool = torch._C._autograd._get_current_graph_task_keep_graph()
    return keeps


class _Held:
    """The value and gradients on their way into the Function, which must not be its inputs."""

    def __init__(self, value: Tensor, gradients: list[Tensor | None]) -> None:
        self.value = value
        self.gradients: list[Tensor | None] | None = gradients


class _Ready(Function):
    """Constant but for its one backward."""

    @staticmethod
    def forward(ctx: Any, held: _Held, *tensors: Tensor) -> Tensor:
        ctx.held = held
        # Not saved for the backward, where a changed version of a weight would be an error.
        ctx.like = [(t.shape, t.dtype, t.device) for t in tensors]
        value = held.value
        del held.value  # it holds this node from now on, which holds `held`
        return value

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        gradients = ctx.held.gradients
        if gradients is None:
            raise RuntimeError(
                "backward was called a second time through the same penalty; the first one must "
                "have had retain_graph=True."
            )
        keeps = keeps_graph()
        if not keeps:
            # Nothing else may hold them, or autograd copies each into .grad.
            ctx.held.gradients = None
        is_one = g.device.type == "cpu" and g.item() == 1
        found: list[Tensor | None] = [None]
        for index, (shape, dtype, device) in enumerate(ctx.like):
            gradient = gradients[index]
            if not keeps:
                gradients[index] = None
            if gradient is None:
                gradient = torch.zeros(shape, dtype=dtype, device=device)
            elif not is_one:
                gradient = gradient * g.to(gradient.dtype) if keeps else gradient.mul_(g)
            elif keeps:
                gradient = gradient.clone()
            found.append(gradient)
        return tuple(found)
