"""A loss of one's own beside the penalty, as everyone writes it and by `return_scores`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastwgan import gradient_penalty
from tests.compare import assert_gradients_match, assert_matches
from tests.penalty_recipe import plain_penalty


def own_loss(scores: Tensor) -> Tensor:
    return (
        3 * F.softplus(-scores).mean()
        + (scores * torch.arange(scores.numel()).view_as(scores)).mean()
    )


def both(critic: Any, *pair: Tensor | None, **options: Any) -> tuple[Tensor, Tensor]:
    return gradient_penalty(critic, *pair, return_scores=True, **options)  # type: ignore[arg-type]


def joint(penalty: Tensor, scores: Tensor) -> None:
    (penalty + own_loss(scores)).backward()


def penalty_first(penalty: Tensor, scores: Tensor) -> None:
    penalty.backward(retain_graph=True)
    own_loss(scores).backward()


def scores_first(penalty: Tensor, scores: Tensor) -> None:
    own_loss(scores).backward(retain_graph=True)
    penalty.backward()


def assert_as_plain(
    critic: nn.Module,
    pair: tuple[Tensor, Tensor],
    call: Callable[[Tensor, Tensor], None] = joint,
    **options: Any,
) -> None:
    """Both values, and all gradients of their sum: parameters', and of samples that require it."""
    engine = options.pop("engine", "auto")
    found = []
    for model, run, chosen in (
        (copy.deepcopy(critic), plain_penalty, options),
        (critic, both, {**options, "engine": engine}),
    ):
        own = [t.detach().clone().requires_grad_(t.requires_grad) for t in pair]
        torch.manual_seed(7)
        penalty, scores = run(model, *own, **chosen)
        values = penalty.detach().clone(), scores.detach().clone()
        call(penalty, scores)
        leaves = [*model.parameters(), *(t for t in own if t.requires_grad)]
        found.append((values, [torch.zeros_like(t) if t.grad is None else t.grad for t in leaves]))
    (want, expected), (got, actual) = found
    assert got[1].shape == want[1].shape
    for value, other in zip(got, want, strict=True):
        assert_matches(value, other, op="penalty", order=0)
    assert_gradients_match(actual, expected, op="penalty", order=1)
