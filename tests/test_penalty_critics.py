"""The penalty of every make of critic, held against the recipe in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import fastwgan
from fastwgan import backends
from tests.penalty_critics import CRITICS, RANDOM, Function, dcgan, make, mlp
from tests.penalty_recipe import KINDS, assert_as_the_recipe


def _samples(
    shape: tuple[int, ...], batch: int = 5, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    torch.manual_seed(11)
    return [torch.randn(batch, *shape, dtype=torch.float64).to(dtype) for _ in range(2)]


@pytest.mark.parametrize("name", CRITICS)
def test_critic_in_double(name: str) -> None:
    critic, shape = make(name)
    outcome = assert_as_the_recipe(critic, *_samples(shape))
    assert outcome.penalty > 0


@pytest.mark.parametrize("name", CRITICS)
def test_critic_in_double_with_gradients_of_the_samples(name: str) -> None:
    critic, shape = make(name)
    real, fake = (t.requires_grad_() for t in _samples(shape, batch=3))
    outcome = assert_as_the_recipe(critic, real, fake)
    assert all(g is not None for g in outcome.gradients[-2:])


@pytest.mark.parametrize("name", [name for name in CRITICS if not name.startswith("own grad")])
def test_critic_in_single(name: str) -> None:
    critic, shape = make(name, torch.float32)
    # Random masks are drawn otherwise in double; there the recipe itself runs in single.
    same = any(word in name for word in RANDOM)
    dtype = torch.float32 if same else torch.float64
    alpha = torch.rand(5)
    assert_as_the_recipe(
        critic, *_samples(shape, dtype=torch.float32), alpha=alpha, reference=dtype
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "name", ["mlp with dropout", "dcgan", "batch norm", "own spectral norm, group", "tied weights"]
)
def test_every_kind(name: str, kind: str) -> None:
    critic, shape = make(name)
    assert_as_the_recipe(critic, *_samples(shape), kind=kind, weight=3.0)
    real, fake = (t.requires_grad_() for t in _samples(shape, batch=4))
    assert_as_the_recipe(critic, real, fake, kind=kind)


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
@pytest.mark.parametrize("name", ["mlp with dropout", "dcgan in place", "patches", "attention"])
def test_any_batch(name: str, batch: int) -> None:
    critic, shape = make(name)
    assert_as_the_recipe(critic, *_samples(shape, batch))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [1, 2, 10])
def test_packed_critic_with_dropout(kind: str, groups: int) -> None:
    torch.manual_seed(0)
    critic = Function(
        lambda c, x: c.body(x.reshape(-1, 6 * groups)),
        body=mlp(nn.ReLU, lambda: nn.Dropout(0.3), inputs=6 * groups),
    ).double()
    assert_as_the_recipe(critic, *_samples((6,), 20), kind=kind, groups=groups)


@pytest.mark.parametrize("name", ["mlp of leaky relu", "dcgan", "own spectral norm, hooks"])
def test_every_backend(backend: str, name: str) -> None:
    critic, shape = make(name)
    assert_as_the_recipe(critic, *_samples(shape))
    single, _ = make(name, torch.float32)
    assert_as_the_recipe(single, *_samples(shape, dtype=torch.float32), alpha=torch.rand(5))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_layouts_of_samples_and_critic(layout: torch.memory_format) -> None:
    critic, shape = make("dcgan")
    critic = critic.to(memory_format=layout)
    real, fake = _samples(shape)
    last = torch.channels_last
    for one, two in (
        (real.to(memory_format=last), fake.to(memory_format=last)),
        (real, fake.to(memory_format=last)),
        (real.transpose(2, 3), fake),
        (torch.stack([real, fake])[0], torch.cat([real, fake], 1)[:, 3:]),
        (real.flip(3), fake[[2, 1, 0, 3, 4]]),
    ):
        assert_as_the_recipe(critic, one, two)


def test_seen_by_a_critic_are_the_layouts_it_was_given() -> None:

    seen = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.is_contiguous(memory_format=torch.channels_last))
        return x.square().sum((1, 2, 3))

    real = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    for kind in ("wgan-gp", "r1", "r2", "dragan"):
        fastwgan.gradient_penalty(critic, real, real + 1, kind=kind)
    assert seen == [True] * 4


@pytest.mark.parametrize("seed", range(8))
def test_random_depths_and_weights(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    depth = int(torch.randint(0, 5, (), generator=generator))
    torch.manual_seed(seed)
    kinds = (nn.ReLU, nn.LeakyReLU, nn.Tanh, lambda: nn.Dropout(0.2), lambda: nn.LayerNorm(9))
    chosen = [kinds[int(i)] for i in torch.randint(0, len(kinds), (depth,), generator=generator)]
    assert_as_the_recipe(mlp(*chosen).double(), *_samples((6,), 1 + seed), kind=KINDS[seed % 5])  # type: ignore[arg-type]


def test_a_deep_critic_does_not_recurse() -> None:
    layers: list[nn.Module] = []
    for _ in range(1500):
        layers += [nn.Linear(3, 3), nn.LeakyReLU(0.9)]
    critic = nn.Sequential(*layers, nn.Linear(3, 1)).double()
    with torch.no_grad():
        for layer in critic:
            if isinstance(layer, nn.Linear) and layer.out_features == 3:
                layer.weight.copy_(torch.eye(3) + 0.001 * torch.randn(3, 3))
    assert_as_the_recipe(critic, *_samples((3,), 2))


def test_a_critic_with_zero_gradient() -> None:
    critic = mlp(nn.ReLU).double()
    with torch.no_grad():
        critic[-1].weight.zero_()
    real, fake = _samples((6,))

    for kind in KINDS:
        critic.zero_grad()
        penalty = fastwgan.gradient_penalty(critic, real, fake, kind=kind)
        penalty.backward()
        expected = 10.0 if kind in ("wgan-gp", "dragan") else 0.0
        assert penalty.item() == expected
        for parameter in critic.parameters():
            assert parameter.grad is not None
            assert bool((parameter.grad == 0).all()), kind


def test_training_on_the_reference_backend_is_the_same_training() -> None:
    results = []
    for name in ("cpu", "reference"):
        with backends.use_backend(name):
            torch.manual_seed(0)
            critic = dcgan().double()
            optimizer = torch.optim.SGD(critic.parameters(), 0.01)
            for _ in range(5):
                optimizer.zero_grad()

                real, fake = torch.randn(2, 4, 3, 8, 8).double().unbind(0)
                fastwgan.gradient_penalty(critic, real, fake).backward()
                optimizer.step()
            results.append([p.detach().clone() for p in critic.parameters()])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-14)
