"""When a twin may stand in for an operation; wherever it may not, the plain operation runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

_EXACT = (Tensor, Parameter)


def saving_hooks() -> Any:
    """The innermost hooks on saved tensors now, or None."""
    return torch._C._autograd._top_saved_tensors_default_hooks(False)


def records_plainly(hooks: Any) -> bool:
    """True when autograd alone is recording: the twins know nothing of any other transformation.

    Args:
        hooks: `saving_hooks()` before the critic was called. Others inside it are those of
            `torch.utils.checkpoint`, which runs the same operations again in the backward, without
            twins, and must find the same tensors saved.
    """
    return (
        torch.is_grad_enabled()
        and torch._C._functorch.peek_interpreter_stack() is None
        and forward_ad._current_level < 0
        and not torch.compiler.is_compiling()
        and saving_hooks() == hooks
    )


def is_plain(tensor: Any) -> bool:
    """True for an exact dense real floating-point tensor, all that the twins compute on."""
    return (
        type(tensor) in _EXACT
        and tensor.layout is torch.strided
        and tensor.is_floating_point()
        and not tensor.is_meta
    )


def is_recorded(tensor: Any) -> bool:
    """True for a plain tensor through which a gradient can flow."""
    return is_plain(tensor) and bool(tensor.requires_grad)


def can_be_overwritten(tensor: Tensor) -> bool:
    """True when an in-place twin keeps autograd's rules.

    A leaf must not be written, and writing a view rewrites its base's history, which the plain
    operation does and a Function marking its input dirty does only in part.
    """
    return tensor.grad_fn is not None and not tensor._is_view()
