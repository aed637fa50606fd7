"""What the functions that a critic calls are known for, by torch's own names."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def _getters(*names: str) -> set[Any]:
    return {getattr(Tensor, name).__get__ for name in names}


METADATA: frozenset[Any] = frozenset(
    {
        Tensor.size,
        Tensor.dim,
        Tensor.ndimension,
        Tensor.numel,
        Tensor.nelement,
        Tensor.stride,
        Tensor.storage_offset,
        Tensor.is_contiguous,
        Tensor.is_floating_point,
        Tensor.is_complex,
        Tensor.element_size,
        Tensor.get_device,
        Tensor.__len__,
        Tensor.is_pinned,
        torch.is_floating_point,
        torch.is_complex,
        torch.numel,
        torch.is_tensor,
    }
    | _getters("shape", "ndim", "dtype", "device", "layout", "requires_grad", "is_leaf")
    | _getters("is_cuda", "is_cpu", "is_sparse", "is_quantized", "is_meta", "itemsize")
    | _getters("is_mps", "is_xpu", "nbytes")
)
"""Read nothing but what every batch of as many rows has in common."""

REFUSED: dict[Any, str] = {
    Tensor.register_hook: "a tensor hook changes gradients",
    Tensor.retain_grad: "a gradient inside the critic is kept by retain_grad",
    Tensor.requires_grad_: "requires_grad is set inside the critic",
    Tensor.requires_grad.__set__: "requires_grad is set inside the critic",  # type: ignore[attr-defined]
    Tensor.data.__set__: "a tensor's data is replaced inside the critic",  # type: ignore[attr-defined]
    Tensor.set_: "a tensor's data is replaced inside the critic",
    Tensor.backward: "the critic calls backward",
    torch.autograd.grad: "the critic takes gradients of its own",
    F.embedding_bag: "embedding_bag has no double backward",
}

_RANDOM = """
dropout dropout_ dropout1d dropout2d dropout3d alpha_dropout alpha_dropout_ feature_dropout
feature_dropout_ feature_alpha_dropout feature_alpha_dropout_ rrelu rrelu_ gumbel_softmax
bernoulli bernoulli_ multinomial normal normal_ uniform_ random_ exponential_ geometric_
cauchy_ log_normal_ poisson rand rand_like randn randn_like randint randint_like randperm
native_dropout binomial batch_norm fractional_max_pool2d fractional_max_pool3d
"""

RANDOM_NAMES = frozenset(_RANDOM.split())
"""Functions that may draw random numbers, and may be called again with others."""


def name_of(function: Any) -> str:
    """The function's name, of an attribute's getter the attribute's."""
    name: str = getattr(function, "__name__", "") or repr(function)
    owner = getattr(function, "__self__", None)
    return getattr(owner, "__name__", name) if name == "__get__" else name


def may_write(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """True for calls that could write their arguments, told by name as torch names them."""
    name = getattr(function, "__name__", "")
    return (
        (name.endswith("_") and not name.endswith("__"))
        or name in _WRITERS
        or kwargs.get("inplace") is True
        or kwargs.get("out") is not None
        or any(argument is True for argument in args)
    )


_WRITERS = frozenset(
    ["__setitem__", "__set__"]
    + [f"__i{name}__" for name in ("add", "sub", "mul", "truediv", "pow", "matmul", "mod")]
)
