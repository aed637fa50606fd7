"""The value of `gradient_penalty`, the points it is taken at, and what is drawn for them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fastwgan import gradient_penalty
from tests.compare import assert_matches
from tests.penalty_critics import Function, mlp
from tests.penalty_recipe import (
    KINDS,
    assert_as_the_recipe,
    plain_points,
    samples,
)
from tests.penalty_watch import Draws, Recording

INTERPOLATING = ("wgan-gp", "wgan-lp")


@pytest.mark.parametrize(
    ("slope", "options", "expected"),
    [
        (3.0, {}, 10 * 4),
        (3.0, {"weight": 1}, 4),
        (3.0, {"weight": 0}, 0),
        (3.0, {"target": 3}, 0),
        (3.0, {"target": 0.0, "weight": 2.0}, 18),
        (0.5, {}, 2.5),
        (0.5, {"kind": "wgan-lp"}, 0),
        (3.0, {"kind": "wgan-lp"}, 40),
        (3.0, {"kind": "wgan-lp", "target": 2.5}, 2.5),
        (3.0, {"kind": "r1", "weight": 1.0}, 9),  # no hidden half
        (3.0, {"kind": "r2"}, 90),
        (3.0, {"kind": "dragan"}, 40),
        (3.0, {"kind": "dragan", "target": 2}, 10),
        (0.0, {"kind": "wgan-gp"}, 10),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_values_by_hand(
    slope: float, options: dict[str, Any], expected: float, dtype: torch.dtype
) -> None:
    direction = torch.tensor([0.0, -1.0, 0.0], dtype=dtype)  # of length 1 to the last bit
    real, fake = samples(4, 3, dtype=dtype)
    got = gradient_penalty(lambda x: slope * (x @ direction), real, fake, **options)
    assert got.dtype is dtype
    assert got.shape == ()
    assert_matches(got, torch.tensor(float(expected), dtype=torch.float64), op="penalty", order=0)


def test_all_scores_are_summed() -> None:
    real, fake = samples(4, 3)
    one = gradient_penalty(lambda x: x.sum(1), real, fake, kind="r1")
    for scores in (
        lambda x: x,
        lambda x: x.view(4, 1, 3),
        lambda x: x.sum(),
        lambda x: x.t().contiguous(),
        lambda x: torch.stack([x, x]) / 2,
        lambda x: x[:, None, None, :],
    ):
        assert torch.equal(gradient_penalty(scores, real, fake, kind="r1"), one)
    assert one.item() == pytest.approx(30.0)


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 2, 3), (4, 2, 3, 2, 2), (1, 1)])
def test_norm_is_taken_over_all_dimensions_but_the_first(shape: tuple[int, ...]) -> None:
    real, fake = samples(*shape)
    got = gradient_penalty(lambda x: x.sum(), real, fake, weight=1.0)
    size = real.numel() // shape[0]
    assert got.item() == pytest.approx((math.sqrt(size) - 1) ** 2, abs=1e-12)


@given(
    groups=st.integers(1, 4),
    per=st.integers(1, 4),
    shape=st.lists(st.integers(1, 4), max_size=3),
    kind=st.sampled_from(KINDS),
    weight=st.floats(0.01, 50),
    target=st.floats(0, 5),
    seed=st.integers(0, 999),
)
def test_any_shape_and_grouping(
    groups: int, per: int, shape: list[int], kind: str, weight: float, target: float, seed: int
) -> None:
    torch.manual_seed(seed)
    real, fake = (t.requires_grad_() for t in samples(groups * per, *shape))
    options: dict[str, Any] = {} if kind in ("r1", "r2") else {"target": target}

    class Cubic(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            packed = x.reshape(per, -1)
            return (packed * 1.3).pow(3).sum(1) + packed.sum(1).sin()

    assert_as_the_recipe(Cubic(), real, fake, kind=kind, weight=weight, groups=groups, **options)


def test_conditional_critics_and_tuples_by_closure() -> None:
    labels = torch.tensor([0, 2, 1, 0, 1])
    embedding, body = nn.Embedding(3, 6).double(), mlp(nn.ReLU).double()
    critic = Function(
        lambda c, x: {"score": c.body(x + c.embedding(labels)), "other": x}["score"],
        embedding=embedding,
        body=body,
    )
    assert_as_the_recipe(critic, *samples())
    real, fake = samples()
    alpha = torch.rand(5, dtype=torch.float64)

    def pair(x: Tensor) -> tuple[Tensor, Tensor]:
        return body(x), x.sum()

    by_lambda = gradient_penalty(lambda x: pair(x)[0], real, fake, alpha=alpha)
    assert torch.equal(by_lambda, gradient_penalty(body, real, fake, alpha=alpha))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [1, 2])
def test_one_draw_of_torch_rand_or_none(kind: str, groups: int) -> None:
    real, fake = samples(6, 3)
    with Draws() as draws:
        gradient_penalty(lambda x: x.sum(1), real, fake, kind=kind, groups=groups)
    shape = (6, 3) if kind == "dragan" else (6 // groups,)
    assert draws.found == ([] if kind in ("r1", "r2") else [("rand", shape)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_the_points(kind: str, dtype: torch.dtype) -> None:
    real, fake = samples(6, 3, 2, dtype=dtype)
    critic = Recording(lambda x: x.float().square().sum((1, 2)))
    torch.manual_seed(5)
    gradient_penalty(critic, real, fake, kind=kind, groups=2)
    after = torch.get_rng_state()
    torch.manual_seed(5)
    wide = torch.float64 if dtype is torch.float64 else torch.float32
    expected = plain_points(real.to(wide), fake.to(wide), kind, None, 2, None).to(dtype)
    assert torch.equal(torch.get_rng_state(), after)
    (points,) = critic.calls
    assert points.dtype is dtype
    difference = (points.double() - expected.double()).abs().max()
    assert difference <= 2 * torch.finfo(dtype).eps * expected.abs().max()
    if kind == "r1":
        assert torch.equal(points, real)
    if kind == "r2":
        assert torch.equal(points, fake)


def test_dragan_moves_up_by_less_than_half_a_deviation() -> None:
    real, _ = samples(50, 3)
    critic = Recording(lambda x: x.sum(1))
    gradient_penalty(critic, real, kind="dragan")
    shift = (critic.calls[0] - real) / real.std()
    assert shift.min() >= 0
    assert 0.49 < shift.max() < 0.5
    assert shift.unique().numel() == 150  # one draw an element
    for one in (torch.zeros(1, 1), torch.ones(1)):
        assert torch.isfinite(gradient_penalty(lambda x: x.sum(), one, kind="dragan"))


@pytest.mark.parametrize("kind", INTERPOLATING)
@pytest.mark.parametrize("groups", [1, 3])
def test_given_alpha_draws_nothing_and_is_read_in_any_form(kind: str, groups: int) -> None:
    real, fake = samples(6, 4)
    alpha = torch.rand(6 // groups, dtype=torch.float64)
    state = torch.get_rng_state()
    expected = None
    forms = (
        alpha,
        alpha[:, None],
        alpha.view(-1, 1, 1, 1),
        torch.stack([alpha, alpha], 1)[:, 0],
        nn.Parameter(alpha).detach(),
    )
    for form in forms:
        critic = Recording(lambda x: x.square().sum(1))
        before = form.clone()
        gradient_penalty(critic, real, fake, kind=kind, alpha=form, groups=groups)
        assert torch.equal(form, before)
        expected = critic.calls[0] if expected is None else expected
        assert torch.equal(critic.calls[0], expected)
    wanted = plain_points(real, fake, kind, alpha, groups, None)
    assert expected is not None
    torch.testing.assert_close(expected, wanted, rtol=1e-14, atol=1e-15)
    assert torch.equal(torch.get_rng_state(), state)


def test_one_alpha_for_all_by_expansion() -> None:
    real, fake = samples()
    critic = Recording(lambda x: x.square().sum(1))
    gradient_penalty(critic, real, fake, alpha=torch.tensor([0.25]).expand(5))
    torch.testing.assert_close(critic.calls[0], 0.25 * real + 0.75 * fake)


def test_generator() -> None:
    real, fake = samples()
    critic = mlp(nn.Tanh).double()
    for kind in KINDS:
        state = torch.get_rng_state()
        generator = torch.Generator().manual_seed(3)
        one = gradient_penalty(critic, real, fake, kind=kind, generator=generator)
        moved = not torch.equal(generator.get_state(), torch.Generator().manual_seed(3).get_state())
        assert moved == (kind not in ("r1", "r2"))
        two = gradient_penalty(
            critic, real, fake, kind=kind, generator=torch.Generator().manual_seed(3)
        )
        assert torch.equal(one, two)
        assert torch.equal(torch.get_rng_state(), state)


def test_fake_may_be_left_out_or_ignored() -> None:
    real, fake = samples()
    critic = mlp(nn.Tanh).double()
    for kind in ("r1", "dragan"):
        torch.manual_seed(1)
        without = gradient_penalty(critic, real, kind=kind)
        torch.manual_seed(1)
        assert torch.equal(without, gradient_penalty(critic, real, fake, kind=kind))
