"""A whole critic step as everyone writes it, and the same by `critic_loss`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fastwgan
from tests.compare import assert_gradients_match, assert_matches
from tests.penalty_recipe import plain_points

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "wasserstein": lambda real, fake: fake.mean() - real.mean(),
    "hinge": lambda real, fake: (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean(),
    "logistic": lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(),
    "relativistic": lambda real, fake: F.softplus(fake - real).mean(),
}


class Step(NamedTuple):
    """What one critic step computed."""

    total: Tensor
    wasserstein: Tensor
    penalty: Tensor
    gradient_norm: Tensor | None
    gradients: list[Tensor | None]


def plain_step(
    critic: Any,
    leaves: Sequence[Tensor],
    real: Tensor,
    fake: Tensor,
    *,
    penalty: Any = "wgan-gp",
    weight: float = 10.0,
    target: float | None = None,
    alpha: Tensor | None = None,
    groups: int = 1,
    loss: Any = "wasserstein",
    real_args: tuple[Any, ...] = (),
    fake_args: tuple[Any, ...] = (),
    critic_of_points: Any = None,
) -> Step:
    pairs = [(penalty, weight)] if isinstance(penalty, str) else list(penalty or [])
    real_scores, fake_scores = critic(real * 1, *real_args), critic(fake * 1, *fake_args)
    value = (LOSSES[loss] if isinstance(loss, str) else loss)(real_scores, fake_scores)
    total, penalties, norms = value, torch.zeros(()), None
    for kind, factor in pairs:
        points = plain_points(real, fake, kind, alpha, groups, None)
        if not points.requires_grad:
            points.requires_grad_()
        scores = critic(points * 1, *(fake_args if kind == "r2" else real_args))
        (gradient,) = torch.autograd.grad(scores.sum(), points, create_graph=True)
        lengths = gradient.reshape(len(real) // groups, -1).norm(dim=1)
        excess = lengths if kind in ("r1", "r2") else lengths - (1.0 if target is None else target)
        if kind == "wgan-lp":
            excess = excess.clamp(min=0)
        term = factor * excess.square().mean()
        total, penalties = total + term, penalties + term.detach()
        norms = lengths.detach().mean() if norms is None else norms
    gradients: Sequence[Tensor | None] = [None] * len(leaves)
    if leaves:
        gradients = torch.autograd.grad(total, list(leaves), allow_unused=True)
    estimate = (real_scores.mean() - fake_scores.mean()).detach()
    return Step(total.detach(), estimate, penalties, norms, list(gradients))


def our_step(critic: Any, leaves: Sequence[Tensor], *samples: Tensor, **options: Any) -> Step:
    for leaf in leaves:
        leaf.grad = None
    done = fastwgan.critic_loss(critic, *samples, **options)
    if leaves:
        done.total.backward()
    detached = (done.wasserstein, done.penalty, done.real_scores, done.fake_scores)
    assert not any(t.requires_grad for t in detached)
    return Step(
        done.total.detach(),
        done.wasserstein,
        done.penalty,
        done.gradient_norm,
        [leaf.grad for leaf in leaves],
    )


def assert_step_is_the_plain_one(
    critic: nn.Module, real: Tensor, fake: Tensor, *, engine: str = "auto", **options: Any
) -> Step:
    """Values and every gradient, of real and fake too where they require it, against float64."""
    twin = copy.deepcopy(critic).double()
    steps = []
    for model, dtype, step in ((twin, torch.float64, plain_step), (critic, real.dtype, our_step)):
        pair = [t.detach().to(dtype).clone().requires_grad_(t.requires_grad) for t in (real, fake)]
        leaves = [p for p in model.parameters() if p.requires_grad]
        leaves += [t for t in pair if t.requires_grad]
        chosen = dict(options) if step is plain_step else {**options, "engine": engine}
        if isinstance(chosen.get("alpha"), Tensor):
            chosen["alpha"] = chosen["alpha"].to(dtype)
        torch.manual_seed(3)
        steps.append(step(model, leaves, *pair, **chosen))
    expected, actual = steps
    for name in ("total", "wasserstein", "penalty", "gradient_norm"):
        got, want = getattr(actual, name), getattr(expected, name)
        if want is None:
            assert got is None, name
        elif name == "penalty" and not want.any():
            assert not got.any()
        else:
            assert got.shape == ()
            assert_matches(got, want, op="penalty", order=0, context=name)
    filled = [
        g if g is not None or e is None else torch.zeros_like(e)
        for g, e in zip(actual.gradients, expected.gradients, strict=True)
    ]
    wanted = [
        torch.zeros_like(g) if e is None and g is not None else e
        for g, e in zip(filled, expected.gradients, strict=True)
    ]
    if any(g is not None for g in wanted):
        assert_gradients_match(filled, wanted, op="penalty", order=1)
    return actual
