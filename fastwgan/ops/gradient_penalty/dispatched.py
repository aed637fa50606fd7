"""The operations as seen from outside: torch.ops.fastwgan.gradient_penalty_interpolate and _norm.

Compilers, fake tensors, modes and tensor subclasses take this way.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastwgan.ops._library import LIBRARY
from fastwgan.ops.gradient_penalty import reference
from fastwgan.ops.gradient_penalty.autograd import (
    are_channels_last,
    interpolate_gradients,
    run_interpolate,
    run_norm_penalty,
)

LIBRARY.define("gradient_penalty_interpolate(Tensor real, Tensor fake, Tensor alpha) -> Tensor")
LIBRARY.define(
    "gradient_penalty_norm(Tensor gradient, str kind, float target, float weight)"
    " -> (Tensor penalty, Tensor norms, Tensor cotangent)"
)


def _interpolate_fake(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    if not are_channels_last(real, fake):
        return real.new_empty(real.shape)
    batch, channels, *space = real.shape
    return real.new_empty([batch, *space, channels]).movedim(-1, 1)


def _interpolate_setup(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(inputs[2])


def _interpolate_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    (alpha,) = ctx.saved_tensors
    return (*interpolate_gradients(g, alpha, ctx.needs_input_grad), None)


def _norm_fake(
    gradient: Tensor, kind: str, target: float, weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    wide = reference.wide_dtype(gradient.dtype)
    return (
        gradient.new_empty((), dtype=wide),
        gradient.new_empty(gradient.shape[0], dtype=wide),
        gradient.new_empty(gradient.shape, dtype=wide),
    )


def _norm_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    gradient, *ctx.profile = inputs
    ctx.save_for_backward(gradient)


def _norm_backward(
    ctx: Any, by_penalty: Tensor, by_norms: Tensor, by_cotangent: Tensor
) -> tuple[Tensor, None, None, None]:
    (gradient,) = ctx.saved_tensors
    _, _, cotangent = reference.norm_penalty(gradient, *ctx.profile)
    _, directions = reference.polar(gradient.to(cotangent.dtype))
    curved = reference.curvature_product(gradient, by_cotangent, *ctx.profile)
    total = by_penalty * cotangent + by_norms[:, None] * directions + curved
    return total.to(gradient.dtype), None, None, None


LIBRARY.impl("gradient_penalty_interpolate", run_interpolate, "CompositeExplicitAutograd")
LIBRARY.impl("gradient_penalty_norm", run_norm_penalty, "CompositeExplicitAutograd")
torch.library.register_fake(
    "fastwgan::gradient_penalty_interpolate", _interpolate_fake, lib=LIBRARY
)
torch.library.register_fake("fastwgan::gradient_penalty_norm", _norm_fake, lib=LIBRARY)
torch.library.register_autograd(
    "fastwgan::gradient_penalty_interpolate",
    _interpolate_backward,
    setup_context=_interpolate_setup,
    lib=LIBRARY,
)
torch.library.register_autograd(
    "fastwgan::gradient_penalty_norm", _norm_backward, setup_context=_norm_setup, lib=LIBRARY
)
