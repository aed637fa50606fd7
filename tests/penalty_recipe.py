"""The gradient penalty as everyone writes it: autograd's double backward, and nothing of ours."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import fastwgan
from tests.compare import assert_gradients_match, assert_matches

KINDS = ("wgan-gp", "wgan-lp", "r1", "r2", "dragan")


def samples(*shape: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Real and fake, [5, 6] unless said otherwise."""
    real, fake = torch.randn(2, *(shape or (5, 6)), dtype=torch.float64).to(dtype).unbind(0)
    return real, fake


class Outcome(NamedTuple):
    """What one penalty and its backward left behind."""

    penalty: Tensor
    gradients: list[Tensor | None]
    buffers: dict[str, Tensor]
    random: Tensor


def plain_points(
    real: Tensor, fake: Tensor | None, kind: str, alpha: Tensor | None, groups: int, generator: Any
) -> Tensor:
    if kind == "r1":
        return real * 1
    if kind == "r2":
        assert fake is not None
        return fake * 1
    wide = torch.float64 if real.dtype is torch.float64 else torch.float32
    if kind == "dragan":
        if alpha is None:
            alpha = torch.rand(real.shape, dtype=wide, generator=generator)
        return real + 0.5 * real.std() * alpha.to(real.dtype)
    assert fake is not None
    if alpha is None:
        alpha = torch.rand(real.shape[0] // groups, dtype=wide, generator=generator)
    share = alpha.reshape(-1).repeat_interleave(groups).to(real.dtype)
    share = share.view(-1, *[1] * (real.dim() - 1))
    return share * real + (1 - share) * fake


def plain_penalty(
    critic: Any,
    real: Tensor,
    fake: Tensor | None = None,
    *,
    kind: str = "wgan-gp",
    weight: float = 10.0,
    target: float = 1.0,
    alpha: Tensor | None = None,
    groups: int = 1,
    generator: Any = None,
) -> tuple[Tensor, Tensor]:
    """The penalty, and the scores, from which follows which parameters they depend on."""
    points = plain_points(real, fake, kind, alpha, groups, generator)
    if not points.requires_grad:
        points.requires_grad_()
    scores = critic(points.clone())  # the clone may be written to
    (gradient,) = torch.autograd.grad(scores.sum(), points, create_graph=True)
    norms = gradient.reshape(real.shape[0] // groups, -1).norm(dim=1)
    if kind in ("r1", "r2"):
        values = norms.square()
    elif kind == "wgan-lp":
        values = (norms - target).clamp(min=0).square()
    else:
        values = (norms - target).square()
    return weight * values.mean(), scores


def run_plain(critic: nn.Module, leaves: list[Tensor], *arguments: Any, **options: Any) -> Outcome:
    """The recipe; leaves that the scores depend on and the penalty does not get zeros."""
    penalty, scores = plain_penalty(critic, *arguments, **options)
    gradients: tuple[Tensor | None, ...] = (None,) * len(leaves)
    reached = gradients
    if leaves:
        reached = torch.autograd.grad(scores.sum(), leaves, allow_unused=True, retain_graph=True)
    if leaves and penalty.requires_grad:
        gradients = torch.autograd.grad(penalty, leaves, allow_unused=True)
    filled = [
        torch.zeros_like(leaf) if gradient is None and dependent is not None else gradient
        for gradient, dependent, leaf in zip(gradients, reached, leaves, strict=True)
    ]
    return Outcome(penalty.detach(), filled, _buffers(critic), torch.get_rng_state())


def run_ours(critic: nn.Module, leaves: list[Tensor], *arguments: Any, **options: Any) -> Outcome:
    for leaf in leaves:
        leaf.grad = None
    penalty = fastwgan.gradient_penalty(critic, *arguments, **options)
    if penalty.requires_grad:
        penalty.backward()
    gradients = [leaf.grad for leaf in leaves]
    return Outcome(penalty.detach(), gradients, _buffers(critic), torch.get_rng_state())


def assert_as_the_recipe(
    critic: nn.Module,
    real: Tensor,
    fake: Tensor | None,
    *,
    reference: torch.dtype = torch.float64,
    engine: str = "auto",
    **options: Any,
) -> Outcome:
    """Value, every gradient (of real and fake too, where they require it), buffers, generator."""
    twin = copy.deepcopy(critic)
    sets = []
    for model, dtype in ((critic, real.dtype), (twin.to(reference), reference)):
        samples = [
            None if t is None else t.detach().to(dtype).clone().requires_grad_(t.requires_grad)
            for t in (real, fake)
        ]
        leaves = [p for p in model.parameters() if p.requires_grad]
        sets.append(
            (model, [*leaves, *(t for t in samples if t is not None and t.requires_grad)], samples)
        )
    random = torch.get_rng_state()
    expected = run_plain(sets[1][0], sets[1][1], *sets[1][2], **options)
    torch.set_rng_state(random)
    actual = run_ours(sets[0][0], sets[0][1], *sets[0][2], engine=engine, **options)
    assert actual.penalty.shape == ()
    assert_matches(actual.penalty, expected.penalty, op="penalty", order=0)
    if any(g is not None and bool(g.any()) for g in expected.gradients):
        assert_gradients_match(actual.gradients, expected.gradients, op="penalty", order=1)
    else:
        for got, want in zip(actual.gradients, expected.gradients, strict=True):
            assert (got is None) == (want is None)
            assert got is None or not bool(got.any())
    assert actual.buffers.keys() == expected.buffers.keys()
    for name, buffer in actual.buffers.items():
        if buffer.is_floating_point():
            assert_matches(buffer, expected.buffers[name], op="penalty", order=0, context=name)
        else:
            assert torch.equal(buffer, expected.buffers[name])
    assert torch.equal(actual.random, expected.random), "the generator moved otherwise"
    return actual


def _buffers(critic: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.detach().clone() for name, buffer in critic.named_buffers()}


def gradients_of(critic: nn.Module) -> list[Tensor | None]:
    """Copies of the gradients accumulated in the parameters."""
    return [None if p.grad is None else p.grad.clone() for p in critic.parameters()]


def zeros_for_none(critic: nn.Module) -> list[Tensor]:
    """The gradients, zeros where autograd gives none: what is expected for parameters reached."""
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in critic.parameters()]
