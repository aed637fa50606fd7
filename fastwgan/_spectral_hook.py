"""The forward pre-hook that normalises one weight of one module: torch's, on our operation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils.spectral_norm import SpectralNorm as TorchSpectralNorm
from torch.nn.utils.spectral_norm import (
    SpectralNormLoadStateDictPreHook,
    SpectralNormStateDictHook,
)

from fastwgan._spectral_checkpoints import StateDict, to_hook_form
from fastwgan._spectral_settings import check_numeric
from fastwgan._spectral_vectors import (
    ConvertKeepingVectorsWide,
    DeepCopyWithoutGraph,
    initial_vectors,
    widen_halves,
)
from fastwgan.ops.spectral_norm import spectral_norm

# In a module's __dict__: how many calls of a group's root this layer is in. Above 0 its weight has
# been normalised by the root. It belongs to the module, not to the hook, which replicas share.
ROOT_CALLS = "_spectral_norm_root_calls"


class GroupMark:
    """Says by identity which group a hook belongs to; copied and pickled along with both."""


class SpectralNormHook(TorchSpectralNorm):
    """Sets `module.<name>` to the normalised weight before each forward of the module.

    A subclass of torch's hook, so that `torch.nn.utils.remove_spectral_norm`, checks by isinstance
    and the version in the metadata of state dicts all hold.

    Attributes:
        group: The mark of the group that normalises the weight while its root is called.
        removed: True once the hook has been taken off its module.
    """

    group: GroupMark | None = None
    removed = False

    def compute_weight(self, module: nn.Module, do_power_iteration: bool) -> Tensor:
        """The normalised weight; moves u and v on if `do_power_iteration`."""
        normalised, _ = spectral_norm(
            [getattr(module, self.name + "_orig")],
            [getattr(module, self.name + "_u")],
            [getattr(module, self.name + "_v")],
            dims=[self.dim],
            n_power_iterations=self.n_power_iterations if do_power_iteration else 0,
            eps=self.eps,
            first="v",
        )
        return normalised[0]

    def __call__(self, module: nn.Module, inputs: Any) -> None:
        if self.group is None or not getattr(module, ROOT_CALLS):
            assign(module, self.name, self.compute_weight(module, module.training))

    def remove(self, module: nn.Module) -> None:
        """Leaves the weight as it would be used now, as a parameter; the caller drops this hook."""
        super().remove(module)
        self.removed = True
        for key, wrapped in list(module._load_state_dict_pre_hooks.items()):
            hook = getattr(wrapped, "hook", None)
            if isinstance(hook, _LoadHook) and hook.fn is self:
                del module._load_state_dict_pre_hooks[key]
        if all(hook is self for hook in spectral_norm_hooks(module)):
            for attribute in (ROOT_CALLS, "_apply", "__deepcopy__"):
                module.__dict__.pop(attribute, None)

    @staticmethod
    def apply(
        module: nn.Module, name: str, n_power_iterations: int, dim: int, eps: float
    ) -> SpectralNormHook:
        """Registers the hook, its buffers and its checkpoint hooks on `module`."""
        hook = SpectralNormHook(name, n_power_iterations, dim, eps)
        weight = checked_weight(module, name, dim)
        hook.dim = dim % weight.dim()
        u, v = initial_vectors(weight, hook.dim, eps)
        delattr(module, name)
        module.register_parameter(name + "_orig", weight)
        # Something under the old name must exist before the first forward; a Parameter assigned
        # here would be registered, hence the plain tensor.
        setattr(module, name, weight.data)
        module.register_buffer(name + "_u", u)
        module.register_buffer(name + "_v", v)
        module.register_forward_pre_hook(hook)
        module._register_state_dict_hook(SpectralNormStateDictHook(hook))
        module._register_load_state_dict_pre_hook(_LoadHook(hook))
        module.__dict__[ROOT_CALLS] = 0
        module.__dict__["_apply"] = ConvertKeepingVectorsWide(module, vector_names)
        module.__dict__["__deepcopy__"] = DeepCopyWithoutGraph(module, weight_names)
        return hook


class _LoadHook(SpectralNormLoadStateDictPreHook):
    """Reads checkpoints of either form, of torch or ours, of any precision and torch version."""

    def __call__(self, state_dict: StateDict, prefix: str, *args: Any) -> None:
        name = self.fn.name
        to_hook_form(state_dict, prefix, name)
        super().__call__(state_dict, prefix, *args)
        widen_halves(state_dict, [f"{prefix}{name}_u", f"{prefix}{name}_v"])


def assign(module: nn.Module, name: str, weight: Tensor) -> None:
    """setattr(module, name, weight), without the search for a parameter of that name."""
    if torch.compiler.is_compiling() or type(module).__setattr__ is not nn.Module.__setattr__:
        setattr(module, name, weight)
    else:
        module.__dict__[name] = weight


def spectral_norm_hooks(module: nn.Module) -> list[SpectralNormHook]:
    """Our hooks on `module`, one a normalised weight."""
    hooks = module._forward_pre_hooks.values()
    return [hook for hook in hooks if isinstance(hook, SpectralNormHook)]


def vector_names(module: nn.Module) -> list[str]:
    """Names of the u and v buffers of `module`."""
    return [hook.name + end for hook in spectral_norm_hooks(module) for end in ("_u", "_v")]


def weight_names(module: nn.Module) -> list[str]:
    """Names of the normalised weights of `module`."""
    return [hook.name for hook in spectral_norm_hooks(module)]


def is_normalised(module: nn.Module, name: str) -> bool:
    """True if torch's or our hook normalises `module.<name>`."""
    return any(
        isinstance(hook, TorchSpectralNorm) and hook.name == name
        for hook in module._forward_pre_hooks.values()
    )


def checked_weight(module: nn.Module, name: str, dim: int) -> nn.Parameter:
    """The parameter to normalise, or the reason why it can't be.

    Raises:
        RuntimeError: it has a spectral norm hook already.
        KeyError: the module has no parameter of that name.
        ValueError: the parameter is None, uninitialised or without dimensions.
        IndexError: `dim` is none of its dimensions.
        TypeError: it is sparse or not of a floating or complex dtype.
    """
    if is_normalised(module, name):
        raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
    weight = module._parameters[name]
    if weight is None:
        raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
    if isinstance(weight, UninitializedParameter):
        raise ValueError(
            "The module passed to `SpectralNorm` can't have uninitialized parameters. "
            "Make sure to run the dummy forward before applying spectral normalization"
        )
    if weight.dim() == 0:
        raise ValueError(f"parameter `{name}` was a scalar; it must have one dimension or more.")
    if not -weight.dim() <= dim < weight.dim():
        raise IndexError(
            f"dim was {dim}; it must be from {-weight.dim()} to {weight.dim() - 1} for parameter "
            f"`{name}`."
        )
    check_numeric(weight, f"parameter `{name}`")
    return weight
