"""RMSprop with clipping in plain torch: the definition of correct."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastwgan.ops._rounding import rounded
from fastwgan.ops.rmsprop._checks import check_lists


def rmsprop_(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    square_averages: Sequence[Tensor],
    momentum_buffers: Sequence[Tensor],
    gradient_averages: Sequence[Tensor],
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
    maximize: bool,
    weight_clip: float | None,
) -> None:
    """The arithmetic of torch.optim.RMSprop's single-tensor form, then a clamp."""
    check_lists(parameters, gradients, square_averages, momentum_buffers, gradient_averages)
    with torch.no_grad():
        for i, parameter in enumerate(parameters):
            gradient = -gradients[i] if maximize else gradients[i]
            if weight_decay != 0:
                gradient = gradient.add(parameter, alpha=weight_decay)
            square_average = square_averages[i].mul_(alpha)
            square_average.addcmul_(gradient, gradient, value=1 - alpha)
            variance = square_average
            if gradient_averages:
                mean = gradient_averages[i]
                mean.lerp_(gradient.to(mean.dtype), 1 - alpha)
                variance = square_average.addcmul(mean, mean, value=-1)
            direction = gradient / (variance.sqrt() + eps)
            if momentum_buffers:
                direction = momentum_buffers[i].mul_(momentum).add_(direction)
            parameter.add_(direction, alpha=-lr)
            if weight_clip is not None:
                limit = rounded(weight_clip, parameter.dtype)
                parameter.clamp_(-limit, limit)
