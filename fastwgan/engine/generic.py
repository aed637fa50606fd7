"""The generic way to a critic's gradient at its input: autograd's, over twins of operations.

Any critic can go it. The gradient is differentiable to any order, and what its derivative costs is
what the mathematics asks: a tangent and a weight gradient a layer.
"""

# ruff: noqa: D102 - a Function's methods have their contract in the class

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.graph import get_gradient_edge

from fastwgan.engine.reached import nodes_behind
from fastwgan.engine.twins import Twins


class InputGradient(NamedTuple):
    """A critic's gradient at its points, and what else lies behind the critic's scores."""

    gradient: Tensor
    behind_scores: dict[Any, None]
    points: Any  # the node of the points themselves, one of `behind_scores`


def input_gradient(
    critic: Callable[[Tensor], Tensor], points: Tensor, *, differentiable: bool
) -> InputGradient:
    """The gradient of the sum of all scores at `points`, by one call of the critic.

    Args:
        critic: Called once, with grad mode on, on a tensor of the values of `points`.
        points: [batch, *sample], no leaf that requires grad, and in memory that nothing else
            reads, since the critic may write to it. Becomes part of the graph.
        differentiable: Whether the gradient shall itself be differentiable, which keeps the graph.

    Raises:
        TypeError: the critic returned no tensor.
        ValueError: the critic's scores are not real, or have no gradient at the points.
    """
    flows = points.requires_grad
    with torch.enable_grad():
        rooted = points if flows else Root.apply(points, _anchor(points))
        # Taken before the critic runs: an in-place operation on its input changes `grad_fn`.
        edge = get_gradient_edge(rooted)
        with Twins() if differentiable else nullcontext():
            scores = critic(rooted)
    _check_scores(scores)
    behind = nodes_behind(scores.grad_fn, stop=edge.node)
    if edge.node not in behind:
        raise ValueError(_NO_GRADIENT)
    trainable = flows or any(hasattr(node, "variable") for node in behind)
    (gradient,) = torch.autograd.grad(
        scores,
        edge,
        torch.ones_like(scores),
        create_graph=differentiable and trainable,
        allow_unused=True,
    )
    if gradient is None:
        raise ValueError(_NO_GRADIENT)
    return InputGradient(gradient, behind, edge.node)


class Root(Function):
    """Makes a tensor a non-leaf that requires grad, so that a critic may write to it in place."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, anchor: Tensor) -> Tensor:
        ctx.mark_dirty(points)
        return points

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return g, None


def _anchor(points: Tensor) -> Tensor:
    return torch.empty(0, dtype=points.dtype, device=points.device, requires_grad=True)


_NO_GRADIENT = (
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
        raise ValueError(_NO_GRADIENT)
