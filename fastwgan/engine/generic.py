"""The generic way to a critic's gradient at its input: autograd's, over twins of operations.

Any critic can go it. The gradient is differentiable to any order, and what its derivative costs is
what the mathematics asks: a tangent and a weight gradient a layer.
"""

# ruff: noqa: D102 - a Function's methods have their contract in the class

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.graph import get_gradient_edge

from fastwgan.engine.reached import nodes_behind


class Run(NamedTuple):
    """One call of a critic, recorded by autograd."""

    scores: Tensor
    edge: Any  # autograd's edge of the points


class InputGradient(NamedTuple):
    """A critic's gradient at its points, and what else lies behind the critic's scores."""

    gradient: Tensor
    behind_scores: dict[Any, None]
    points: Any  # the node of the points themselves, one of `behind_scores`


def rooted(points: Tensor) -> Tensor:
    """The points as a tensor that requires grad, is no leaf, and may be written in place.

    Args:
        points: [batch, *sample], no leaf that requires grad, and in memory that nothing else
            reads. Becomes part of the graph.
    """
    if points.requires_grad:
        return points
    with torch.enable_grad():
        root: Tensor = Root.apply(points, _anchor(points))
        return root


def run(
    critic: Callable[..., Tensor],
    root: Tensor,
    mode: AbstractContextManager[Any],
    others: tuple[Any, ...] = (),
) -> Run:
    """Calls the critic once, with grad mode on, inside `mode`.

    Args:
        critic: The critic.
        root: Of `rooted`.
        mode: What watches the call.
        others: Further arguments of the critic.

    Raises:
        TypeError: the critic returned no tensor.
        ValueError: the critic's scores are not real, or do not require grad.
    """
    with torch.enable_grad():
        # Taken before the critic runs: an in-place operation on its input changes `grad_fn`.
        edge = get_gradient_edge(root)
        with eagerly(), mode:
            scores = critic(root, *others)
    _check_scores(scores)
    return Run(scores, edge)


@contextmanager
def eagerly() -> Iterator[None]:
    """Inside, critics made by torch.compile run as written: compilers would trace into modes.

    The compiler's stance is one for all threads, so the last to leave restores it.
    """
    with _LOCK:
        if not _stances:
            _stances.append(torch.compiler.set_stance("force_eager"))
        _stances.append(threading.get_ident())
    try:
        yield
    finally:
        with _LOCK:
            _stances.remove(threading.get_ident())
            if len(_stances) == 1:
                _stances.pop().__exit__(None, None, None)


_LOCK = threading.RLock()
_stances: list[Any] = []  # what restores the stance, and the thread of each level inside


def _leave_other_threads() -> None:
    """In a forked child, which has the forking thread alone."""
    _stances[1:] = [thread for thread in _stances[1:] if thread == threading.get_ident()]
    if len(_stances) == 1:
        _stances.pop().__exit__(None, None, None)
    _LOCK.release()


os.register_at_fork(
    before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_leave_other_threads
)


def input_gradient(at: Run, *, differentiable: bool, flows: bool) -> InputGradient:
    """The gradient of the sum of all scores at the points.

    Args:
        at: The critic's call.
        differentiable: Whether the gradient shall itself be differentiable, which keeps the graph.
        flows: Whether the points require grad for what lies behind them.

    Raises:
        ValueError: the scores have no gradient at the points.
    """
    behind = nodes_behind(at.scores.grad_fn, stop=at.edge.node)
    if at.edge.node not in behind:
        raise ValueError(NO_GRADIENT)
    trainable = flows or any(hasattr(node, "variable") for node in behind)
    (gradient,) = torch.autograd.grad(
        at.scores,
        at.edge,
        torch.ones_like(at.scores),
        create_graph=differentiable and trainable,
        allow_unused=True,
    )
    if gradient is None:
        raise ValueError(NO_GRADIENT)
    return InputGradient(gradient, behind, at.edge.node)


class Root(Function):
    """Makes a tensor a non-leaf that requires grad, so that a critic may write to it in place."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, anchor: Tensor) -> Tensor:
        ctx.mark_dirty(points)
        return points

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return g, None


class WithZeros(Function):
    """The penalty itself, with a gradient of zeros for tensors it may not depend on."""

    @staticmethod
    def forward(ctx: Any, penalty: Tensor, *without: Tensor) -> Tensor:
        # Not saved for the backward, where a changed version of a weight would be an error.
        ctx.without = without
        return penalty.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, ...]:
        return g, *(torch.zeros_like(tensor) for tensor in ctx.without)


def _anchor(points: Tensor) -> Tensor:
    return torch.empty(0, dtype=points.dtype, device=points.device, requires_grad=True)


NO_GRADIENT = (
    "critic returned scores that do not depend on its input through differentiable operations; "
    "they must, and must be neither constant nor detached."
)


def _check_scores(scores: Any) -> None:
    if not isinstance(scores, Tensor):
        raise TypeError(
            f"critic returned {type(scores).__name__}; it must return a tensor of scores: pass a "
            f"function that selects it."
        )
    if scores.is_complex():
        raise ValueError(f"critic returned {scores.dtype} scores; they must be real.")
    if not scores.requires_grad:
        raise ValueError(NO_GRADIENT)
