"""Penalties on the norm of a critic's gradient."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from fastwgan import penalty_arguments, penalty_points
from fastwgan.engine import compiling, distributed
from fastwgan.engine.direct import NotDirect, calls_of, run_direct
from fastwgan.engine.generic import Run, WithZeros, input_gradient, rooted, run
from fastwgan.engine.penalty import Term, by_itself
from fastwgan.engine.reached import nodes_behind
from fastwgan.engine.record import Recorder
from fastwgan.engine.tape import Block
from fastwgan.engine.twins import Twins
from fastwgan.engine.watched import is_watched
from fastwgan.ops.gradient_penalty import norm_penalty
from fastwgan.penalty_arguments import Arguments

__all__ = ["gradient_penalty"]


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
) -> Tensor:
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

    Returns:
        The penalty [], in float64 for float64 samples, else float32. Norms are taken over all
        dimensions but the first, in at least that precision; at a norm of zero the derivative is
        zero. Differentiable once by the engine, to any order with `engine="never"`; under
        `torch.no_grad` only the value is computed. A trainable parameter that the scores depend on
        gets a gradient of zeros where the penalty does not depend on it; any other gets None.

    Raises:
        TypeError: an argument, or what the critic returned, is of a wrong type.
        ValueError: a wrong value, shape or device; or scores without a gradient at the points.
        RuntimeError: called inside a transform of torch.func.

    Running statistics, vectors of spectral norm and random generators move as by one call of the
    critic. Nothing else is changed: neither weights, nor training flags, nor an existing `.grad`.
    Under `torch.compile` an nn.Module is one operation of the graph, differentiable once, and
    parameters that the scores do not depend on get zeros.

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
        )
    penalty_arguments.check_engine(engine)
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
            return generic_penalty(critic, arguments, points)
        return _by_engine(critic, arguments, points, must=engine == "always")


def _compiled(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor | None,
    alpha: Tensor | None,
    options: dict[str, Any],
) -> Tensor:
    """The call as a compiler sees it: one operation; or, of a function, a break in its graph."""
    if not compiling.takes(critic):
        return _outside_compilers(critic, real, fake, alpha=alpha, **options)  # type: ignore[no-any-return]
    values, _, _ = compiling.call(_numbers, critic, real, fake, alpha, (), (), False, options)
    return values[0]


_outside_compilers = torch.compiler.disable(gradient_penalty, reason=compiling.REASON)


def _numbers(
    critic: nn.Module,
    real: Tensor,
    fake: Tensor | None,
    alpha: Tensor | None,
    *others: Any,
) -> tuple[list[Tensor], list[Tensor]]:
    options: dict[str, Any] = others[-1]
    return [gradient_penalty(critic, real, fake, alpha=alpha, **options)], []


def _by_engine(
    critic: Callable[[Tensor], Tensor], arguments: Arguments, points: Tensor, must: bool
) -> Tensor:
    """The engine's passes over a recording of the critic, or what autograd recorded with it."""
    flows = points.requires_grad  # before it is the root of a recording, and always does
    block = _directly(critic, points)
    if block is None:
        root = rooted(points)
        recorder = Recorder([root])
        at = run(critic, root, recorder)
        recorder.finish(at.scores, at.edge.node)
        if recorder.refusal is not None:
            if must:
                raise RuntimeError(f'engine was "always", and the critic has {recorder.refusal}.')
            return _differentiated(at, arguments, points, recording=True)[0]
        block = recorder.block
        del at, root
    term = Term(None, arguments.kind, arguments.weight, arguments.target, arguments.groups)
    return by_itself(block, term, points if flows else None)


def _directly(critic: Callable[[Tensor], Tensor], points: Tensor) -> Block | None:
    """The critic's tensors at the points, where it need not be called to have them."""
    calls = calls_of(critic)
    if not calls:
        return None
    try:
        return run_direct(calls, points.detach())
    except NotDirect:
        return None


def generic_penalty(
    critic: Callable[[Tensor], Tensor], arguments: Arguments, points: Tensor
) -> Tensor:
    """The penalty by autograd's double backward, over twins."""
    return generic_penalty_at(critic, arguments, points)[0]


def generic_penalty_at(
    critic: Callable[[Tensor], Tensor], arguments: Arguments, points: Tensor
) -> tuple[Tensor, Tensor]:
    """The same, with the norms [rows / groups]."""
    recording = torch.is_grad_enabled()
    at = run(critic, rooted(points), Twins() if recording else nullcontext())
    return _differentiated(at, arguments, points, recording)


def _differentiated(
    at: Run, arguments: Arguments, points: Tensor, recording: bool
) -> tuple[Tensor, Tensor]:
    flows = points.grad_fn is not None and type(points.grad_fn).__name__ != "RootBackward"
    found = input_gradient(at, differentiable=recording, flows=flows)
    rows = found.gradient.reshape(arguments.rows, -1)
    penalty, norms = norm_penalty(rows, arguments.kind, arguments.target, arguments.weight)
    if not recording:
        return penalty.detach(), norms
    behind = nodes_behind(penalty.grad_fn, stop=found.points, surely=True)
    without = [
        node.variable
        for node in found.behind_scores
        if hasattr(node, "variable") and node not in behind
    ]
    if flows and found.points not in behind:
        without.append(points)
    return (WithZeros.apply(penalty, *without) if without else penalty), norms
