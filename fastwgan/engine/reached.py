"""Which leaves and which points of a recorded graph lie behind a tensor."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def nodes_behind(node: Any, stop: Any = None) -> dict[Any, None]:
    """Every node that a backward from `node` can come to, in a fixed order, `stop` itself included.

    Nothing behind `stop` is visited. Iterative: a critic's graph can be deeper than the stack.
    """
    found: dict[Any, None] = {}
    pending = [] if node is None else [node]
    while pending:
        current = pending.pop()
        if current in found:
            continue
        found[current] = None
        if current is not stop:
            pending.extend(following for following, _ in current.next_functions if following)
    return found


def leaves(nodes: dict[Any, None]) -> list[Tensor]:
    """The tensors whose gradients accumulate at these nodes."""
    return [node.variable for node in nodes if hasattr(node, "variable")]
