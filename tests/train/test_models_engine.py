"""The trainer's critics through the penalty engine, against double backward in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import fastwgan
from tests.critic_loss_recipe import assert_step_is_the_plain_one
from tests.train.model_cases import CASES, CLASSES, Case

_ROWS = 3


def _critic(case: Case) -> nn.Module:
    """With spectral norm where the method has it; in eval, where its vectors stand still."""
    critic = case.critic().double()
    if case.method == "sn-gan":
        fastwgan.spectral_norm(critic).eval()
    return critic


def _check(case: Case, **options: Any) -> None:
    real, fake = torch.randn(2, _ROWS, *case.shape, dtype=torch.float64).unbind(0)
    labels = case.labels(_ROWS)
    assert_step_is_the_plain_one(
        _critic(case),
        real,
        fake,
        engine="always",
        real_args=labels,
        fake_args=tuple(each.flip(0) for each in labels),
        **options,
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_are_those_of_double_backward(case: Case) -> None:
    _check(case, alpha=torch.rand(_ROWS, dtype=torch.float64))


@pytest.mark.parametrize("penalty", [(("r1", 0.5), ("r2", 0.7)), "wgan-lp"], ids=str)
@pytest.mark.parametrize("method", ["wgan-gp", "sn-gan"])
def test_other_penalties_of_resnets_with_labels(method: str, penalty: Any) -> None:
    options = {} if penalty != "wgan-lp" else {"alpha": torch.rand(_ROWS, dtype=torch.float64)}
    case = Case("resnet", method, (1, 36, 36), CLASSES)
    _check(case, penalty=penalty, loss="relativistic", **options)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_layer_has_rules_and_rows_go_as_one_batch(case: Case) -> None:
    real = torch.randn(_ROWS, *case.shape, dtype=torch.float64)
    report = fastwgan.explain(_critic(case), real, *case.labels(_ROWS))
    is_plain = case.model != "resnet" and not case.classes
    assert report.way == ("direct" if is_plain else "recorded")
    assert all(layer.by_hand for layer in report.layers), str(report)
    assert "as one batch" in report.reason


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.model != "resnet" and not case.classes], ids=str
)
def test_plain_critics_are_native(case: Case) -> None:
    report = fastwgan.explain(case.critic(), torch.randn(_ROWS, *case.shape))
    assert "native" in report.reason
