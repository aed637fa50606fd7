"""The whole critic step: loss, penalties and all their gradients, without double backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fastwgan import critic_loss_arguments
from fastwgan.critic_loss_ways import by_autograd
from fastwgan.engine import compiling, distributed
from fastwgan.engine.accumulating import accumulate
from fastwgan.engine.blocks import Recorded
from fastwgan.engine.critic_step import critic_step, points_of
from fastwgan.engine.feedforward_step import step_at_once
from fastwgan.engine.jobs import Done, Job
from fastwgan.engine.losses import Loss
from fastwgan.engine.ready import ready
from fastwgan.engine.scaling import is_scaled
from fastwgan.engine.watched import is_watched
from fastwgan.penalty_points import drawn

__all__ = ["CriticLoss", "critic_loss"]


class CriticLoss(NamedTuple):
    """A critic step's numbers, on the samples' device. Only `total` is differentiable, once.

    The scalars are float64 for float64 samples, else float32; the scores have the critic's dtype.
    """

    total: Tensor
    """Loss and penalties [], what to call `backward()` on."""
    wasserstein: Tensor
    """E f(real) - E f(fake) [], whatever the loss."""
    penalty: Tensor
    """The sum of the weighted penalties [], zero without any."""
    gradient_norm: Tensor | None
    """Mean norm of the critic's gradient [] at the first penalty's points; None without any."""
    real_scores: Tensor
    """The critic's scores of `real`, in the critic's shape."""
    fake_scores: Tensor
    """Likewise of `fake`."""


def critic_loss(
    critic: Callable[..., Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    penalty: str | Sequence[tuple[str, float]] | None = "wgan-gp",
    weight: float = 10.0,
    target: float | None = None,
    alpha: Tensor | None = None,
    groups: int = 1,
    loss: str | Loss = "wasserstein",
    real_args: Sequence[Any] = (),
    fake_args: Sequence[Any] = (),
    generator: torch.Generator | None = None,
    engine: str = "auto",
    backward: bool = False,
) -> CriticLoss:
    """A critic's loss and gradient penalties, with the gradients computed in the same call.

    `critic_loss(...).total.backward()` fills the parameters' gradients, which are ready by then:
    no graph of the critic is kept, and none is differentiated twice.

    Args:
        critic: Any callable from samples [batch, *sample], and further arguments, to a real tensor
            of scores of any shape.
        real: [batch, *sample], float32, float64, bfloat16 or float16, any strides.
        fake: As real: same shape, dtype and device. Gradients flow to real and fake where they
            require it.
        penalty: A kind of `gradient_penalty`, a sequence of pairs (kind, weight), or None. "r1" and
            "r2" are taken at the loss's own samples and need no forward of their own.
        weight: Factor of the penalty named by a kind alone.
        target: The norm asked for, None for 1; for the kinds that have one.
        alpha: What to take instead of random draws, as for `gradient_penalty`.
        groups: How many consecutive samples share an alpha and count as one for the norm.
        loss: "wasserstein" (E f(fake) - E f(real)), "hinge", "logistic", "relativistic" (softplus
            of differences, pair by pair), or a callable from (real scores, fake scores) to a
            scalar, which is differentiated on its own.
        real_args: Further positional arguments of the critic with `real`, and with the penalty's
            points between real and fake; tensors have the batch as first dimension.
        fake_args: Likewise with `fake`; as many, of the same shapes.
        generator: Passed to `torch.rand`; None is the default generator of the device.
        engine: "auto", "always" or "never", as for `gradient_penalty`.
        backward: True adds the gradients to `.grad` in the same call, as `total.backward()` would;
            `total` is then detached. It spares small critics autograd's walk, a tenth of a
            millisecond. Hooks of parameters are called; those that are put on autograd's own
            accumulating nodes are seen where DistributedDataParallel puts them, else not.
            Inside `torch.compile` it breaks the graph. Not with a GradScaler, which scales `total`.

    Returns:
        A `CriticLoss`. `total` is differentiable once; all else is detached. Under `torch.no_grad`
        only values are computed. Trainable parameters that the scores depend on get zeros where
        the total does not depend on them; others None.

    Raises:
        TypeError: an argument, or what the critic or the loss returned, is of a wrong type; or
            parameters are DTensors.
        ValueError: a wrong value, shape or device; or scores without a gradient at the points.
        RuntimeError: called inside a transform of torch.func; or backward is True where autograd is
            off; or engine="always" and the critic
            has an operation that the engine cannot take, which is named; or the critic is the
            inner module of a DistributedDataParallel object.

    A DistributedDataParallel object takes the whole call as its one forward, so that `backward`
    averages the gradients over processes as after any other. Under `torch.compile` an nn.Module is
    one operation of the graph, and parameters that the scores do not depend on get zeros, not None.

    The critic's Python runs once, on `real`; what it did is repeated for `fake` and for the
    penalty's points. Vectors of spectral norm so move by one call, random masks are drawn for each
    set of rows, and running statistics move by each. Only where Python read a number out of a
    tensor (`float(x.mean())`) or the engine is not used, the critic is called for each set.

    Cost: ten products of the batch and a hidden layer's weights, where autograd takes twelve.

    Source: DESIGN 6.2; Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028, algorithm 1.
    """
    given = real, fake, alpha, real_args, fake_args
    options: dict[str, Any] = {
        "penalty": penalty,
        "weight": weight,
        "target": target,
        "groups": groups,
        "loss": loss,
        "generator": generator,
        "engine": engine,
    }
    if torch.compiler.is_compiling():
        if backward:
            return _with_backward({**options, "backward": True}, critic, *given)  # type: ignore[no-any-return]
        return _compiled(critic, *given, options)
    critic_loss_arguments.check_backward(backward)
    if isinstance(critic, DistributedDataParallel):
        found = distributed.through_ddp(critic, partial(_again, options), given)
        return _backward(found) if backward else found
    distributed.refuse_sharded(critic, "critic_loss")
    distributed.refuse_inner(critic)
    job = critic_loss_arguments.check(
        critic, real, fake, alpha=alpha, real_args=real_args, fake_args=fake_args, **options
    )
    recording = torch.is_grad_enabled()
    inferring = torch.is_inference_mode_enabled()
    outside = torch.inference_mode(False) if inferring else nullcontext()
    with outside, torch.set_grad_enabled(recording):
        job = job._replace(penalties=tuple(map(drawn, job.penalties)))
        if engine == "never" or is_watched() or critic_loss_arguments.is_generic(job, engine):
            found = _generic(job, points_of(job.penalties), None)
            return _backward(found) if backward else found
        done: Done | Recorded | None = step_at_once(job) if recording else None
        if done is None:
            points = points_of(job.penalties)
            done = critic_step(job, points, differentiate=recording)
        if isinstance(done, Recorded):
            if engine == "always":
                raise RuntimeError(f'engine was "always", and the critic has {done.refusal}.')
            found = _generic(job, points, done)
        elif backward and _accumulated(done):
            return _results(done, done.numbers.total)
        else:
            found = _finished(done)
        return _backward(found) if backward else found


def _again(
    options: dict[str, Any],
    critic: Callable[..., Tensor],
    real: Tensor,
    fake: Tensor,
    alpha: Tensor | None,
    real_args: Sequence[Any],
    fake_args: Sequence[Any],
) -> CriticLoss:
    return critic_loss(
        critic, real, fake, alpha=alpha, real_args=real_args, fake_args=fake_args, **options
    )


def _compiled(
    critic: Callable[..., Tensor],
    real: Tensor,
    fake: Tensor,
    alpha: Tensor | None,
    real_args: Sequence[Any],
    fake_args: Sequence[Any],
    options: dict[str, Any],
) -> CriticLoss:
    """The call as a compiler sees it: one operation; or, of a function, a break in its graph."""
    if not compiling.takes(critic):
        return _outside_compilers(options, critic, real, fake, alpha, real_args, fake_args)  # type: ignore[no-any-return]
    values, real_scores, fake_scores = compiling.call(
        _numbers, critic, real, fake, alpha, real_args, fake_args, True, options
    )
    rest = values.detach()
    norm = rest[3] if options["penalty"] is not None else None
    return CriticLoss(values[0], rest[1], rest[2], norm, real_scores, fake_scores)


_outside_compilers = torch.compiler.disable(_again, reason=compiling.REASON)
_with_backward = torch.compiler.disable(
    _again, reason="backward was True inside torch.compile; it must be False there for one graph."
)


def _numbers(critic: nn.Module, *given_and_options: Any) -> tuple[list[Tensor], list[Tensor]]:
    *given, options = given_and_options
    done = _again(options, critic, *given)
    norm = torch.zeros_like(done.total) if done.gradient_norm is None else done.gradient_norm
    numbers = [done.total, done.wasserstein, done.penalty, norm]
    return numbers, [done.real_scores, done.fake_scores]


def _finished(done: Done) -> CriticLoss:
    total = ready(done.numbers.total, done.tensors, done.gradients, done.scale)
    return _results(done, total)


def _results(done: Done, total: Tensor) -> CriticLoss:
    _, estimate, penalty, norm = done.numbers
    return CriticLoss(total, estimate, penalty, norm, done.real_scores, done.fake_scores)


def _generic(job: Job, points: Sequence[Tensor | None], first: Recorded | None) -> CriticLoss:
    numbers, scores = by_autograd(job, points, first)
    return CriticLoss(*numbers, *scores)


def _accumulated(done: Done) -> bool:
    """Whether the gradients could be added to `.grad` without autograd."""
    is_ready = bool(done.tensors) and not is_scaled(done.scale)
    return is_ready and accumulate(done.tensors, done.gradients)


def _backward(found: CriticLoss) -> CriticLoss:
    found.total.backward()
    return found._replace(total=found.total.detach())
