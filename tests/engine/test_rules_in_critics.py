"""Every kind between layers of a critic: the engine's penalty held against the recipe."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from fastwgan.engine.generic import rooted, run
from fastwgan.engine.record import Recorder
from fastwgan.engine.replay import is_row_wise, replay
from fastwgan.engine.rules.local import Local
from tests.engine.rule_cases import CASES, Case
from tests.penalty_recipe import assert_as_the_recipe, samples

NAMES = list(CASES)
ONE_IS_TOO_FEW = ("batch norm", "batch norm, bare", "var of rows")


def _double_backward(case: Case) -> Any:
    """Torch's fast attention has none, for the recipe to go through."""
    return sdpa_kernel(SDPBackend.MATH) if case.kind == "attention" else nullcontext()


class Between(nn.Module):
    """A layer, the case, and a layer of each element."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case
        self.before = nn.Linear(5, math.prod(case.shape))
        self.after = nn.Linear(1, 3)
        self.weights = nn.ParameterList([torch.rand(shape) + 0.5 for shape in case.weights])

    def forward(self, x: Tensor) -> Tensor:
        h = self.before(x).view(-1, *self.case.shape)
        h = F.softplus(h) + 0.2 if self.case.positive else h
        with _double_backward(self.case):
            found = self.case.call(h, *self.weights)
        scores = [
            torch.tanh(self.after(y.unsqueeze(-1) if y.dim() else y.view(1, 1)))
            for y in (found if isinstance(found, (tuple, list)) else (found,))
        ]
        if not self.case.row_wise:
            return sum(y.sum() for y in scores)  # type: ignore[return-value]
        return sum(y.flatten(1).sum(1) for y in scores)  # type: ignore[return-value]


def make(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(5)
    return Between(CASES[name]).to(dtype)


def recorded(critic: nn.Module, x: Tensor) -> Recorder:
    root = rooted(x.clone())
    recorder = Recorder([root])
    at = run(critic, root, recorder)
    recorder.finish(at.scores, at.edge.node)
    assert recorder.refusal is None
    return recorder


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [1, 5])
def test_as_the_recipe(name: str, rows: int) -> None:
    if rows == 1 and name in ONE_IS_TOO_FEW:
        pytest.skip("no variance of one")
    critic = make(name)
    assert_as_the_recipe(critic, *samples(rows, 5), engine="always")


@pytest.mark.parametrize("name", NAMES)
def test_as_the_recipe_with_gradients_of_the_samples(name: str) -> None:
    critic = make(name)
    real, fake = (t.requires_grad_() for t in samples(3, 5))
    assert_as_the_recipe(critic, real, fake, engine="always", kind="wgan-lp", target=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_single_precision(name: str) -> None:
    if name in ("double", "float"):
        pytest.skip("names a dtype")
    critic = make(name, torch.float32)
    alpha = torch.rand(4)
    assert_as_the_recipe(critic, *samples(4, 5, dtype=torch.float32), engine="always", alpha=alpha)


@pytest.mark.parametrize("name", NAMES)
def test_recorded_by_its_own_rule_and_replayed(name: str) -> None:
    case, critic = CASES[name], make(name)
    tape = recorded(critic, torch.randn(5, 5).double()).tape
    kinds = [node.rule.kind for node in tape.nodes]
    assert case.kind in kinds
    assert not any(isinstance(node.rule, Local) for node in tape.nodes), kinds
    assert is_row_wise(tape) is case.row_wise
    rows = 8 if case.row_wise else 5
    others = torch.randn(rows, 5).double()
    with torch.no_grad():
        expected = critic(others)
    torch.testing.assert_close(replay(tape, [others]).scores, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["softmax", "layer norm", "add positions", "pad", "view"])
def test_rows_as_many_as_features(name: str) -> None:
    """Where sizes coincide, only the form of the call can tell rows from features."""
    shape = CASES[name].shape
    for rows in {*shape, 1}:
        assert_as_the_recipe(make(name), *samples(rows, 5), engine="always")
