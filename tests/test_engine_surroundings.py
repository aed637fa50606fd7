"""`critic_loss` among what training loops do around it."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fastwgan import critic_loss, gradient_penalty
from tests.compare import assert_gradients_match, assert_matches
from tests.critic_loss_recipe import assert_step_is_the_plain_one

ALPHA = torch.linspace(0.1, 0.9, 8)


def _mlp() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1)
    )


def _samples(seed: int = 0, dtype: Any = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    real, fake = torch.randn(2, 8, 6, generator=generator, dtype=torch.float64).to(dtype)
    return real, fake


def _gradients(net: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in net.parameters() if p.grad is not None]


def _total(net: Any, *samples: Tensor, **options: Any) -> Tensor:
    return critic_loss(net, *samples, alpha=ALPHA, **options).total


def _expected(net: nn.Module, *sets: tuple[Tensor, Tensor]) -> list[Tensor]:
    """The sum of the gradients, by the generic way in float64."""
    twin = copy.deepcopy(net).double()
    twin.zero_grad()
    for real, fake in sets:
        _total(twin, real.double(), fake.double(), engine="never").backward()
    return _gradients(twin)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("engine", ["auto", "always", "never"])
def test_autocast(engine: str, dtype: torch.dtype) -> None:
    net, samples = _mlp(), _samples()
    with torch.autocast("cpu", dtype):
        done = critic_loss(net, *samples, alpha=ALPHA, engine=engine)
    assert done.real_scores.dtype is dtype
    assert done.gradient_norm is not None
    assert done.total.dtype is done.gradient_norm.dtype is torch.float32
    done.total.backward()
    assert all(p.grad is not None and p.grad.dtype is torch.float32 for p in net.parameters())
    wide = [t.double() for t in samples]
    exact = critic_loss(copy.deepcopy(net).double(), *wide, alpha=ALPHA, engine="never")
    # Judged as the half precision that they are made of.
    assert_matches(done.penalty.to(dtype), exact.penalty, op="penalty_half", order=0)
    halves = [gradient.to(dtype) for gradient in _gradients(net)]
    assert_gradients_match(halves, _expected(net, samples), op="penalty_half", order=1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_throughout(dtype: torch.dtype) -> None:
    net, samples = _mlp().to(dtype), _samples(dtype=dtype)
    done = critic_loss(net, *samples, alpha=ALPHA, engine="always")
    assert done.gradient_norm is not None
    assert done.gradient_norm.dtype is torch.float32
    done.total.backward()
    assert all(p.grad is not None and p.grad.dtype is dtype for p in net.parameters())
    assert_gradients_match(_gradients(net), _expected(net, samples), op="penalty_half", order=1)


def test_micro_batches_add_up() -> None:
    net, sets = _mlp(), [_samples(0), _samples(1)]
    for each in sets:
        _total(net, *each).backward()
    assert_gradients_match(_gradients(net), _expected(net, *sets), op="penalty", order=1)


def test_two_totals_before_one_backward() -> None:
    net, sets = _mlp(), [_samples(0), _samples(1)]
    (_total(net, *sets[0]) + _total(net, *sets[1])).backward()
    assert_gradients_match(_gradients(net), _expected(net, *sets), op="penalty", order=1)


def test_retained_graphs_and_a_second_backward() -> None:
    net, samples = _mlp(), _samples()
    total = _total(net, *samples)
    total.backward(retain_graph=True)
    (0.5 * total).backward(retain_graph=True)
    total.backward()
    expected = [2.5 * gradient for gradient in _expected(net, samples)]
    assert_gradients_match(_gradients(net), expected, op="penalty", order=1)
    with pytest.raises(RuntimeError, match="second time through the same penalty"):
        total.backward()


def test_two_threads_at_once() -> None:
    nets, sets = [_mlp(), _mlp()], [_samples(0), _samples(1)]
    nets[1].load_state_dict({name: 0.5 * w for name, w in nets[0].state_dict().items()})
    found: dict[int, list[list[Tensor]]] = {0: [], 1: []}

    def work(index: int) -> None:
        for _ in range(10):
            nets[index].zero_grad()
            _total(nets[index], *sets[index]).backward()
            found[index].append(_gradients(nets[index]))

    threads = [threading.Thread(target=work, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in (0, 1):
        assert len(found[index]) == 10
        expected = _expected(nets[index], sets[index])
        for gradients in found[index]:
            assert_gradients_match(gradients, expected, op="penalty", order=1)


def test_frozen_tied_and_unused_parameters() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen, self.tied, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 1)
            self.frozen.requires_grad_(False)
            self.unused = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.tied(self.tied(self.frozen(x)).tanh()).tanh())  # type: ignore[no-any-return]

    net = Odd().double()
    samples = _samples(dtype=torch.float64)
    assert_step_is_the_plain_one(net, *samples, alpha=ALPHA.double(), engine="always")
    assert all(p.grad is None for m in (net.frozen, net.unused) for p in m.parameters())


@pytest.mark.parametrize("engine", ["always", "never"])
def test_samples_from_a_generator(engine: str) -> None:
    net, (real, noise) = _mlp().double(), _samples(dtype=torch.float64)
    torch.manual_seed(8)
    generator = nn.Linear(6, 6).double()
    _total(net, real, generator(noise).tanh(), engine=engine).backward()
    actual = [*_gradients(generator), *_gradients(net)]
    generator.zero_grad()
    net.zero_grad()
    fake = generator(noise).tanh()
    points = ALPHA.double()[:, None] * real + (1 - ALPHA.double()[:, None]) * fake
    (g,) = torch.autograd.grad(net(points).sum(), points, create_graph=True)
    penalty = 10 * (g.norm(dim=1) - 1).square().mean()
    (net(fake).mean() - net(real).mean() + penalty).backward()
    expected = [*_gradients(generator), *_gradients(net)]
    assert_gradients_match(actual, expected, op="penalty", order=1)


def test_further_arguments_that_require_grad_go_the_generic_way() -> None:
    net, samples = nn.Bilinear(6, 6, 1).double(), _samples(dtype=torch.float64)
    scale = torch.linspace(1, 2, 48, dtype=torch.float64).view(8, 6).requires_grad_()

    def total(engine: str) -> Tensor:
        arguments: dict[str, Any] = {"real_args": (scale,), "fake_args": (scale,)}
        return _total(lambda x, s: net(x, s).tanh(), *samples, engine=engine, **arguments)

    gradients = []
    for engine in ("auto", "never"):
        scale.grad = None
        total(engine).backward()
        assert scale.grad is not None
        gradients.append(scale.grad)
    assert_gradients_match(gradients[:1], gradients[1:], op="penalty", order=1)
    with pytest.raises(RuntimeError, match="real_args or fake_args require grad; they must not"):
        total("always")


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_grad_mode_there_are_values_only(mode: Any) -> None:
    net, samples = _mlp().eval(), _samples()
    expected = critic_loss(net, *samples, alpha=ALPHA)
    with mode():
        actual = critic_loss(net, *samples, alpha=ALPHA)
    assert not actual.total.requires_grad
    for got, want in zip(actual, expected, strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize("layout", ["channels last", "strided", "transposed"])
def test_samples_in_other_layouts(layout: str) -> None:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(144, 1))
    net = net.double()
    real, fake = torch.randn(2, 8, 3, 8, 16).double()[..., ::2]
    if layout == "channels last":
        real, fake = (t.to(memory_format=torch.channels_last) for t in (real, fake))
    elif layout == "transposed":
        real, fake = real.transpose(2, 3), fake.transpose(2, 3)
    assert_step_is_the_plain_one(net, real, fake, alpha=ALPHA.double(), engine="always")


def test_gradients_share_no_memory_with_each_other_or_with_later_steps() -> None:
    net, samples = _mlp(), _samples()
    _total(net, *samples).backward()
    expected = _gradients(net)
    places = {p.grad.untyped_storage().data_ptr() for p in net.parameters() if p.grad is not None}
    assert len(places) == len(expected)
    for _ in range(3):
        before = [p.grad for p in net.parameters() if p.grad is not None]
        for gradient in before:
            gradient.fill_(torch.nan)
        net.zero_grad()
        done = critic_loss(net, *samples, alpha=ALPHA)
        done.total.backward()
        for gradient in before:
            gradient.fill_(3.0)
        for got, want in zip(_gradients(net), expected, strict=True):
            assert torch.equal(got, want)


@pytest.mark.parametrize("function", [_total, lambda *a: gradient_penalty(*a, alpha=ALPHA)])
def test_gradients_become_grad_without_a_copy(function: Any) -> None:
    net = _mlp()
    value = function(net, *_samples())
    computed = [None if g is None else g.data_ptr() for g in value.grad_fn.held.gradients]
    assert sum(place is not None for place in computed) >= 3
    value.backward()
    handed = {p.grad.data_ptr() for p in net.parameters() if p.grad is not None}
    assert {place for place in computed if place is not None} <= handed


@pytest.mark.parametrize("critic_is", ["checkpointed", "compiled", "eval"])
def test_critics_of_other_makes(critic_is: str) -> None:
    net, samples = _mlp().double(), _samples(dtype=torch.float64)
    critic: Any = net
    if critic_is == "checkpointed":
        critic = lambda x: net[2:](checkpoint(net[:2], x, use_reentrant=False))  # noqa: E731
    elif critic_is == "compiled":
        critic = torch.compile(net, backend="aot_eager")
    else:
        net.eval()
    stance = torch._dynamo.eval_frame._stance
    critic_loss(critic, *samples, alpha=ALPHA.double()).total.backward()
    assert torch._dynamo.eval_frame._stance == stance
    assert_gradients_match(_gradients(net), _expected(net, samples), op="penalty", order=1)
