"""The layers of a group as they stand under one root: lists ready for a call of the operation."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor, nn

from fastwgan._spectral_hook import ROOT_CALLS, GroupMark, SpectralNormHook, spectral_norm_hooks

# (parent._modules, key, child), where child is None if the parent has no such module any more.
_Step = tuple[dict[str, nn.Module | None], str, nn.Module | None]


class Plan:
    """The modules of a group, with the dictionaries that hold their tensors in the same order.

    The tensors are read anew at every call, since conversions and checkpoints replace them.
    """

    def __init__(self, root: nn.Module, names: list[str], mark: GroupMark) -> None:
        self.modules: list[nn.Module] = []
        self.hooks: list[SpectralNormHook] = []
        for name in names:
            module = _steps(root, name)[-1][2]
            if module is not None:
                for hook in spectral_norm_hooks(module):
                    if hook.group is mark:
                        self.modules.append(module)
                        self.hooks.append(hook)
        self.dims = [hook.dim for hook in self.hooks]
        self._parameters: list[dict[str, Any]] = [module._parameters for module in self.modules]
        self._buffers: list[dict[str, Any]] = [module._buffers for module in self.modules]
        self._setattr_is_plain = all(
            type(module).__setattr__ is nn.Module.__setattr__ for module in self.modules
        )

    def tensors(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """The weights to normalise, u and v."""
        try:
            weights = [parameters["weight_orig"] for parameters in self._parameters]
        except KeyError:
            # Not a parameter in the replicas of DataParallel, or once something like pruning or a
            # parametrization of weight_orig has put an attribute in its place.
            weights = [module.weight_orig for module in self.modules]
        return (
            weights,
            [buffers["weight_u"] for buffers in self._buffers],
            [buffers["weight_v"] for buffers in self._buffers],
        )

    def set_weights(self, weights: list[Tensor]) -> None:
        """Sets `weight` of every module, past Module.__setattr__ where nothing else listens."""
        if self._setattr_is_plain and not torch.compiler.is_compiling():
            for module, weight in zip(self.modules, weights, strict=True):
                module.__dict__["weight"] = weight
        else:
            for module, weight in zip(self.modules, weights, strict=True):
                module.weight = weight

    @property
    def root_calls(self) -> int:
        """Of how many calls of the root the modules are part now."""
        return getattr(self.modules[0], ROOT_CALLS, 0) if self.modules else 0

    @root_calls.setter
    def root_calls(self, calls: int) -> None:
        if torch.compiler.is_compiling():
            for module in self.modules:
                setattr(module, ROOT_CALLS, calls)
        else:
            for module in self.modules:
                module.__dict__[ROOT_CALLS] = calls


class CachedPlan(Plan):
    """A plan that knows whether it is still the right one."""

    def __init__(self, root: nn.Module, names: list[str], mark: GroupMark) -> None:
        super().__init__(root, names, mark)
        # Weak, since the root owns this plan: a cycle would keep its memory until collected.
        self._root = weakref.ref(root)
        self._steps = list(
            {(id(step[0]), step[1]): step for name in names for step in _steps(root, name)}.values()
        )

    def holds_for(self, root: nn.Module) -> bool:
        """True if `root` is the plan's root, and no layer and no hook has gone from it since."""
        if self._root() is not root:
            return False
        for children, key, child in self._steps:
            if children.get(key) is not child:
                return False
        # A list, which costs half of what a generator does.
        return True not in [hook.removed for hook in self.hooks]


def _steps(root: nn.Module, name: str) -> list[_Step]:
    """The way from `root` down to the module called `name`, as far as it goes."""
    steps: list[_Step] = []
    parent: nn.Module | None = root
    for key in name.split("."):
        if parent is None:
            break
        children = parent._modules
        parent = children.get(key)
        steps.append((children, key, parent))
    return steps
