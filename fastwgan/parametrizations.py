"""Spectral normalisation as a parametrization, as `torch.nn.utils.parametrizations` has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch.nn.functional as F
import torch.nn.utils.parametrize as parametrize
from torch import Tensor, nn

from fastwgan._spectral_checkpoints import StateDict, to_parametrization_form
from fastwgan._spectral_settings import check_numeric, check_settings, dim_of
from fastwgan._spectral_vectors import initial_vectors, wide_enough, widen_halves
from fastwgan.ops.spectral_norm import spectral_norm as normalise

__all__ = ["SpectralNorm", "spectral_norm"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)

_WARM_UP = 15


class SpectralNorm(nn.Module):
    """The parametrization W -> W / sigma(W), for `torch.nn.utils.parametrize`.

    Buffers: `_u` [rows] and `_v` [columns], float32 for half precision weights, moved on by
    `n_power_iterations` at every evaluation in training mode. A weight of one dimension is divided
    by its Euclidean norm and has no buffers.

    Args:
        weight: The tensor to be parametrized, of any shape with a dimension or more, any floating
            or complex dtype, device and strides; its values start u and v off by 15 iterations.
        n_power_iterations: 1 or more.
        dim: The dimension that counts the outputs.
        eps: Least divisor in the normalisation of u and v.

    Raises:
        IndexError: `dim` is none of the weight's dimensions.
        ValueError: n_power_iterations below 1.
        TypeError: the weight is not of a floating or complex dtype, or not dense.

    Differentiable to any order; u and v count as constants.

    Source: Miyato et al. 2018, https://arxiv.org/abs/1802.05957, algorithm 1.
    """

    _u: Tensor
    _v: Tensor

    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        ndim = weight.dim()
        if not -ndim <= dim < ndim:
            raise IndexError(
                f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but got "
                f"{dim})"
            )
        check_settings(self, "weight", n_power_iterations, eps, dim)
        check_numeric(weight, "the weight")
        self.dim = dim % ndim
        self.eps = eps
        self.n_power_iterations = n_power_iterations
        if ndim > 1:
            u, v = initial_vectors(weight, self.dim, eps)
            self.register_buffer("_u", u)
            self.register_buffer("_v", v)
            self._normalise(weight.detach(), _WARM_UP)

    def forward(self, weight: Tensor) -> Tensor:
        """The normalised weight, in the shape, dtype and strides of `weight`."""
        if weight.dim() == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        return self._normalise(weight, self.n_power_iterations if self.training else 0)

    def right_inverse(self, value: Tensor) -> Tensor:
        """`value`: assigning to a parametrized weight sets the weight before normalisation."""
        return value

    def _normalise(self, weight: Tensor, n_power_iterations: int) -> Tensor:
        normalised, _ = normalise(
            [weight],
            [self._u],
            [self._v],
            dims=[self.dim],
            n_power_iterations=n_power_iterations,
            eps=self.eps,
            first="u",
        )
        return normalised[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SpectralNorm:
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, vector in before.items():
            converted = self._buffers[name]
            if vector is not None and converted is not None:
                self._buffers[name] = wide_enough(converted, vector)
        return self

    def _load_from_state_dict(self, state_dict: StateDict, prefix: str, *args: Any) -> None:
        widen_halves(state_dict, [f"{prefix}_u", f"{prefix}_v"])
        super()._load_from_state_dict(state_dict, prefix, *args)


def spectral_norm(
    module: ModuleT,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> ModuleT:
    """Registers the parametrization `SpectralNorm` on `module.<name>`.

    Takes the arguments of `torch.nn.utils.parametrizations.spectral_norm` and gives its numbers,
    random draws included, to rounding; other parametrizations may stand before and after it, and
    `torch.nn.utils.parametrize.remove_parametrizations` takes it off. Every access to the weight in
    training mode moves u and v on, inside `parametrize.cached()` the first one only.

    What differs from torch is what `fastwgan.spectral_norm` says: u, v in float32 for half
    precision weights, zeros for an all-zero weight. Checkpoints load from torch's parametrization
    and into it, and from both hook forms.

    Args:
        module: The module with the tensor. Changed in place.
        name: The parameter or buffer, of any shape with a dimension or more, any floating or
            complex dtype, any device and strides.
        n_power_iterations: Power iterations per access in training mode, 1 or more.
        eps: Least divisor in the normalisation of u and v.
        dim: The dimension that counts the outputs; None means 1 for ConvTranspose, else 0.

    Returns:
        The same module.

    Raises:
        ValueError: there is no tensor `name`; n_power_iterations below 1; eps below 0 or not
            finite.
        IndexError: `dim` is none of the tensor's dimensions.
        TypeError: a wrong type or dtype.

    Differentiable to any order. Cost: 3 readings and 1 writing of the weight, forward and backward
    each.

    Source: Miyato et al. 2018, https://arxiv.org/abs/1802.05957, algorithm 1.
    """
    check_settings(module, name, n_power_iterations, eps, dim)
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    parametrization = SpectralNorm(weight, n_power_iterations, dim_of(module, dim), eps)
    parametrize.register_parametrization(module, name, parametrization)
    loaders = (getattr(each, "hook", None) for each in module._load_state_dict_pre_hooks.values())
    if not any(isinstance(each, _HookFormLoader) and each.name == name for each in loaders):
        module.register_load_state_dict_pre_hook(_HookFormLoader(name))
    return module


class _HookFormLoader:
    """Lets the module that owns a parametrization load checkpoints of the hook forms."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, module: nn.Module, state_dict: StateDict, prefix: str, *args: Any) -> None:
        if not parametrize.is_parametrized(module, self.name):
            return
        for index, part in enumerate(module.parametrizations[self.name]):  # type: ignore[index]
            if isinstance(part, SpectralNorm):
                to_parametrization_form(state_dict, prefix, self.name, index)
                return
