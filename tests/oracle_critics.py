"""Critics that the engine refuses, each with the reason and with what switches that check off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import Function, forward_ad
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from fastwgan.engine import calls, record
from fastwgan.engine.record import Recorder

LIBRARY = torch.library.Library("fastwgan_oracle_tests", "DEF")
LIBRARY.define("noisy(Tensor x) -> Tensor")
LIBRARY.impl("noisy", lambda x: x * torch.rand_like(x), "CompositeImplicitAutograd")


class Net(nn.Module):
    def __init__(self, run: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 1)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


class Reversed(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return -2 * g


class ReversedView(Reversed):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)


class Doubled(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        return 2 * result if func is torch.ops.aten.tanh.default else result


def _aliased(net: Any, x: Tensor) -> Tensor:
    h = net.first(x) * 1
    half = h[:, :4]
    half.mul_(2)
    return net.last(h.tanh())  # type: ignore[no-any-return]


def _through_data(net: Any, x: Tensor) -> Tensor:
    h = net.first(x) * 1
    h.data.mul_(2)
    return net.last(h.tanh())  # type: ignore[no-any-return]


def _data_replaced(net: Any, x: Tensor) -> Tensor:
    h = net.first(x) * 1
    h.data = 2 * h.data
    return net.last(h.tanh())  # type: ignore[no-any-return]


def _under_no_grad(net: Any, x: Tensor) -> Tensor:
    h = net.first(x) * 1
    with torch.no_grad():
        h.mul_(2)
    return net.last(h.tanh())  # type: ignore[no-any-return]


def _out(net: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        memory = torch.empty(len(x), 8, dtype=x.dtype)
        torch.add(net.first(x), 1.0, out=memory)
    return net.last(net.first(x).tanh() * memory)  # type: ignore[no-any-return]


def _tensor_hook(net: Any, x: Tensor) -> Tensor:
    h = net.first(x)
    h.register_hook(lambda g: 2 * g)
    return net.last(h.tanh())  # type: ignore[no-any-return]


def _node_hook(net: Any, x: Tensor) -> Tensor:
    h = net.first(x).tanh()
    h.grad_fn.register_prehook(lambda gs: tuple(2 * g for g in gs))
    return net.last(h)  # type: ignore[no-any-return]


def _retained(net: Any, x: Tensor) -> Tensor:
    h = net.first(x)
    h.retain_grad()
    return net.last(h.tanh())  # type: ignore[no-any-return]


def _cut(net: Any, x: Tensor) -> Tensor:
    h = net.first(x)
    leaf = h.detach().requires_grad_()
    return net.last(h.tanh()) + leaf.square().mean(1, keepdim=True)  # type: ignore[no-any-return]


def _own_gradient(net: Any, x: Tensor) -> Tensor:
    z = x * 1
    if not z.requires_grad:
        z.requires_grad_()
    h = net.first(z).tanh()
    (g,) = torch.autograd.grad(h.sum(), z, create_graph=True)
    return net.last(h) + g.square().sum(1, keepdim=True)  # type: ignore[no-any-return]


def _own_backward(net: Any, x: Tensor) -> Tensor:
    leaf = torch.ones(8, dtype=x.dtype, requires_grad=True)
    (net.first(x).detach() * leaf).sum().backward()
    assert leaf.grad is not None
    return net.last(net.first(x).tanh() * leaf.grad)  # type: ignore[no-any-return]


def _forward_mode(net: Any, x: Tensor) -> Tensor:
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        value, tangent = forward_ad.unpack_dual(net.first(dual).tanh())
    return net.last(value * tangent)  # type: ignore[no-any-return]


def _dispatch_mode(net: Any, x: Tensor) -> Tensor:
    h = net.first(x)
    with Doubled():
        h = h.tanh()
    return net.last(h)  # type: ignore[no-any-return]


def _hidden_noise(net: Any, x: Tensor) -> Tensor:
    return net.last(torch.ops.fastwgan_oracle_tests.noisy(net.first(x)))  # type: ignore[no-any-return]


class Refusal(NamedTuple):
    """A critic, the reason it is refused for, and what switches that check off.

    Attributes:
        off: None where nothing comes out wrong without the check.
        is_random: Whether it draws, in another order than the plain step.
    """

    run: Callable[[Any, Tensor], Tensor]
    reason: str
    off: Callable[[pytest.MonkeyPatch], None] | None
    is_random: bool = False


def _without(name: str, result: Any = None) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(Recorder, name, lambda *_: result)


def _without_function(name: str) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(record, name, lambda *_: None)


def _allowed(*functions: Any) -> Callable[[pytest.MonkeyPatch], None]:
    def off(patch: pytest.MonkeyPatch) -> None:
        for function in functions:
            patch.delitem(calls.REFUSED, function)

    return off


REFUSALS: dict[str, Refusal] = {
    "custom function": Refusal(
        lambda net, x: net.last(Reversed.apply(net.first(x)).tanh()),
        "a custom autograd.Function",
        _without("_stale"),
    ),
    "custom function that returns a view": Refusal(
        lambda net, x: net.last(ReversedView.apply(net.first(x)).tanh()),
        "a custom autograd.Function",
        _without("_stale"),
    ),
    "custom function at the end": Refusal(
        lambda net, x: Reversed.apply(net.last(net.first(x).tanh())),
        "a custom autograd.Function",
        _without("_stale"),
    ),
    "scripted": Refusal(
        lambda net, x: net.last(net.first(x)) + _script()(net.first(x)).sum(1, keepdim=True),
        "an operation that torch functions do not show",
        _without("_missed"),
    ),
    "aliased in-place write": Refusal(_aliased, "through another view of it", _without("_stale")),
    "in-place write through .data": Refusal(
        _through_data, "through .data", _without_function("why_written")
    ),
    "in-place write under no_grad": Refusal(
        _under_no_grad, "under no_grad", _without_function("why_written")
    ),
    "data replaced": Refusal(_data_replaced, "whose data is replaced", None),
    "out=": Refusal(_out, "add with out=", None),
    "tensor hook": Refusal(_tensor_hook, "a tensor hook", _allowed(Tensor.register_hook)),
    "node hook": Refusal(
        _node_hook,
        "a look at grad_fn",
        _allowed(Tensor.grad_fn.__get__),  # type: ignore[attr-defined]
    ),
    "retain_grad": Refusal(_retained, "kept by retain_grad", None),
    "requires_grad_": Refusal(_cut, "requires_grad that is set", None),
    "gradients of its own": Refusal(_own_gradient, "(gradients of its own|requires_grad)", None),
    "backward of its own": Refusal(_own_backward, "a backward of its own", None),
    "forward mode": Refusal(_forward_mode, "forward-mode derivatives", None),
    "dispatch mode": Refusal(
        _dispatch_mode, "TorchDispatchMode", _without_function("why_surrounded")
    ),
    "checkpoint": Refusal(
        lambda net, x: net.last(checkpoint(lambda z: net.first(z).tanh(), x, use_reentrant=False)),
        r"torch\.utils\.checkpoint",
        None,
    ),
    "hidden randomness": Refusal(
        _hidden_noise, "random numbers that no torch function drew", _without("_hidden_draws"), True
    ),
    "randomness without a rule": Refusal(
        lambda net, x: net.last(F.rrelu(net.first(x), training=True)),
        "random numbers of rrelu",
        None,
        True,
    ),
}


def _script() -> Any:
    return torch.jit.script(_cubed)


def _cubed(x: Tensor) -> Tensor:
    return x * x * x
