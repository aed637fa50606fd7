"""Critics with every kind of layer, and the replay of one beside another."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations as torch_parametrizations
from torch.nn.utils import spectral_norm as torch_spectral_norm

import fastwgan
from tests.compare import assert_gradients_match, assert_matches

LAYERS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Embedding,
    nn.Bilinear,
)

# Modules of every shape of weight, and the shape of an input.
MODULES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(7, 9), (5, 7)),
    "conv1d": (lambda: nn.Conv1d(3, 8, 5), (2, 3, 11)),
    "conv2d": (lambda: nn.Conv2d(4, 6, 3, groups=2), (2, 4, 7, 7)),
    "conv3d": (lambda: nn.Conv3d(2, 5, 2), (2, 2, 4, 4, 4)),
    "transposed1d": (lambda: nn.ConvTranspose1d(3, 8, 5), (2, 3, 11)),
    "transposed2d": (lambda: nn.ConvTranspose2d(4, 6, 3), (2, 4, 5, 5)),
    "transposed3d": (lambda: nn.ConvTranspose3d(2, 5, 2), (2, 2, 3, 3, 3)),
}

NetT = TypeVar("NetT", bound=nn.Module)


class Critic(nn.Module):
    """Images and labels to scores, by layers at different depths; `uses` calls of one of them."""

    def __init__(self, uses: int = 1) -> None:
        super().__init__()
        self.uses = uses
        self.norm = nn.LayerNorm([3, 8, 8])
        self.body = nn.Sequential(
            nn.Conv2d(3, 7, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Sequential(nn.Conv2d(7, 9, 4, 2, 1), nn.Tanh()),
            nn.ConvTranspose2d(9, 5, 3, padding=1),
            nn.Flatten(),
        )
        self.again = nn.Linear(80, 80)
        self.labels = nn.Embedding(4, 80)
        self.mix = nn.Bilinear(80, 80, 3)
        self.score = nn.Linear(3, 1)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        x = self.body(self.norm(images))
        for _ in range(self.uses):
            x = torch.tanh(self.again(x))
        return self.score(self.mix(x, self.labels(labels)))


def inputs(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return torch.randn(5, 3, 8, 8, dtype=dtype), torch.arange(5) % 4


def weighted(net: nn.Module) -> Iterator[nn.Module]:
    """The layers that a group takes, in the order in which it takes them."""
    return (module for module in net.modules() if isinstance(module, LAYERS))


def each_layer(normalise: Callable[[nn.Module], nn.Module]) -> Callable[[NetT], NetT]:
    def apply(net: NetT) -> NetT:
        for layer in list(weighted(net)):
            normalise(layer)
        return net

    return apply


FORMS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "hook": each_layer(fastwgan.spectral_norm),
    "group": fastwgan.spectral_norm,
    "parametrization": each_layer(fastwgan.parametrizations.spectral_norm),
}
TORCH_FORMS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "hook": each_layer(torch_spectral_norm),
    "group": each_layer(torch_spectral_norm),
    "parametrization": each_layer(torch_parametrizations.spectral_norm),
}


def pair(form: str, net: nn.Module | None = None, seed: int = 3) -> tuple[nn.Module, nn.Module]:
    """The same net in our form and in torch's, from the same state of the generator."""
    base = Critic() if net is None else net
    ours, theirs = copy.deepcopy(base), copy.deepcopy(base)
    torch.manual_seed(seed)
    FORMS[form](ours)
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    TORCH_FORMS[form](theirs)
    assert torch.equal(state, torch.random.get_rng_state()), "random draws differ"
    return ours, theirs


def states(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


def assert_same_state(ours: nn.Module, theirs: nn.Module) -> None:
    mine, other = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(other)
    for name, value in mine.items():
        expected = other[name].double() if value.is_floating_point() else other[name]
        assert_matches(value, expected, op="spectral_norm", order=0, context=name)


def assert_same_step(ours: nn.Module, theirs: nn.Module, *arguments: Tensor) -> None:
    """One forward and backward, compared; .grad is left in place."""
    for net in (ours, theirs):
        net.zero_grad()
    output, expected = ours(*arguments), theirs(*arguments)
    assert_matches(output, expected.double(), op="spectral_norm", order=0)
    for result in (output, expected):
        result.square().sum().backward()
    names = [name for name, _ in theirs.named_parameters()]
    assert [name for name, _ in ours.named_parameters()] == names
    assert_gradients_match(
        [parameter.grad for parameter in ours.parameters()],
        [parameter.grad for parameter in theirs.parameters()],
        op="spectral_norm",
        order=1,
    )
    assert_same_state(ours, theirs)
