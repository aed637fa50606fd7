"""What sends a critic of torch's own modules another way, and what the direct way must keep."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
)
from torch.nn.utils import parametrizations

import fastwgan
from fastwgan.engine import blocks
from fastwgan.engine.direct import calls_of
from tests.critic_loss_recipe import assert_step_is_the_plain_one
from tests.penalty_critics import dcgan, mlp


def _must_not_be_called(*args: Any) -> Any:
    raise AssertionError("the critic was called")


def _critic() -> nn.Sequential:
    torch.manual_seed(0)
    return mlp(nn.ReLU).double()


def _smooth() -> nn.Sequential:
    torch.manual_seed(0)
    return mlp(nn.Tanh, nn.SiLU).double()


def _samples(*shape: int) -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(5, *(shape or (6,)), dtype=torch.float64) for _ in range(2)]


def test_the_critic_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    critic = _critic()
    assert calls_of(critic)
    monkeypatch.setattr(blocks, "record", _must_not_be_called)
    fastwgan.critic_loss(critic, *_samples()).total.backward()


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
@pytest.mark.parametrize("place", ["critic", "layer"])
@pytest.mark.parametrize(
    "hook", ["forward", "forward_pre", "full_backward", "full_backward_pre", "forward_kwargs"]
)
def test_a_hook_is_run(place: str, hook: str) -> None:
    critic = _critic()
    module = critic if place == "critic" else critic[1]
    runs = []
    if hook == "forward_kwargs":
        module.register_forward_hook(lambda m, a, k, y: runs.append(1) or 2 * y, with_kwargs=True)
    elif hook == "forward":
        module.register_forward_hook(lambda m, a, y: runs.append(1) or 2 * y)
    elif hook == "forward_pre":
        module.register_forward_pre_hook(lambda m, a: runs.append(1) or (2 * a[0],))
    elif hook == "full_backward":
        module.register_full_backward_hook(lambda m, gi, go: runs.append(1))
    else:
        module.register_full_backward_pre_hook(lambda m, go: runs.append(1))
    assert calls_of(critic) is None
    alpha = torch.rand(5, dtype=torch.float64)
    assert_step_is_the_plain_one(critic, *_samples(), alpha=alpha)
    assert runs


@pytest.fixture(params=["forward", "forward_pre", "full_backward"])
def global_hook(request: pytest.FixtureRequest) -> Iterator[list[int]]:
    runs: list[int] = []
    register: Any = {
        "forward": register_module_forward_hook,
        "forward_pre": register_module_forward_pre_hook,
        "full_backward": register_module_full_backward_hook,
    }[request.param]
    handle = register(lambda *_: runs.append(1))
    yield runs
    handle.remove()


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
def test_a_hook_of_all_modules_is_run(global_hook: list[int]) -> None:
    critic = _critic()
    assert calls_of(critic) is None
    fastwgan.critic_loss(critic, *_samples()).total.backward()
    assert global_hook


def test_when_the_hook_is_gone_the_critic_is_direct() -> None:
    critic = _critic()
    handle = critic[1].register_forward_hook(lambda m, a, y: 2 * y)
    assert calls_of(critic) is None
    handle.remove()
    assert calls_of(critic) is not None


class Doubled(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return 2 * super().forward(input)


class Reversed(nn.Sequential):
    def forward(self, input: Tensor) -> Tensor:
        for layer in reversed(self):
            input = layer(input)
        return input


def _overridden(critic: nn.Sequential) -> nn.Module:
    own = critic[1].forward
    critic[1].forward = lambda x: own(x) + 1  # type: ignore[assignment]
    return critic


def _called_otherwise(critic: nn.Sequential) -> nn.Module:
    class Otherwise(nn.ReLU):
        def __call__(self, x: Tensor) -> Any:
            return super().__call__(x) + 1

    critic[1] = Otherwise()
    return critic


def _replaced(critic: nn.Sequential, at: int, module: nn.Module) -> nn.Module:
    critic[at] = module
    return critic.double()


INDIRECT: dict[str, Callable[[], nn.Module]] = {
    "subclass": lambda: _replaced(_critic(), 0, Doubled(6, 9)),
    "subclass of Sequential": lambda: Reversed(
        nn.Linear(9, 1), nn.Tanh(), nn.Linear(6, 9)
    ).double(),
    "forward set on the module": lambda: _overridden(_critic()),
    "subclass with a call of its own": lambda: _called_otherwise(_critic()),
    "module without an entry": lambda: _replaced(_critic(), 1, nn.Mish()),
    "parametrized weight": lambda: _replaced(
        _critic(), 0, parametrizations.weight_norm(nn.Linear(6, 9))
    ),
    "spectral norm of ours": lambda: fastwgan.spectral_norm(_critic()).eval(),
    "module that mixes rows": lambda: _replaced(_critic(), 1, nn.BatchNorm1d(9)),
    "flatten of rows": lambda: nn.Sequential(nn.Linear(6, 3), nn.Tanh(), nn.Flatten(0)).double(),
}


@pytest.mark.parametrize("name", INDIRECT)
def test_anything_else_is_called(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    critic, alpha = INDIRECT[name](), torch.rand(5, dtype=torch.float64)
    assert_step_is_the_plain_one(critic, *_samples(), alpha=alpha, engine="always")
    monkeypatch.setattr(blocks, "record", _must_not_be_called)
    with pytest.raises(AssertionError, match="was called"):
        fastwgan.critic_loss(critic, *_samples(), alpha=alpha)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_padding_modes_other_than_zeros(mode: str, dims: int) -> None:
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1]
    torch.manual_seed(2)
    layer = kind(2, 3, 3, padding=1, padding_mode=mode)
    critic = nn.Sequential(layer, nn.Tanh(), nn.Flatten(), nn.Linear(3 * 4**dims, 1)).double()
    assert calls_of(critic) is None
    alpha = torch.rand(5, dtype=torch.float64)
    assert_step_is_the_plain_one(critic, *_samples(2, *[4] * dims), alpha=alpha, engine="always")


@pytest.mark.filterwarnings("ignore:Using padding=.same. with even:UserWarning")
def test_convolution_of_one_padded_side() -> None:
    """Even kernels and padding "same" pad one side more, which has to happen beforehand."""
    critic = nn.Sequential(nn.Conv2d(3, 4, 2, padding="same"), nn.ReLU(), nn.Conv2d(4, 1, 8))
    alpha = torch.rand(5, dtype=torch.float64)
    assert_step_is_the_plain_one(critic.double(), *_samples(3, 8, 8), alpha=alpha, engine="always")


def test_dropout_in_training_draws_for_each_row() -> None:
    critic = nn.Sequential(nn.Dropout(0.5), nn.Linear(64, 1, bias=False)).double()
    with torch.no_grad():
        critic[1].weight.fill_(1.0)
    same = torch.ones(4, 64, dtype=torch.float64)
    assert calls_of(critic) is not None
    done = fastwgan.critic_loss(critic, same, same, penalty="r1", weight=1.0)
    scores = torch.cat([done.real_scores, done.fake_scores]).flatten()
    assert len(scores.unique()) > 4
    # g is the mask times 2, whose square sums to 4 a kept feature, and each of those adds 2.
    torch.testing.assert_close(done.penalty, 2 * done.real_scores.mean())


def test_dropout_masks_are_those_of_the_generator() -> None:
    critic = nn.Sequential(nn.Linear(6, 9), nn.Dropout(0.5), nn.Linear(9, 1)).double()
    real, fake = _samples()
    for penalty in (None, "r1"):
        torch.manual_seed(12)
        done = fastwgan.critic_loss(critic, real, fake, penalty=penalty)
        torch.manual_seed(12)
        joined = critic(torch.cat([real, fake]))
        torch.testing.assert_close(torch.cat([done.real_scores, done.fake_scores]), joined)


@pytest.mark.parametrize("flows", [(True, False), (False, True), (True, True)], ids=str)
@pytest.mark.parametrize("penalty", ["wgan-gp", "r1", "r2", None])
def test_gradients_of_the_samples(flows: tuple[bool, bool], penalty: str | None) -> None:
    for critic, shape in ((_critic(), (6,)), (dcgan().double(), (3, 8, 8)), (_smooth(), (6,))):
        assert calls_of(critic) is not None
        pair = [t.requires_grad_(f) for t, f in zip(_samples(*shape), flows, strict=True)]
        more = {"alpha": torch.rand(5, dtype=torch.float64)} if penalty == "wgan-gp" else {}
        assert_step_is_the_plain_one(critic, *pair, penalty=penalty, engine="always", **more)


def test_gradients_of_points_alone() -> None:
    critic = dcgan().double()
    for kind in ("wgan-gp", "r1", "r2"):
        real, fake = (t.requires_grad_() for t in _samples(3, 8, 8))
        drawn = {"alpha": torch.rand(5, dtype=torch.float64)} if kind == "wgan-gp" else {}
        found = []
        for engine in ("always", "never"):
            pair = [t.detach().clone().requires_grad_() for t in (real, fake)]
            penalty = fastwgan.gradient_penalty(critic, *pair, kind=kind, engine=engine, **drawn)
            gradients = torch.autograd.grad(penalty, pair, allow_unused=True)
            found.append([torch.zeros_like(real) if g is None else g for g in gradients])
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-14)


def test_the_samples_are_not_written_to() -> None:
    critic = nn.Sequential(nn.LeakyReLU(0.2, inplace=True), *_critic()).double()
    real, fake = _samples()
    before = copy.deepcopy((real, fake))
    fastwgan.critic_loss(critic, real, fake).total.backward()
    assert torch.equal(real, before[0])
    assert torch.equal(fake, before[1])


def test_what_the_table_calls_are_the_functions_of_torch() -> None:
    """Replaced functions, by which tools watch models, are replaced for the engine too."""
    assert calls_of(nn.ReLU()) == [(F.relu, ())]


@pytest.mark.parametrize("owner", [nn.Linear, nn.Sequential])
def test_a_patched_class_is_called(owner: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    critic = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    assert calls_of(critic)
    forward = owner.forward
    monkeypatch.setattr(owner, "forward", lambda self, x: 2 * forward(self, x))
    assert calls_of(critic) is None


def test_a_patched_call_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    called = nn.Module.__call__
    monkeypatch.setattr(nn.Module, "__call__", lambda self, x: called(self, x))
    assert calls_of(nn.Linear(3, 1)) is None
