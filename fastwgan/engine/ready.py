"""Hands gradients that are computed already to autograd's first backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from fastwgan.engine.cpu_only import is_for_cpu
from fastwgan.engine.scaling import Scale, is_scaled


def ready(
    value: Tensor,
    tensors: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    scale: Scale = 1.0,
) -> Tensor:
    """`value`, with the given gradients at `tensors`; None is zero.

    The gradients are handed over: nobody else may write or read them.

    Args:
        value: A number [], of float32 or float64 where gradients are scaled.
        tensors: What it depends on.
        gradients: Of these, times `scale`.
        scale: Theirs.
    """
    if not tensors:
        return value
    result: Tensor = _Ready.apply(_Held(value, list(gradients), scale), *tensors)
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

    def __init__(self, value: Tensor, gradients: list[Tensor | None], scale: Scale) -> None:
        self.value = value
        self.scale = scale
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
        factor = g / ctx.held.scale if is_scaled(ctx.held.scale) else g
        is_one = is_for_cpu(g) and factor.item() == 1
        found: list[Tensor | None] = [None]
        scaled_here: list[Tensor] = []
        for index, (shape, dtype, device) in enumerate(ctx.like):
            gradient = gradients[index]
            if not keeps:
                gradients[index] = None
            if gradient is None:
                gradient = torch.zeros(shape, dtype=dtype, device=device)
            elif not is_one and (keeps or gradient.dtype.itemsize < 4):
                gradient = _times(gradient, factor)
            elif not is_one:
                scaled_here.append(gradient)
            elif keeps:
                gradient = gradient.clone()
            found.append(gradient)
        _scale(scaled_here, factor)
        return tuple(found)


def _times(gradient: Tensor, factor: Tensor) -> Tensor:
    if gradient.dtype.itemsize < 4:  # the factor need not be representable: rounded once
        return (gradient.to(factor.dtype) * factor).to(gradient.dtype)
    return gradient * factor.to(gradient.dtype)


def _scale(gradients: Sequence[Tensor], factor: Tensor) -> None:
    """In place, all of one dtype and device at once: on a GPU one launch."""
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for gradient in gradients:
        kinds.setdefault((gradient.dtype, gradient.device), []).append(gradient)
    for (dtype, _), alike in kinds.items():
        torch._foreach_mul_(alike, factor.to(dtype))
