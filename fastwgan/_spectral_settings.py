"""Arguments that both forms of spectral normalisation take, and what they must be."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def check_settings(
    module: nn.Module, name: str, n_power_iterations: int, eps: float, dim: int | None
) -> None:
    """Raises TypeError for wrong types, ValueError for wrong values, in one sentence."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module was a {type(module).__name__}; it must be a torch.nn.Module.")
    if not isinstance(name, str):
        raise TypeError(f"name was a {type(name).__name__}; it must be a str.")
    if not isinstance(n_power_iterations, int):
        kind = type(n_power_iterations).__name__
        raise TypeError(f"n_power_iterations was a {kind}; it must be an int.")
    if n_power_iterations <= 0:
        raise ValueError(
            "Expected n_power_iterations to be positive, but got "
            f"n_power_iterations={n_power_iterations}"
        )
    if not isinstance(eps, (int, float)):
        raise TypeError(f"eps was a {type(eps).__name__}; it must be a float.")
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps was {eps}; it must be a finite number, 0 or more.")
    if dim is not None and not isinstance(dim, int):
        raise TypeError(f"dim was a {type(dim).__name__}; it must be an int or None.")


def check_numeric(weight: Tensor, what: str) -> None:
    """Raises TypeError for a weight that has no singular values: of integers, or sparse."""
    floating = weight.is_floating_point() or weight.is_complex()
    if not floating or weight.layout is not torch.strided:
        raise TypeError(
            f"{what} was {weight.dtype} in layout {weight.layout}; it must be dense and of a "
            "floating or complex dtype."
        )


def dim_of(module: nn.Module, dim: int | None) -> int:
    """`dim`, or where it is None the dimension that counts the outputs of `module`."""
    if dim is not None:
        return dim
    return 1 if isinstance(module, TRANSPOSED) else 0
