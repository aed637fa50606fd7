"""Critics put together at random, held against the plain recipes in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, note, settings
from hypothesis import strategies as st
from torch import Tensor

import fastwgan
from tests.critic_loss_recipe import LOSSES, assert_step_is_the_plain_one
from tests.penalty_recipe import KINDS, assert_as_the_recipe
from tests.random_critics import MOVES, Move, RandomCritic

SHAPES = [(6,), (2, 4, 4), (3, 4)]
LOCAL = {"logsumexp"}  # left without rules, so that some critics have a layer of that kind
NUMBERS = st.integers(0, 30)
CRITICS = st.builds(
    RandomCritic,
    st.lists(
        st.builds(Move, st.sampled_from(sorted(MOVES)), NUMBERS, NUMBERS, NUMBERS),
        min_size=1,
        max_size=9,
    ),
    st.shared(st.sampled_from(SHAPES), key="shape"),
)
SHAPE = st.shared(st.sampled_from(SHAPES), key="shape")


def _samples(shape: tuple[int, ...], rows: int, flows: bool) -> list[Tensor]:
    generator = torch.Generator().manual_seed(rows)
    pair = torch.randn(2, rows, *shape, generator=generator, dtype=torch.float64)
    return [t.clone().requires_grad_(flows) for t in pair]


def _alpha(kind: Any, samples: list[Tensor]) -> dict[str, Any]:
    if kind in ("r1", "r2") or not isinstance(kind, str):
        return {}
    shape = samples[0].shape if kind == "dragan" else samples[0].shape[:1]
    generator = torch.Generator().manual_seed(1)
    return {"alpha": torch.rand(shape, generator=generator, dtype=torch.float64)}


@settings(max_examples=60, deadline=None)
@given(
    critic=CRITICS,
    shape=SHAPE,
    rows=st.integers(2, 5),
    flows=st.booleans(),
    penalty=st.sampled_from([*KINDS, (("r1", 0.5), ("r2", 2.0)), None]),
    loss=st.sampled_from(sorted(LOSSES)),
)
def test_critic_loss(
    critic: RandomCritic,
    shape: tuple[int, ...],
    rows: int,
    flows: bool,
    penalty: Any,
    loss: str,
) -> None:
    note("\n".join(map(str, critic.moves)))
    samples = _samples(shape, rows, flows)
    options = _alpha(penalty, samples)
    assert_step_is_the_plain_one(
        critic, *samples, penalty=penalty, loss=loss, engine="always", **options
    )


@settings(max_examples=60, deadline=None)
@given(
    critic=CRITICS,
    shape=SHAPE,
    rows=st.integers(2, 5),
    flows=st.booleans(),
    kind=st.sampled_from(KINDS),
)
def test_gradient_penalty(
    critic: RandomCritic, shape: tuple[int, ...], rows: int, flows: bool, kind: str
) -> None:
    note("\n".join(map(str, critic.moves)))
    samples = _samples(shape, rows, flows)
    assert_as_the_recipe(critic, *samples, kind=kind, engine="always", **_alpha(kind, samples))


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_skip_from_the_input(rows: int) -> None:
    """The input's cotangent is asked for at the points alone, that of the branch at all rows."""
    moves = [Move("linear", 0, 1, 4), Move("activation", 0, 0, 0), Move("sum", 0, 0, 0)]
    critic = RandomCritic(moves, (6,))
    samples = _samples((6,), rows, False)
    kinds = [layer.kind for layer in fastwgan.explain(critic, samples[0]).layers]
    assert "relu" in kinds or "leaky_relu" in kinds
    alpha = torch.rand(rows, dtype=torch.float64)
    assert_step_is_the_plain_one(critic, *samples, engine="always", alpha=alpha)


@settings(max_examples=30, deadline=None)
@given(critic=CRITICS, shape=SHAPE)
def test_every_layer_has_its_rules(critic: RandomCritic, shape: tuple[int, ...]) -> None:
    report = fastwgan.explain(critic, _samples(shape, 3, False)[0])
    assert report.way == "recorded", report.reason
    assert {layer.kind for layer in report.layers if not layer.by_hand} <= LOCAL, str(report)
