"""What tests of the audit share: dense matrices to compare operator norms with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from fastwgan.train.lipschitz_layers import Bound, Layer, layers_of
from fastwgan.train.lipschitz_modules import modules_of
from fastwgan.train.lipschitz_watch import watch


def normal(*shape: int, seed: int = 0) -> Tensor:
    """float64, standard normal."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def read(
    critic: Callable[..., Tensor], samples: Tensor, *others: Tensor
) -> tuple[tuple[Layer, ...], Bound]:
    """The layers of a critic in evaluation mode, and their bound."""
    modules = modules_of(critic)
    watched = watch(critic, modules, samples, others)
    return layers_of(watched, modules, 0, torch.device("cpu"))


def dense(function: Callable[[Tensor], Tensor], shape: Sequence[int]) -> Tensor:
    """The matrix of an affine function of one sample, column by column."""
    size = torch.Size(shape).numel()
    units = torch.eye(size, dtype=torch.float64).view(size, *shape)
    with torch.no_grad():
        offset = function(torch.zeros(1, *shape, dtype=torch.float64))
        return torch.stack([(function(unit[None]) - offset).flatten() for unit in units], dim=1)


def norm(matrix: Tensor) -> float:
    """The largest singular value."""
    return float(torch.linalg.matrix_norm(matrix.detach(), ord=2))


class Critic(nn.Module):
    """A function as a critic: flattened behind it, and summed by a linear layer."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Tensor:
        return self.inside(x).flatten(1)
