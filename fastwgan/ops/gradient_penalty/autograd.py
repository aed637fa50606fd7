"""Derivatives of the gradient penalty's arithmetic, right to any order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from fastwgan import backends
from fastwgan.ops.gradient_penalty import native, reference

BACKENDS = backends.Modules("fastwgan.ops.gradient_penalty", cpu=native, reference=reference)


def run_interpolate(real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
    """The mix alpha real + (1 - alpha) fake on the backend that takes these tensors."""
    backend = BACKENDS[backends.select("gradient_penalty", (real, fake, alpha))]
    if not are_channels_last(real, fake):
        interpolates: Tensor = backend.interpolate(real, fake, alpha).contiguous()
        return interpolates
    # Sample by sample in memory order, so that the critic gets the layout it would have got.
    interpolates = backend.interpolate(real.movedim(1, -1), fake.movedim(1, -1), alpha)
    return interpolates.movedim(-1, 1)


def run_norm_penalty(
    gradient: Tensor, kind: str, target: float, weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Penalty, norms and cotangent on the backend that takes the gradient."""
    backend = BACKENDS[backends.select("gradient_penalty", (gradient,))]
    result: tuple[Tensor, Tensor, Tensor] = backend.norm_penalty(gradient, kind, target, weight)
    return result


class Interpolate(Function):
    """Linear in real and in fake, and its backward is plain differentiable torch."""

    @staticmethod
    def forward(ctx: Any, real: Tensor, fake: Tensor, alpha: Tensor) -> Tensor:
        ctx.save_for_backward(alpha)
        ctx.set_materialize_grads(False)
        return run_interpolate(real, fake, alpha)

    @staticmethod
    def backward(ctx: Any, g: Tensor | None) -> tuple[Tensor | None, Tensor | None, None]:
        if g is None:
            return None, None, None
        (alpha,) = ctx.saved_tensors
        return (*interpolate_gradients(g, alpha, ctx.needs_input_grad), None)


def interpolate_gradients(
    g: Tensor, alpha: Tensor, needed: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of real and fake, None where not needed."""
    share = reference.per_sample(alpha, g)
    return (
        (share * g).to(g.dtype) if needed[0] else None,
        ((1 - share) * g).to(g.dtype) if needed[1] else None,
    )


class NormPenalty(Function):
    """The penalty, with the norms as a second output that carries no gradient."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, kind: str, target: float, weight: float
    ) -> tuple[Tensor, Tensor]:
        penalty, norms, cotangent = run_norm_penalty(gradient, kind, target, weight)
        ctx.mark_non_differentiable(norms)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(gradient, cotangent)
        ctx.profile = (kind, target, weight)
        return penalty, norms

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, _: None) -> tuple[Tensor | None, None, None, None]:
        if g is None:
            return None, None, None, None
        gradient, cotangent = ctx.saved_tensors
        if torch.is_grad_enabled():
            scaled = ScaledCotangent.apply(g, gradient, cotangent, *ctx.profile)
        else:
            scaled = (g * cotangent).to(gradient.dtype)
        return scaled, None, None, None


class ScaledCotangent(Function):
    """g times the cotangent, as a function of g and of the gradient the cotangent was taken at."""

    @staticmethod
    def forward(
        ctx: Any,
        g: Tensor,
        gradient: Tensor,
        cotangent: Tensor,
        kind: str,
        target: float,
        weight: float,
    ) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(g, gradient)
        ctx.profile = (kind, target, weight)
        return (g * cotangent).to(gradient.dtype)

    @staticmethod
    def backward(ctx: Any, t: Tensor | None) -> tuple[Tensor | None, ...]:
        if t is None:
            return (None,) * 6
        g, gradient = ctx.saved_tensors
        by_gradient = g * reference.curvature_product(gradient, t, *ctx.profile)
        _, _, cotangent = reference.norm_penalty(gradient, *ctx.profile)
        by_g = (cotangent * t).sum().to(g.dtype)
        return by_g, by_gradient.to(gradient.dtype), None, None, None, None


def are_channels_last(*tensors: Tensor) -> bool:
    """True for dense batches of images or volumes whose channels are the innermost dimension."""
    return all(
        tensor.dim() in (4, 5)
        and not tensor.is_contiguous()
        and tensor.movedim(1, -1).is_contiguous()
        for tensor in tensors
    )
