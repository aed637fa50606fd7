"""Spectral normalisation of critics: a literal replacement of `torch.nn.utils.spectral_norm`.

Given one layer it registers torch's hook on our operation; given a whole critic it normalises all
its layers as one group, by one call of the operation per forward of the critic.
"""

from __future__ import annotations

from typing import TypeVar

import torch.nn.utils.parametrize as parametrize
from torch import nn
from torch.nn.utils import parametrizations as torch_parametrizations
from torch.nn.utils import remove_spectral_norm as torch_remove_spectral_norm

from fastwgan._spectral_group import SpectralNormGroup
from fastwgan._spectral_hook import SpectralNormHook, checked_weight, is_normalised
from fastwgan._spectral_settings import TRANSPOSED, check_settings, dim_of
from fastwgan.parametrizations import SpectralNorm as ParametrizedSpectralNorm

__all__ = ["SpectralNorm", "remove_spectral_norm", "spectral_norm"]

NAME = "weight"

ModuleT = TypeVar("ModuleT", bound=nn.Module)

_LAYERS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    *TRANSPOSED,
    nn.Embedding,
    nn.Bilinear,
)


def spectral_norm(
    module: ModuleT,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> ModuleT:
    """Divides a weight by its largest singular value, estimated anew before every forward.

    Takes the arguments of `torch.nn.utils.spectral_norm` and gives its numbers, random draws
    included, to rounding. The parameter becomes `<name>_orig`, with the singular vectors in the
    buffers `<name>_u` and `<name>_v`; `module.<name>` holds the last normalised weight. In training
    mode each forward moves u and v on by `n_power_iterations`; in eval mode they stay.

    With name="weight", a module that has no such parameter but holds Linear, Conv, ConvTranspose,
    Embedding or Bilinear layers has all of them normalised as one group: one call of the operation
    per forward of `module`, which moves every u and v on once however often a layer is used in it.
    Layers that are normalised already are left alone. A layer called by itself normalises itself.
    The state dict is the one that torch's hook on each layer gives.

    It differs from torch in three ways, all to the better: `.half()` and `.bfloat16()` leave u and
    v in float32, in which sigma is computed whatever the weight's dtype; an all-zero weight gives
    zeros and a gradient of zeros, where torch gives NaN; and a module can be deep-copied after a
    forward. u, v are constants for the gradient, and belong to no other module after a copy.
    Checkpoints load from and into torch's hook form, and load from both parametrization forms.

    Args:
        module: The module with the parameter, or a root of layers. Changed in place.
        name: The parameter, of any shape with a dimension or more, any floating or complex dtype,
            any device and strides.
        n_power_iterations: Power iterations per forward in training mode, 1 or more.
        eps: Least divisor in the normalisation of u and v.
        dim: The dimension that counts the outputs; None means 1 for ConvTranspose, else 0.

    Returns:
        The same module.

    Raises:
        RuntimeError: the parameter, or every layer of the root, is normalised already.
        KeyError: the module has no parameter `name`.
        ValueError: n_power_iterations below 1, eps below 0 or not finite; a parameter that is None,
            uninitialised or, in a root's layer, parametrized otherwise.
        IndexError: `dim` is none of the parameter's dimensions.
        TypeError: a wrong type or dtype.

    Differentiable to any order. Cost: the weights are read 3 times and written once by forward and
    backward each. For a convolution, the norm of the reshaped weight bounds the norm of the
    convolution only up to a factor.

    Source: Miyato et al. 2018, https://arxiv.org/abs/1802.05957, algorithm 1.
    """
    check_settings(module, name, n_power_iterations, eps, dim)
    if name == NAME and _is_root(module):
        _normalise_layers(module, n_power_iterations, eps, dim)
    else:
        SpectralNormHook.apply(module, name, n_power_iterations, dim_of(module, dim), eps)
    return module


SpectralNorm = spectral_norm


def remove_spectral_norm(module: ModuleT, name: str = "weight") -> ModuleT:
    """Takes spectral normalisation off a layer, or off all layers of a root's groups.

    Each weight stays as it would be used now, as a parameter; u and v do not move.

    Args:
        module: What was given to `spectral_norm`. Changed in place.
        name: The parameter.

    Returns:
        The same module.

    Raises:
        ValueError: there is no spectral norm on `name` here.
    """
    groups = [] if name != NAME or is_normalised(module, name) else _groups(module)
    for group in groups:
        for layer in group.plan(module).modules:
            torch_remove_spectral_norm(layer, NAME)
        group.detach(module)
    return module if groups else torch_remove_spectral_norm(module, name)


def _normalise_layers(
    root: nn.Module, n_power_iterations: int, eps: float, dim: int | None
) -> None:
    layers = {name: layer for name, layer in _layers(root).items() if not _has_spectral_norm(layer)}
    if not layers:
        raise RuntimeError(
            f"Cannot register two spectral_norm hooks on the same parameter {NAME}: every layer of "
            "the module has one."
        )
    for name, layer in layers.items():
        if parametrize.is_parametrized(layer, NAME) or NAME not in layer._parameters:
            raise ValueError(
                f"layer '{name}' had a reparametrized weight; it must be a plain parameter."
            )
        checked_weight(layer, NAME, dim_of(layer, dim))
    group = SpectralNormGroup(list(layers), n_power_iterations, eps)
    for layer in layers.values():
        hook = SpectralNormHook.apply(layer, NAME, n_power_iterations, dim_of(layer, dim), eps)
        hook.group = group.mark
    group.attach(root)


def _is_root(module: nn.Module) -> bool:
    owns_weight = NAME in module._parameters or isinstance(module, _LAYERS)
    return not owns_weight and not is_normalised(module, NAME) and bool(_layers(module))


def _layers(root: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in root.named_modules() if isinstance(module, _LAYERS)}


def _has_spectral_norm(layer: nn.Module) -> bool:
    if is_normalised(layer, NAME):
        return True
    if not parametrize.is_parametrized(layer, NAME):
        return False
    kinds = (torch_parametrizations._SpectralNorm, ParametrizedSpectralNorm)
    return any(isinstance(part, kinds) for part in layer.parametrizations[NAME])  # type: ignore


def _groups(root: nn.Module) -> list[SpectralNormGroup]:
    owners = (getattr(hook, "__self__", None) for hook in root._forward_pre_hooks.values())
    return [owner for owner in owners if isinstance(owner, SpectralNormGroup)]
