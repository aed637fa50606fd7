"""The memory format in which a critic's rows run fastest."""

from __future__ import annotations

import torch
from torch import Tensor

from fastwgan.engine.cpu_only import is_for_cpu


def fastest(rows: Tensor, *, convolved: bool) -> Tensor:
    """The same rows, channels-last where 2D convolutions in float32 read them on a CPU.

    oneDNN's input gradients and few-channel layers run up to five times faster there, its other
    products no slower (measured on the layers of DCGAN and of the ResNet of WGAN-GP).
    """
    if convolved and rows.dim() == 4 and rows.dtype is torch.float32 and is_for_cpu(rows):
        return rows.contiguous(memory_format=torch.channels_last)
    return rows


def is_channels_last(rows: Tensor) -> bool:
    """Whether rows are images in channels-last memory, and not in torch's usual one too."""
    return (
        rows.dim() == 4
        and rows.is_contiguous(memory_format=torch.channels_last)
        and not rows.is_contiguous()
    )


def as_channels_last(weight: Tensor) -> Tensor:
    """A convolution's weight in channels-last memory, so that no product converts it again."""
    if weight.dim() != 4:
        return weight
    return weight.detach().contiguous(memory_format=torch.channels_last)
