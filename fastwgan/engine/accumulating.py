"""Adds gradients that are computed already to `.grad`, without a walk of autograd's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def accumulate(tensors: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> bool:
    """Does what a backward would do at leaves that nobody else watches.

    The gradients are handed over: nobody else may write or read them.

    Args:
        tensors: Those that require grad.
        gradients: Of these, in their dtypes and shapes; None is zero.

    Returns:
        False, with nothing added, where a backward would do more: a tensor is no leaf, or has
        hooks.
    """
    if not all(map(_is_plain_leaf, tensors)):
        return False
    with torch.no_grad():
        for tensor, gradient in zip(tensors, gradients, strict=True):
            found = torch.zeros_like(tensor) if gradient is None else gradient
            if tensor.grad is not None:
                tensor.grad.add_(found)
            elif found.stride() == tensor.stride():
                tensor.grad = found
            else:
                tensor.grad = torch.empty_like(tensor).copy_(found)
    return True


def _is_plain_leaf(tensor: Tensor) -> bool:
    return bool(
        tensor.is_leaf and not tensor._backward_hooks and not tensor._post_accumulate_grad_hooks
    )
