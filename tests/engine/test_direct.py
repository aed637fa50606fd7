"""Critics of torch's own modules: what is called instead of them, and when they are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastwgan.engine import blocks, direct
from fastwgan.engine.direct import calls_of
from tests.critic_loss_recipe import assert_step_is_the_plain_one, our_step

Case = tuple[Callable[[], nn.Module], tuple[int, ...]]

MODULES: dict[str, Case] = {
    "linear": (lambda: nn.Linear(6, 4), (6,)),
    "linear without bias": (lambda: nn.Linear(6, 4, bias=False), (5, 6)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2), (4, 9)),
    "conv2d": (lambda: nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), groups=2), (4, 7, 6)),
    "conv2d, same": (lambda: nn.Conv2d(4, 6, 3, padding="same", dilation=2), (4, 7, 6)),
    "conv2d, valid": (lambda: nn.Conv2d(4, 6, 3, padding="valid", bias=False), (4, 7, 6)),
    "conv3d": (lambda: nn.Conv3d(2, 3, 3, padding=1, stride=2), (2, 5, 4, 5)),
    "relu": (nn.ReLU, (6,)),
    "relu in place": (lambda: nn.ReLU(inplace=True), (6,)),
    "leaky relu": (lambda: nn.LeakyReLU(0.3), (4, 5)),
    "leaky relu in place": (lambda: nn.LeakyReLU(0.3, inplace=True), (4, 5)),
    "leaky relu that falls": (lambda: nn.LeakyReLU(-0.5), (4, 5)),
    "tanh": (nn.Tanh, (6,)),
    "sigmoid": (nn.Sigmoid, (6,)),
    "silu": (nn.SiLU, (6,)),
    "silu in place": (lambda: nn.SiLU(inplace=True), (6,)),
    "elu": (lambda: nn.ELU(0.7), (6,)),
    "elu in place": (lambda: nn.ELU(0.7, inplace=True), (6,)),
    "softplus": (lambda: nn.Softplus(2.0, 1.5), (6,)),
    "prelu": (nn.PReLU, (6,)),
    "prelu of channels": (lambda: nn.PReLU(4, 0.1), (4, 5)),
    "dropout": (lambda: nn.Dropout(0.4), (40,)),
    "dropout in place": (lambda: nn.Dropout(0.4, inplace=True), (40,)),
    "dropout of all": (lambda: nn.Dropout(1.0), (40,)),
    "dropout in eval": (lambda: nn.Dropout(0.4).eval(), (40,)),
    "flatten": (nn.Flatten, (4, 5, 2)),
    "flatten some": (lambda: nn.Flatten(2, 3), (4, 5, 2, 3)),
    "layer norm": (lambda: nn.LayerNorm((4, 5), eps=0.1), (4, 5)),
    "layer norm without bias": (lambda: nn.LayerNorm(5, bias=False), (4, 5)),
    "layer norm, bare": (lambda: nn.LayerNorm(5, elementwise_affine=False), (4, 5)),
    "identity": (nn.Identity, (6,)),
    "nested": (
        lambda: nn.Sequential(nn.Sequential(nn.Linear(6, 4), nn.Identity()), nn.ReLU()),
        (6,),
    ),
}


def _module(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(3)
    make, shape = MODULES[name]
    module = make().double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module, torch.randn(4, *shape, dtype=torch.float64)


def test_every_class_of_the_table_has_a_case() -> None:
    covered = {type(part) for make, _ in MODULES.values() for part in make().modules()}
    assert set(direct._CALLS) <= covered


@pytest.mark.parametrize("name", MODULES)
def test_what_is_called_equals_the_module(name: str) -> None:
    module, x = _module(name)
    calls = calls_of(module)
    assert calls is not None
    torch.manual_seed(9)
    found = x.clone()
    for function, args in calls:
        found = function(found, *args)
    torch.manual_seed(9)
    assert torch.equal(found, module(x.clone()))


def _direct_only(*args: Any) -> Any:
    raise AssertionError("the critic was called")


def _recorded_only(critic: Any) -> None:
    return None


def _critic_of(name: str) -> tuple[nn.Module, list[Tensor]]:
    """The module between layers, and samples."""
    module, x = _module(name)
    outputs = module(x.clone())[0].numel()
    body = nn.Sequential(module, nn.Flatten(), nn.Linear(outputs, 3), nn.LeakyReLU(0.2))
    critic = nn.Sequential(body, nn.Linear(3, 1))
    if x.dim() == 2:  # only vectors can come from a layer before, by what is in the table
        critic = nn.Sequential(nn.Linear(x.shape[1], x.shape[1]), *critic)
    return critic.double(), [x, torch.randn_like(x)]


BY_HAND = [name for name in MODULES if name != "leaky relu that falls"]
SAME = [name for name in BY_HAND if not name.startswith("dropout")] + ["dropout in eval"]


def _must_not_be_called(*args: Any) -> Any:
    raise AssertionError("the critic was called")


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("flows", [False, True])
def test_direct_and_recorded_ways_give_the_same(
    name: str, flows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    critic, samples = _critic_of(name)
    pair = [t.requires_grad_(flows) for t in samples]
    leaves = [*critic.parameters(), *(pair if flows else [])]
    steps = []
    for switch in (("record", _must_not_be_called), ("calls_of", lambda _: None)):
        with monkeypatch.context() as context:
            context.setattr(blocks, *switch)
            torch.manual_seed(8)
            steps.append(our_step(critic, leaves, *pair))
    _assert_same(*steps)


@pytest.mark.parametrize("name", [*SAME, "leaky relu that falls"])
def test_as_the_plain_step(name: str) -> None:
    critic, samples = _critic_of(name)
    for penalty in ("wgan-gp", "r1", None):
        alpha = {"alpha": torch.rand(4, dtype=torch.float64)} if penalty == "wgan-gp" else {}
        pair = [t.clone().requires_grad_(penalty == "r1") for t in samples]
        assert_step_is_the_plain_one(critic, *pair, penalty=penalty, engine="always", **alpha)


def _assert_same(one: Any, other: Any) -> None:
    torch.testing.assert_close(one.total, other.total, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(one.penalty, other.penalty, rtol=1e-12, atol=1e-12)
    for a, b in zip(one.gradients, other.gradients, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
