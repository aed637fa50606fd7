"""Two critics of the same numbers: one handled by fastwgan, one by plain torch in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrizations as torch_parametrizations
from torch.nn.utils import remove_spectral_norm as torch_remove
from torch.nn.utils import spectral_norm as torch_spectral_norm
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations
from torch.nn.utils.spectral_norm import SpectralNorm as TorchSpectralNorm

import fastwgan

ROWS = 4
FORMS = ("hook", "group", "parametrization")


def _dense(activation: Callable[[], nn.Module], *norms: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(6, 9), *norms, activation(), nn.Linear(9, 7), activation(), nn.Linear(7, 1)
    )


def _images(activation: Callable[[], nn.Module]) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1),
        activation(),
        nn.Conv2d(4, 3, 2),
        activation(),
        nn.Flatten(),
        nn.Linear(12, 1),
    )


CRITICS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "leaky": (lambda: _dense(lambda: nn.LeakyReLU(0.2)), (6,)),
    "relu": (lambda: _dense(nn.ReLU), (6,)),
    "tanh": (lambda: _dense(nn.Tanh), (6,)),
    "norm": (lambda: _dense(nn.SiLU, nn.LayerNorm(9)), (6,)),
    "leaky images": (lambda: _images(lambda: nn.LeakyReLU(0.2)), (2, 5, 5)),
    "tanh images": (lambda: _images(nn.Tanh), (2, 5, 5)),
}


class Asked:
    """What activations were asked for: how close to 0, where some have a kink, and how far."""

    closest = float("inf")
    furthest = 0.0
    most_saturated = 0.0  # of those that saturate, how far

    def forward(self, x: Tensor) -> Tensor:
        distances = x.detach().abs()
        Asked.furthest = max(Asked.furthest, float(distances.max()))
        if isinstance(self, (nn.Tanh, nn.SiLU)):
            Asked.most_saturated = max(Asked.most_saturated, float(distances.max()))
        distances = distances[distances > 0]  # where all is zero it is so in any precision
        if distances.numel() and isinstance(self, (nn.LeakyReLU, nn.ReLU)):
            Asked.closest = min(Asked.closest, float(distances.min()))
        return super().forward(x)  # type: ignore[misc, no-any-return]

    @staticmethod
    def forget() -> None:
        Asked.closest, Asked.furthest, Asked.most_saturated = float("inf"), 0.0, 0.0


class _Leaky(Asked, nn.LeakyReLU):
    pass


class _Relu(Asked, nn.ReLU):
    pass


class _Tanh(Asked, nn.Tanh):
    pass


class _Silu(Asked, nn.SiLU):
    pass


_WATCHED = {nn.LeakyReLU: _Leaky, nn.ReLU: _Relu, nn.Tanh: _Tanh, nn.SiLU: _Silu}


class _HookWithZeros(TorchSpectralNorm):
    """torch's, but that a weight of zeros gives zeros, and leaves u and v, as is meant here."""

    def compute_weight(self, module: nn.Module, do_power_iteration: bool) -> Tensor:
        weight: Tensor = getattr(module, self.name + "_orig")
        return super().compute_weight(module, do_power_iteration) if weight.any() else weight * 0


class _ParametrizationWithZeros(_SpectralNorm):
    """The same of the parametrization."""

    def forward(self, weight: Tensor) -> Tensor:
        return super().forward(weight) if weight.any() else weight * 0


def layers(critic: nn.Module) -> list[nn.Module]:
    return [m for m in critic.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]


def original(layer: nn.Module) -> Tensor:
    """The parameter behind a layer's weight."""
    if is_parametrized(layer, "weight"):
        return layer.parametrizations["weight"].original  # type: ignore[index, no-any-return]
    found = layer._parameters.get("weight", layer._parameters.get("weight_orig"))
    assert found is not None
    return found


def twins(kind: str) -> tuple[nn.Module, nn.Module]:
    """Ours, and theirs with activations that are watched."""
    ours = CRITICS[kind][0]().double()
    theirs = copy.deepcopy(ours)
    for module in theirs.modules():
        module.__class__ = _WATCHED.get(type(module), type(module))
    return ours, theirs


def normalise_ours(critic: nn.Module, form: str) -> None:
    if form == "group":
        fastwgan.spectral_norm(critic)
        return
    normalise: Any = fastwgan.spectral_norm
    if form == "parametrization":
        normalise = fastwgan.parametrizations.spectral_norm
    for layer in layers(critic):
        normalise(layer)


def normalise_theirs(critic: nn.Module, form: str) -> None:
    for layer in layers(critic):
        if form == "parametrization":
            torch_parametrizations.spectral_norm(layer)
            layer.parametrizations["weight"][0].__class__ = _ParametrizationWithZeros  # type: ignore
        else:
            torch_spectral_norm(layer)
            for hook in layer._forward_pre_hooks.values():
                hook.__class__ = _HookWithZeros


def remove_ours(critic: nn.Module, form: str) -> None:
    if form == "group":
        fastwgan.remove_spectral_norm(critic)
        return
    for layer in layers(critic):
        if form == "parametrization":
            remove_parametrizations(layer, "weight")
        else:
            fastwgan.remove_spectral_norm(layer)


def remove_theirs(critic: nn.Module, form: str) -> None:
    for layer in layers(critic):
        if form == "parametrization":
            remove_parametrizations(layer, "weight")
        else:
            torch_remove(layer)
            # torch leaves its hook on load_state_dict behind, which then asks for u and v.
            layer._load_state_dict_pre_hooks.clear()


def copy_of_theirs(critic: nn.Module) -> nn.Module:
    """A deep copy, which torch's hook refuses after a forward for the graph its weight hangs on."""
    for layer in layers(critic):
        if "weight" in layer.__dict__:
            layer.weight = layer.weight.detach()
    return copy.deepcopy(critic)
