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
    Tensor.register_hook: "a tensor hook, which can change gradients",
    Tensor.retain_grad: "a gradient that is kept by retain_grad",
    Tensor.requires_grad_: "a requires_grad that is set inside",
    Tensor.requires_grad.__set__: "a requires_grad that is set inside",  # type: ignore[attr-defined]
    Tensor.data.__set__: "a tensor whose data is replaced inside",  # type: ignore[attr-defined]
    Tensor.set_: "a tensor whose data is replaced inside",
    Tensor.backward: "a backward of its own",
    torch.autograd.grad: "gradients of its own (torch.autograd.grad)",
    Tensor.grad_fn.__get__: "a look at grad_fn, on which hooks can change gradients",  # type: ignore[union-attr]
    F.embedding_bag: "embedding_bag, which has no double backward",
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


_SIZED_BY_VALUES = frozenset(
    {
        "argwhere",
        "bincount",
        "masked_select",
        "nonzero",
        "to_sparse",
        "unique",
        "unique_consecutive",
    }
)


def _is_read_as_a_number(index: Any) -> bool:
    """True for masks, and for tensors that an index or a slice takes as a Python number."""
    if isinstance(index, slice):
        return any(isinstance(end, Tensor) for end in (index.start, index.stop, index.step))
    return isinstance(index, Tensor) and (
        index.dim() == 0 or index.dtype in (torch.bool, torch.uint8)
    )


def may_be_sized_by_values(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """True for calls whose result's shape may depend on numbers in tensors, not on shapes alone."""
    name = name_of(function)
    if name in ("__getitem__", "index"):
        indices = args[1] if isinstance(args[1], (list, tuple)) else (args[1],)
        return any(map(_is_read_as_a_number, indices))
    if name == "where":
        return len(args) + len(kwargs) == 1
    if name in ("repeat_interleave", "tensor_split"):
        return any(isinstance(value, Tensor) for value in (*args[1:], *kwargs.values()))
    return name in _SIZED_BY_VALUES


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
