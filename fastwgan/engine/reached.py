"""Which leaves and which points of a recorded graph lie behind a tensor."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.autograd.function import BackwardCFunction


def nodes_behind(node: Any, stop: Any = None, *, surely: bool = False) -> dict[Any, None]:
    """Every node that a backward from `node` can come to, in a fixed order, `stop` itself included.

    Nothing behind `stop` is visited. With `surely`, only what a gradient certainly comes to:
    nothing behind nodes that pass none on to some of their inputs. Iterative: a critic's graph can
    be deeper than the stack.
    """
    found: dict[Any, None] = {}
    pending = [] if node is None else [node]
    while pending:
        current = pending.pop()
        if current in found:
            continue
        found[current] = None
        if current is not stop and not (surely and _may_withhold(current)):
            pending.extend(following for following, _ in current.next_functions if following)
    return found


def _may_withhold(node: Any) -> bool:
    """True for nodes whose backward leaves out gradients that are zero.

    Those are second derivatives in C++ and all normalisations (the bias of a layer norm lies behind
    its second derivative and gets none), and Functions that are not ours, which may do anything.
    """
    if isinstance(node, BackwardCFunction):
        return not type(node)._forward_cls.__module__.startswith("fastwgan.")  # type: ignore[attr-defined]
    name: str = node.name()
    return "Norm" in name or "BackwardBackward" in name


def leaves(nodes: dict[Any, None]) -> list[Tensor]:
    """The tensors whose gradients accumulate at these nodes."""
    return [node.variable for node in nodes if hasattr(node, "variable")]
