"""u and v of a layer: their first values, and how they outlive conversions and copies of a module.

The two classes at the end stand in a module's `__dict__` under the name of the method they replace,
since a hook has no class of its own to override it in. They hold their module weakly (a strong
reference would keep a critic's memory until the garbage collector runs), and copies and pickles of
the module carry a copy that belongs to the new module.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastwgan.ops.spectral_norm import matrix_sizes, vector_dtype

_HALVES = (torch.float16, torch.bfloat16)

# Shapes what a module's hooks say about it: the names of its u and v buffers, of its weights.
NamesOf = Callable[[nn.Module], list[str]]


@torch.no_grad()
def initial_vectors(weight: Tensor, dim: int, eps: float) -> tuple[Tensor, Tensor]:
    """Random unit u [rows] and v [columns].

    Drawn as torch draws them (u first, in the weight's dtype), so that equal seeds give equal
    numbers and leave the generator in the same state.
    """
    rows, columns = matrix_sizes(weight, dim)
    u = weight.new_empty(rows).normal_(0, 1)
    v = weight.new_empty(columns).normal_(0, 1)
    dtype = vector_dtype(weight)
    return F.normalize(u.to(dtype), dim=0, eps=eps), F.normalize(v.to(dtype), dim=0, eps=eps)


def wide_enough(converted: Tensor, before: Tensor) -> Tensor:
    """`converted`, or where that is in half precision `before` in float32 on the same device."""
    if converted.dtype not in _HALVES:
        return converted
    source = converted if before.is_meta else before
    return source.to(device=converted.device, dtype=torch.float32)


def widen_halves(state_dict: dict[str, Any], keys: list[str]) -> None:
    """Turns half precision vectors of a checkpoint into float32 (`assign=True` would keep them)."""
    for key in keys:
        vector = state_dict.get(key)
        if isinstance(vector, Tensor) and vector.dtype in _HALVES:
            state_dict[key] = vector.float()


class _Replacement:
    """A callable in place of a method of one module."""

    def __init__(self, module: nn.Module, names_of: NamesOf) -> None:
        self._module = weakref.ref(module)
        self._names_of = names_of

    @property
    def module(self) -> nn.Module:
        module = self._module()
        if module is None:
            raise RuntimeError("this method's module no longer exists.")
        return module

    def __getstate__(self) -> dict[str, Any]:
        return {"module": self.module, "names_of": self._names_of}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._module = weakref.ref(state["module"])
        self._names_of = state["names_of"]


class ConvertKeepingVectorsWide(_Replacement):
    """`module._apply`: `.half()` and `.bfloat16()` leave u and v in float32, whatever else follows.

    `names_of` names the buffers.
    """

    def __call__(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> nn.Module:
        module = self.module
        before = {name: module._buffers[name] for name in self._names_of(module)}
        type(module)._apply(module, fn, *args, **kwargs)
        for name, vector in before.items():
            converted = module._buffers[name]
            if converted is not None and vector is not None:
                module._buffers[name] = wide_enough(converted, vector)
        return module


class DeepCopyWithoutGraph(_Replacement):
    """`module.__deepcopy__`: the copy gets the values of the normalised weights alone.

    After a forward they carry a graph, which `copy.deepcopy` refuses to copy. `names_of` names
    them.
    """

    def __call__(self, memo: dict[int, Any]) -> nn.Module:
        module = self.module
        for name in self._names_of(module):
            weight = getattr(module, name)
            if not weight.is_leaf:
                memo[id(weight)] = weight.detach().clone()
        own: Any = getattr(type(module), "__deepcopy__", None)
        if own is not None:
            copied: nn.Module = own(module, memo)
            return copied
        reduced: Any = module.__reduce_ex__(4)
        construct, arguments, state = reduced[:3]
        replica: nn.Module = construct(*arguments)
        memo[id(module)] = replica
        replica.__setstate__(copy.deepcopy(state, memo))
        return replica
