"""The torch library every operation is defined in, and the test that lets a call skip it.

A call through `torch.library` costs 2-4 microseconds more than a direct one and an autograd formula
registered there some fifty more, so plain eager calls go straight to the kernel. Everything that
looks at operations from outside (compilers, fake tensors, modes, subclasses) needs the library.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from fastwgan import backends

LIBRARY = torch.library.Library("fastwgan", "DEF")

_EXACT = {Tensor, Parameter}
_PLAIN = (None, "cpu")  # the choices under which CPU tensors go to the CPU kernels
_is_meta = Tensor.is_meta.__get__  # type: ignore[attr-defined]


def no_mode_active() -> bool:
    """True when nothing intercepts operations: no mode, no functorch transform, no tracing."""
    return not (
        torch.compiler.is_compiling()
        or torch._C._len_torch_function_stack()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._functorch.peek_interpreter_stack() is not None
        or torch._C._get_tracing_state() is not None
    )


def takes_plain() -> bool:
    """True when calls may try the CPU kernels' plain entries, which test the tensors themselves."""
    return no_mode_active() and backends.forced() in _PLAIN


def is_exact(tensors: Iterable[Tensor]) -> bool:
    """True when no mode is active and every tensor is exactly a Tensor or a Parameter."""
    return no_mode_active() and _EXACT.issuperset(map(type, tensors))


def by_device(tensors: Sequence[Tensor]) -> list[list[int]]:
    """The tensors' indices, those of one device together: a kernel takes no two devices."""
    groups: dict[torch.device, list[int]] = {}
    for index, tensor in enumerate(tensors):
        groups.setdefault(tensor.device, []).append(index)
    return list(groups.values())


def is_direct(tensors: Sequence[Tensor]) -> bool:
    """True when pointers of these tensors may be handed to a kernel without the dispatcher.

    Fake tensors are a subclass; a meta tensor has no memory that a pointer could name. Both go
    through the library, which knows their shapes.
    """
    return is_exact(tensors) and not any(map(_is_meta, tensors))
