"""What the scores of `return_scores=True` keep for their backward, watch, and let go."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.penalty_critics import make
from tests.penalty_recipe import plain_penalty, samples
from tests.scores_recipe import both


def raises_when_changed(critic: nn.Module, index: int, pair: Any, run: Any) -> bool:
    model = copy.deepcopy(critic)
    _, scores = run(model, *pair)
    with torch.no_grad():
        list(model.parameters())[index].mul_(2)
    try:
        scores.sum().backward()
    except RuntimeError as error:
        return "modified by an inplace operation" in str(error)
    return False


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "mlp of leaky relu",
        "mlp of prelu",
        "dcgan in place",
        "layer norm",
        "projection of labels",
        "attention",
        "tied weights",
        "group norm",
        "batch norm",
        "batch norm in eval",
    ],
)
def test_weights_changed_before_the_backward_are_errors_where_autograd_says_so(
    name: str, frozen: bool
) -> None:
    critic, shape = make(name)
    pair = samples(4, *shape)
    if frozen:
        list(critic.parameters())[-2].requires_grad_(False)
    count = len(list(critic.parameters()))
    ours, plain = (
        [raises_when_changed(critic, index, pair, run) for index in range(count)]
        for run in (lambda *a: both(*a, engine="always"), plain_penalty)
    )
    assert ours == plain
    assert any(plain)
    assert not all(plain)


def test_weights_in_channels_last_copies_are_watched_too() -> None:
    critic = nn.Sequential(nn.Conv2d(3, 8, 3), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 6))
    _, scores = both(critic, *samples(4, 3, 8, 8, dtype=torch.float32), engine="always")
    with torch.no_grad():
        critic[2].weight.mul_(2)  # type: ignore[operator]
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        scores.sum().backward()


def test_a_changed_bias_is_none_and_neither_is_a_changed_weight_to_the_penalty() -> None:
    critic, shape = make("mlp of tanh")
    penalty, scores = both(critic, *samples(4, *shape), engine="always")
    with torch.no_grad():
        critic[0].bias.add_(1)  # type: ignore[index,union-attr,operator]
    scores.sum().backward()
    with torch.no_grad():
        critic[0].weight.add_(1)  # type: ignore[index,union-attr,operator]
    penalty.backward()


def test_an_activation_that_somebody_writes_to_is_an_error() -> None:
    critic, shape = make("mlp of tanh")
    kept = []

    def leaking(x: Tensor) -> Tensor:
        kept.append(critic[:2](x))  # type: ignore[index]
        return critic[2:](kept[0])  # type: ignore[index,no-any-return]

    _, scores = both(leaking, *samples(4, *shape), engine="always")
    with torch.no_grad():
        kept[0].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        scores.sum().backward()


def test_activations_are_free_after_the_backward_or_with_the_scores() -> None:
    critic, shape = make("dcgan in place")
    gc.collect()
    gc.disable()
    try:
        for backward in (True, False):
            penalty, scores = both(critic, *samples(4, *shape), engine="always")
            saved = [t for t in scores.grad_fn.saved_tensors if t is not None]
            weights = {p.data_ptr() for p in critic.parameters()}
            watched = [
                weakref.ref(t.untyped_storage()) for t in saved if t.data_ptr() not in weights
            ]
            assert len(watched) == 3  # the points, and what two activations made of layers
            del saved
            if backward:
                scores.sum().backward()
            else:
                del scores
            assert all(storage() is None for storage in watched)
            del penalty
    finally:
        gc.enable()


def test_activations_that_no_backward_reads_are_not_kept() -> None:
    frozen = nn.Linear(6, 9).double().requires_grad_(False)
    critic = nn.Sequential(frozen, nn.Tanh(), nn.Linear(9, 9).double(), nn.Tanh())
    _, scores = both(nn.Sequential(critic, nn.Linear(9, 1).double()), *samples(), engine="always")
    shapes = [t.shape for t in scores.grad_fn.saved_tensors if t is not None]  # type: ignore[union-attr]
    assert shapes.count(torch.Size([5, 9])) == 2  # of tanh
    assert torch.Size([5, 6]) not in shapes
