"""Which gradients a running backward asks of a Function."""

from __future__ import annotations

from typing import Any

import torch


def wanted(ctx: Any, count: int) -> list[bool]:
    """For each of a Function's first `count` inputs, whether its gradient is asked for.

    `needs_input_grad` says which can have one. `torch.autograd.grad(y, x)` asks only for those of
    x's ancestors, which the engine tells operations in C++ and not Functions; a gradient of a
    weight that nobody asked for costs a whole product.
    """
    return [
        bool(ctx.needs_input_grad[index]) and _is_asked_for(ctx.next_functions[index][0])
        for index in range(count)
    ]


def _is_asked_for(node: Any) -> bool:
    if not hasattr(node, "variable"):
        return torch._C._will_engine_execute_node(node)
    try:
        return torch._C._will_engine_execute_node(node)
    except RuntimeError:  # says that the leaf is one of those `torch.autograd.grad` was asked for
        return True
