"""Both public functions as one operation of a compiled graph, against the same code run eagerly."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastwgan import critic_loss, gradient_penalty
from fastwgan.engine import compiled
from fastwgan.spectral import spectral_norm
from tests.compare import assert_gradients_match, assert_matches

# As in test_spectral_compile.py: warnings of torch's own, in the compiler.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning"),
]

ALPHA = torch.linspace(0.1, 0.9, 6)


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def _mlp(*between: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 16), *between, nn.LeakyReLU(0.2), nn.Linear(16, 1))


def _samples(flows: bool = False) -> list[Tensor]:
    return [t.clone().requires_grad_(flows) for t in torch.randn(2, 6, 6)]


def _results(run: Callable[..., Tensor], net: nn.Module, samples: list[Tensor]) -> Any:
    own = [t.detach().clone().requires_grad_(t.requires_grad) for t in samples]
    net.zero_grad()
    torch.manual_seed(5)
    value = run(net, *own)
    value.backward()
    leaves = [p for p in (*net.parameters(), *own) if p.requires_grad]
    return value.detach(), [p.grad for p in leaves], list(net.buffers()), torch.get_rng_state()


def _assert_as_eager(
    run: Callable[..., Tensor],
    net: nn.Module,
    samples: list[Tensor] | None = None,
    backend: str = "aot_eager",
) -> None:
    """Two steps of both: values, gradients, buffers and the random generator."""
    twin = copy.deepcopy(net)
    compiled_run = torch.compile(run, fullgraph=True, backend=backend)
    samples = _samples() if samples is None else samples
    for _ in range(2):
        actual, expected = _results(compiled_run, net, samples), _results(run, twin, samples)
        assert_matches(actual[0].float(), expected[0].double(), op="penalty", order=0)
        assert_gradients_match(actual[1], expected[1], op="penalty", order=1)
        for one, two in zip(actual[2], expected[2], strict=True):
            torch.testing.assert_close(one, two)
        assert torch.equal(actual[3], expected[3])


def _several(net: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    first = critic_loss(net, real, fake, alpha=ALPHA)
    between = gradient_penalty(net, real, 1.5 * fake, alpha=ALPHA)
    last = critic_loss(net, real, fake, alpha=ALPHA)
    return first.total + 2 * between + 3 * last.total


@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
def test_three_calls_in_one_graph_move_the_vectors_of_spectral_norm(backend: str) -> None:
    net = nn.Sequential(
        spectral_norm(nn.Linear(6, 16)),
        nn.Tanh(),
        nn.utils.spectral_norm(nn.Linear(16, 8)),
        nn.LeakyReLU(0.2),
        nn.Linear(8, 1),
    )
    before = [buffer.clone() for buffer in net.buffers()]
    _assert_as_eager(_several, net, backend=backend)
    assert not any(torch.equal(a, b) for a, b in zip(before, net.buffers(), strict=True))


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_equal_calls_that_draw_are_not_merged(backend: str) -> None:
    def run(net: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        totals = [critic_loss(net, real, fake).total for _ in range(2)]
        penalties = [gradient_penalty(net, real, fake) for _ in range(2)]
        return totals[0] + 2 * totals[1] + 3 * penalties[0] + 4 * penalties[1]

    _assert_as_eager(run, _mlp(nn.Dropout(0.5)), backend=backend)


@pytest.mark.parametrize("function", ["critic_loss", "gradient_penalty"])
def test_autocast_inside(function: str) -> None:
    def run(net: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            if function == "critic_loss":
                done = critic_loss(net, real, fake, alpha=ALPHA)
                assert done.real_scores.dtype is torch.bfloat16
                return done.total
            return gradient_penalty(net, real, fake, alpha=ALPHA)

    _assert_as_eager(run, _mlp(nn.Tanh()))


def test_gradients_of_the_samples() -> None:
    def run(net: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        return critic_loss(net, 2 * real, fake.tanh(), alpha=ALPHA).total

    _assert_as_eager(run, _mlp(), _samples(flows=True))


def test_weights_and_statistics_changed_between_two_calls() -> None:
    def run(net: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        first = critic_loss(net, real, fake, penalty="r1").total
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.mul_(0.9)
        return first.detach() + critic_loss(net, real, fake, penalty="r1").total

    _assert_as_eager(run, _mlp(nn.Tanh(), nn.BatchNorm1d(16)))


class _Conditional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.embedding = nn.Linear(6, 1), nn.Embedding(3, 6)
        self.scale = torch.randn(6)  # a constant, no buffer
        self.body.bias.requires_grad_(False)

    def forward(self, x: Tensor, labels: Tensor, factor: float) -> Tensor:
        products = self.embedding(labels) * x * self.scale
        return self.body(x) + factor * products.sum(1, keepdim=True).tanh()  # type: ignore[no-any-return]


def test_labels_constants_frozen_parameters_and_a_loss_of_ones_own() -> None:
    labels = torch.tensor([0, 1, 2, 0, 1, 2])

    def loss(real: Tensor, fake: Tensor) -> Tensor:
        return (real - fake).square().mean()

    def run(net: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        arguments = {"real_args": (labels, 0.5), "fake_args": (labels.flip(0), 0.5)}
        return critic_loss(net, real, fake, penalty="r1", loss=loss, **arguments).total

    net = _Conditional()
    _assert_as_eager(run, net)
    assert not isinstance(net.scale, torch._subclasses.FakeTensor)
    assert net.body.bias.grad is None


def test_options_that_change_and_a_generator() -> None:
    net = _mlp()
    generator = torch.Generator()

    def run(factor: float, groups: int) -> Tensor:
        pairs = [("wgan-gp", factor), ("r1", 2 * factor)]
        return critic_loss(
            net, *samples, penalty=pairs, groups=groups, target=factor / 2, generator=generator
        ).total

    samples = _samples()
    compiled_run = torch.compile(run, fullgraph=True, backend="eager")
    for factor, groups in ((1.0, 1), (2.0, 2), (3.5, 3)):
        generator.manual_seed(3)
        actual = compiled_run(factor, groups)
        generator.manual_seed(3)
        assert torch.equal(actual, run(factor, groups))


def test_batches_of_other_sizes_and_other_critics() -> None:
    def run(net: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        return critic_loss(net, real, fake, penalty="r2").real_scores

    compiled_run = torch.compile(run, fullgraph=True, backend="aot_eager")
    for rows in (6, 5, 3):
        net, (real, fake) = _mlp(), _samples()
        scores = compiled_run(net, real[:rows], fake[:rows])
        assert torch.equal(scores, run(net, real[:rows], fake[:rows]))


def test_without_grad_mode() -> None:
    net, samples = _mlp(), _samples()

    def run(real: Tensor, fake: Tensor) -> Tensor:
        with torch.no_grad():
            return critic_loss(net, real, fake, alpha=ALPHA).total

    actual = torch.compile(run, fullgraph=True, backend="aot_eager")(*samples)
    assert not actual.requires_grad
    assert torch.equal(actual, run(*samples))


def test_a_critic_that_is_a_function_breaks_the_graph_or_says_why_it_must() -> None:
    net, samples = _mlp(nn.Tanh()), _samples()

    def run(real: Tensor, fake: Tensor) -> Tensor:
        total = critic_loss(lambda x: net(x), 1 * real, fake, alpha=ALPHA).total
        return 2 * total + gradient_penalty(lambda x: net(x), 1 * real, fake, alpha=ALPHA)

    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"it must be an nn\.Module"):
        torch.compile(run, fullgraph=True, backend="eager")(*samples)
    torch._dynamo.reset()
    actual = torch.compile(run, backend="eager")(*samples)
    actual.backward()
    gradients = [p.grad for p in net.parameters()]
    net.zero_grad()
    expected = run(*samples)
    expected.backward()
    assert_matches(actual.detach(), expected.detach(), op="penalty", order=0)
    assert_gradients_match(gradients, [p.grad for p in net.parameters()], op="penalty", order=1)


def test_trainable_tensors_that_are_no_parameters_are_an_error() -> None:
    class Loose(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.loose = _mlp(), [torch.ones(6, requires_grad=True)]

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x * self.loose[0])  # type: ignore[no-any-return]

    net = Loose()
    run = torch.compile(
        lambda *pair: critic_loss(net, *pair).total, fullgraph=True, backend="eager"
    )
    with pytest.raises(RuntimeError, match="trainable tensor that is none of its parameters"):
        run(*_samples())


def test_nothing_is_remembered_of_critics_that_are_gone() -> None:
    net = _mlp()
    before = len(compiled._CALLS)
    run = torch.compile(lambda net, *pair: critic_loss(net, *pair).total, backend="eager")
    run(net, *_samples())
    assert len(compiled._CALLS) == before + 1
    del net, run
    torch._dynamo.reset()
    gc.collect()
    assert len(compiled._CALLS) <= before
