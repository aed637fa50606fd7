"""The contestants of every benchmark compute the same thing, on critics small enough to test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest
from torch import nn

from benchmarks import bench_critic_step, bench_train
from benchmarks.agreement import check_agreement
from benchmarks.critics import Layer, mlp
from benchmarks.ops import (
    bench_gradient_penalty,
    bench_rmsprop,
    bench_spectral_norm,
    bench_weight_clip,
)
from benchmarks.race import Contestant, Race
from tests.train.settings import load, small

ROUNDS = 12


def small_layers() -> list[Layer]:
    return [nn.Conv2d(3, 8, 3), nn.Linear(8, 16), nn.Linear(16, 1)]


def spectral_norm() -> tuple[Contestant, Sequence[Contestant]]:
    bench = bench_spectral_norm
    return bench.Group(small_layers), [
        bench.Hooks(small_layers),
        bench.Parametrizations(small_layers),
    ]


def rmsprop() -> tuple[Contestant, Sequence[Contestant]]:
    bench = bench_rmsprop
    return bench.Fused(small_layers), [bench.Default(small_layers), bench.Foreach(small_layers)]


def weight_clip() -> tuple[Contestant, Sequence[Contestant]]:
    bench = bench_weight_clip
    shapes = [(5, 3), (7,)]
    return bench.Fused(shapes), [bench.ClampLoop(shapes), bench.Foreach(shapes)]


def gradient_penalty() -> tuple[Contestant, Sequence[Contestant]]:
    bench = bench_gradient_penalty
    build, shape = partial(mlp, (4, 16, 16, 1), nn.ReLU), (6, 4)
    return bench.Ours(build, shape), [bench.DoubleBackward(build, shape)]


def critic_step() -> tuple[Contestant, Sequence[Contestant]]:
    bench = bench_critic_step
    build, shape = partial(mlp, (4, 16, 16, 1), nn.ReLU), (8, 4)
    return bench.Ours(build, shape), [bench.Eager(build, shape)]


def trainer() -> tuple[Contestant, Sequence[Contestant]]:
    bench = bench_train
    given = small("wgan-gp", "digits"), load("digits")
    return bench.Ours(*given), [bench.Eager(*given), bench.Joined(*given)]


CASES = [spectral_norm, rmsprop, weight_clip, gradient_penalty, critic_step, trainer]


@pytest.mark.parametrize("case", CASES)
def test_contestants_agree(case: Callable[[], tuple[Contestant, Sequence[Contestant]]]) -> None:
    ours, peers = case()
    race = Race(ours, peers)
    race.warm_up(ROUNDS)
    check_agreement(ours, peers, bound=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_inputs_change_every_step(
    case: Callable[[], tuple[Contestant, Sequence[Contestant]]],
) -> None:
    """Else a result kept from the step before would pass for a quick one."""
    _, peers = case()
    race = Race(peers[0], [])
    seen = []
    for _ in range(2):
        race.warm_up(1)
        seen.append([tensor.detach().clone() for tensor in peers[0].results()])
    assert any(not before.equal(after) for before, after in zip(*seen, strict=True))
