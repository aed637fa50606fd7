"""Penalties on the norm of a critic's gradient."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from fastwgan import penalty_arguments, penalty_points
from fastwgan.engine import compiling, distributed
from fastwgan.engine.watched import is_watched
from fastwgan.penalty_ways import ByAutograd, Found, by_autograd, by_engine

__all__ = ["gradient_penalty"]


@overload
def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor | None = None,
    *,
    kind: str = "wgan-gp",
    weight: float = 10.0,
    target: float | None = None,
    alpha: Tensor | None = None,
    groups: int = 1,
    generator: torch.Generator | None = None,
    engine: str = "auto",
    return_scores: Literal[False] = False,
) -> Tensor: ...


@overload
def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor | None = None,
    *,
    kind: str = "wgan-gp",
    weight: float = 10.0,
    target: float | None = None,
    alpha: Tensor | None = None,
    groups: int = 1,
    generator: torch.Generator | None = None,
    engine: str = "auto",
    return_scores: Literal[True],
) -> tuple[Tensor, Tensor]: ...


@overload
def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor | None = None,
    *,
    kind: str = "wgan-gp",
    weight: float = 10.0,
    target: float | None = None,
    alpha: Tensor | None = None,
    groups: int = 1,
    generator: torch.Generator | None = None,
    engine: str = "auto",
    return_scores: bool,
) -> Tensor | tuple[Tensor, Tensor]: ...


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor | None = None,
    *,
    kind: str = "wgan-gp",
    weight: float = 10.0,
    target: float | None = None,
    alpha: Tensor | None = None,
    groups: int = 1,
    generator: torch.Generator | None = None,
    engine: str = "auto",
    return_scores: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Weight times the mean of a function of the norm of the critic's gradient at some points.

    The gradient g is that of the sum of all the critic's scores. The penalty is weight times the
    mean, over samples or groups of samples, of

    ========= ==================== ============================================
    kind      mean of              at the points
    ========= ==================== ============================================
    "wgan-gp" (‖g‖ - target)²      alpha real + (1 - alpha) fake
    "wgan-lp" max(0, ‖g‖-target)²  alpha real + (1 - alpha) fake
    "r1"      ‖g‖²                 real
    "r2"      ‖g‖²                 fake
    "dragan"  (‖g‖ - target)²      real + 0.5 std(real) u, u uniform on [0, 1)
    ========= ==================== ============================================

    Args:
        critic: Any callable from [batch, *sample] to a real tensor of scores of any shape, called
            once. For labels or an output of several tensors, pass a function:
            `lambda x: critic(x, labels)[0]`.
        real: [batch, *sample], float32, float64, bfloat16 or float16, any strides.
        fake: As real, same shape, dtype and device; may be left out for "r1" and "dragan".
            Gradients flow to real and fake where they require it.
        kind: One of the above.
        weight: Factor of the mean, not negative. There is no ½ besides.
        target: The norm asked for; None is 1. "r1" and "r2" have none.
        alpha: What to take instead of random draws: [batch / groups] (trailing ones allowed), or
            as real for "dragan". By default one call of `torch.rand` of that shape draws it, in
            float64 for float64 samples, else float32. "r1" and "r2" draw nothing.
        groups: How many consecutive samples share an alpha and count as one for the norm, for
            critics that judge packs of samples. Must divide the batch.
        generator: Passed to `torch.rand`; None is the default generator of the device.
        engine: "auto" computes the gradients at once, without double backward, wherever every
            operation of the critic has its rules (see docs/engine.md), and goes autograd's way
            elsewhere; "always" raises there, with the reason; "never" goes autograd's way.
        return_scores: Whether the critic's scores at the points are returned too, for a loss of
            one's own. Its activations are then kept until the scores' one backward, which the
            penalty's may precede, follow or be joined with.

    Returns:
        The penalty, or (penalty, scores), the scores in the critic's shape and differentiable as
        the penalty is. The penalty is [], in float64 for float64 samples, else float32. Norms are
        taken over all dimensions but the first, in at least that precision; at a norm of zero the
        derivative is zero. Differentiable once by the engine, to any order with `engine="never"`;
        under `torch.no_grad` only the value is computed. A trainable parameter that the scores
        depend on gets a gradient of zeros where the penalty does not depend on it; any other gets
        None.

    Raises:
        TypeError: an argument, or what the critic returned, is of a wrong type.
        ValueError: a wrong value, shape or device; or scores without a gradient at the points.
        RuntimeError: called inside a transform of torch.func.

    Running statistics, vectors of spectral norm and random generators move as by one call of the
    critic. Nothing else is changed: neither weights, nor training flags, nor an existing `.grad`.
    Under `torch.compile` an nn.Module is one operation of the graph, differentiable once, and
    parameters that the scores do not depend on get zeros; with `return_scores` the graph breaks.

    Cost: on piecewise-linear critics (linear and convolution layers, ReLU, LeakyReLU, dropout,
    pooling) four products a layer, forward and backward together, where autograd alone takes six;
    other operations add what autograd's double backward takes for them.

    Source: Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028, equation 3 ("wgan-gp"); Petzka
    et al. 2018, https://arxiv.org/abs/1709.08894, equation 8 ("wgan-lp"); Mescheder et al. 2018,
    https://arxiv.org/abs/1801.04406, equation 9 ("r1", "r2", there with a ½); Kodali et al. 2017,
    https://arxiv.org/abs/1705.07215 ("dragan").
    """
    if torch.compiler.is_compiling():
        return _compiled(
            critic,
            real,
            fake,
            alpha,
            {
                "kind": kind,
                "weight": weight,
                "target": target,
                "groups": groups,
                "generator": generator,
                "engine": engine,
            },
            return_scores,
        )
    penalty_arguments.check_engine(engine)
    penalty_arguments.check_return_scores(return_scores)
    distributed.check_penalty(critic, engine)
    arguments = penalty_arguments.check(
        critic,
        real,
        fake,
        kind=kind,
        weight=weight,
        target=target,
        alpha=alpha,
        groups=groups,
        generator=generator,
    )
    if torch._C._functorch.peek_interpreter_stack() is not None:
        raise RuntimeError(
            "gradient_penalty was called inside a torch.func transform; it must be called outside "
            "of them: take its gradient by backward() or torch.autograd.grad."
        )
    recording = torch.is_grad_enabled()
    # Inference mode could not be differentiated in at all; outside of it, no_grad does the same.
    inferring = torch.is_inference_mode_enabled()
    outside = torch.inference_mode(False) if inferring else nullcontext()
    with outside, torch.set_grad_enabled(recording):
        points = penalty_points.points(arguments)
        if not recording or engine == "never" or is_watched():
            found: Found | ByAutograd = by_autograd(critic, arguments, points)
        else:
            must = engine == "always"
            found = by_engine(critic, arguments, points, must=must, with_scores=return_scores)
    if not return_scores:
        return found.penalty
    assert found.scores is not None
    return found.penalty, found.scores


def _compiled(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor | None,
    alpha: Tensor | None,
    options: dict[str, Any],
    return_scores: bool,
) -> Tensor | tuple[Tensor, Tensor]:
    """The call as a compiler sees it: one operation, or a break in its graph."""
    if return_scores:
        return _scores_outside_compilers(  # type: ignore[no-any-return]
            critic, real, fake, alpha=alpha, return_scores=True, **options
        )
    if not compiling.takes(critic):
        return _outside_compilers(critic, real, fake, alpha=alpha, **options)  # type: ignore[no-any-return]
    values, _, _ = compiling.call(_numbers, critic, real, fake, alpha, (), (), False, options)
    return values[0]


_outside_compilers = torch.compiler.disable(gradient_penalty, reason=compiling.REASON)
_scores_outside_compilers = torch.compiler.disable(
    gradient_penalty,
    reason="return_scores was True inside torch.compile; it must be False there for one graph: "
    "critic_loss takes a loss of one's own.",
)


def _numbers(
    critic: nn.Module,
    real: Tensor,
    fake: Tensor | None,
    alpha: Tensor | None,
    *others: Any,
) -> tuple[list[Tensor], list[Tensor]]:
    options: dict[str, Any] = others[-1]
    return [gradient_penalty(critic, real, fake, alpha=alpha, **options)], []
