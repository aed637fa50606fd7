"""Where a gradient penalty is taken."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from fastwgan.ops.gradient_penalty import interpolate, wide_dtype
from fastwgan.penalty_arguments import Arguments, drawn_shape


def points(arguments: Arguments) -> Tensor:
    """The points [batch, *sample], in memory of their own and differentiable in the samples."""
    real, fake = arguments.real, arguments.fake
    if arguments.kind == "r1":
        return real.clone()
    if arguments.kind == "dragan":
        return perturbed(real, draws(arguments))
    assert fake is not None  # the check asks for it
    if arguments.kind == "r2":
        return fake.clone()
    return interpolate(real, fake, draws(arguments))


def drawn(arguments: Arguments) -> Arguments:
    """The same with every draw made, so that its points are no longer random."""
    if arguments.kind in ("r1", "r2") or arguments.alpha is not None:
        return arguments
    return replace(arguments, alpha=draws(arguments))


def draws(arguments: Arguments) -> Tensor:
    """The given alpha, or one call of `torch.rand`."""
    if arguments.alpha is not None:
        return arguments.alpha
    real = arguments.real
    return torch.rand(
        drawn_shape(arguments.kind, real, arguments.groups),
        generator=arguments.generator,
        dtype=wide_dtype(real.dtype),
        device=real.device,
    )


def perturbed(real: Tensor, noise: Tensor) -> Tensor:
    """Real + 0.5 std(real) noise, the deviation taken over the whole batch."""
    wide = real.to(noise.dtype)
    # A single number has no unbiased deviation: it stays where it is.
    deviation = torch.std(wide, correction=min(1, wide.numel() - 1))
    return (wide + 0.5 * deviation * noise).to(real.dtype)
