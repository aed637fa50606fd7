"""How a twin is held against its operation: derivatives to the third order, and the graph used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import grad
from torch.utils._python_dispatch import TorchDispatchMode

from fastwgan.engine.reached import nodes_behind
from fastwgan.engine.twins import Twins
from tests.compare import assert_gradients_match, assert_matches

Operation = Callable[..., Tensor]


class Derivatives(NamedTuple):
    """Value, and derivatives by every input, of a function of the value that is not linear."""

    value: Tensor
    orders: list[list[Tensor | None]]


def derivatives(operation: Operation, inputs: Sequence[Tensor], orders: int = 3) -> Derivatives:
    """Each order's sum is weighted by fixed random numbers, and the first by the value squared."""
    generator = torch.Generator().manual_seed(7)
    value = operation(*inputs)
    # The cotangent depends on the inputs too, so that all mixed derivatives are asked for.
    current = value * _weights(value, generator) + 0.1 * value.square()
    found = []
    for order in range(orders):
        last = order == orders - 1
        gradients = grad(current.sum(), inputs, create_graph=not last, allow_unused=True)
        found.append(list(gradients))
        terms = [g * _weights(g, generator) for g in gradients if g is not None]
        current = torch.stack([term.sum() for term in terms]).sum()
        if not current.requires_grad:
            break
    return Derivatives(value, found)


def _weights(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like.dtype)


def assert_twin(
    operation: Operation, inputs: Sequence[Tensor], node: str | None, *, orders: int = 3
) -> None:
    """Twin and operation agree to 1e-12, and the twin ran, or for node None did not."""
    leaves = [t.detach().clone().requires_grad_(t.requires_grad) for t in inputs]
    plain = derivatives(operation, leaves, orders)
    with Twins():
        value = operation(*leaves)
        assert_used(value, node)
        twin = derivatives(operation, leaves, orders)
    assert value.dtype is plain.value.dtype
    assert_matches(twin.value, plain.value, op="twins", order=0)
    assert len(twin.orders) <= len(plain.orders)
    for order, (got, want) in enumerate(zip(twin.orders, plain.orders, strict=False), 1):
        filled = [_or_zeros(g, t) for g, t in zip(got, leaves, strict=True)]
        expected = [_or_zeros(w, t) for w, t in zip(want, leaves, strict=True)]
        if any(bool((w != 0).any()) for w in expected):
            assert_gradients_match(filled, expected, op="twins", order=min(order, 2))
        else:
            assert not any(bool((g != 0).any()) for g in filled)
    for want in plain.orders[len(twin.orders) :]:
        assert not any(bool((w != 0).any()) for w in want if w is not None)


def _or_zeros(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else gradient


NODES = ("PiecewiseLinearBackward", "ConvolutionBackward")  # of twins; torch's have a 0 at the end


def assert_used(value: Tensor, node: str | None) -> None:
    """The graph behind `value` holds the twin's node; with None, no twin's at all."""
    names = {each.name() for each in nodes_behind(value.grad_fn)}
    if node is None:
        assert names.isdisjoint(NODES), names
    else:
        assert node in names, names


class Count(TorchDispatchMode):
    """Counts every operation that reaches the kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


def count_penalty(critic: Operation, points: Tensor, twins: bool) -> tuple[Counter[str], Any]:
    """Operations of the backward of |gradient|² through `critic`, and the points' gradients."""
    with Twins() if twins else nullcontext():
        scores = critic(points)
    (gradient,) = grad(scores.sum(), points, create_graph=True)
    with Count() as count:
        gradient.square().sum().backward()
    return count.calls, gradient
