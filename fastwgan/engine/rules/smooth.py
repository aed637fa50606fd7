"""Functions of each element: y = f(x), dy = f′ t, and d t f″ for the input."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors
from fastwgan.engine.rules.forms import every_name, is_number, is_plain, parse

_aten = torch.ops.aten
Formula = Callable[[Tensor, Tensor, Any], Tensor]


class Elementwise(Rule):
    """One function of one tensor.

    Args:
        kind: Its name.
        signature: From the call's arguments to (x, options), or None.
        forward: (x, options) to y, out of place.
        first: (d, z, options) to d f′, where z is y, or x with `by_input`.
        second: (d, z, options) to d f″; None for a function made of straight lines.
        by_input: Whether the formulas read x.
    """

    def __init__(
        self,
        kind: str,
        signature: Callable[..., Any],
        forward: Callable[[Tensor, Any], Tensor],
        first: Formula,
        second: Formula | None,
        *,
        by_input: bool,
    ) -> None:
        self.kind = kind
        self.piecewise_linear = second is None
        self.reads_inputs, self.reads_outputs = by_input, not by_input
        self._signature, self._forward = signature, forward
        self._first, self._second = first, second

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """All forms whose further arguments are numbers."""
        parsed = parse(self._signature, args, kwargs)
        if parsed is None or not is_plain(parsed[0]):
            return None
        return Bound(parsed[:1], parsed[1], row_wise=parsed[0].dim() > 0)

    def forward(self, options: Any, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """f(x)."""
        assert inputs[0] is not None
        return (self._forward(inputs[0], options),), ()

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """d f′."""
        return [self._times_slope(site, cotangents[0]) if wanted[0] else None]

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """t f′."""
        return (self._times_slope(site, tangents[0]),)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """d t f″."""
        d, t = cotangents[0], tangents[0]
        if not wanted[0] or d is None or t is None or self._second is None:
            return [None]
        return [self._second(d * t, self._read(site), site.options)]

    def _times_slope(self, site: Site, d: Tensor | None) -> Tensor | None:
        return None if d is None else self._first(d, self._read(site), site.options)

    def _read(self, site: Site) -> Tensor:
        return site.input() if self.reads_inputs else site.output


def _alone(input: Any) -> Any:
    return input, None


def _perhaps_in_place(input: Any, inplace: bool = False) -> Any:
    return input, None


def _silu_second(d: Tensor, x: Tensor, options: Any) -> Tensor:
    s = torch.sigmoid(x)
    return d * s * (1 - s) * (2 + x * (1 - 2 * s))


def _softplus(input: Any, beta: Any = 1.0, threshold: Any = 20.0) -> Any:
    return (input, (beta, threshold)) if is_number(beta) and is_number(threshold) else None


def _softplus_second(d: Tensor, x: Tensor, options: tuple[float, float]) -> Tensor:
    beta, threshold = options
    s = torch.sigmoid(beta * x)
    return d * (beta * s * (1 - s) * (beta * x <= threshold))


def _gelu(input: Any, approximate: Any = "none") -> Any:
    return input, approximate


def _gelu_second(d: Tensor, x: Tensor, options: str) -> Tensor:
    if options == "none":
        return d * (2 - x * x) * torch.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
    k, c = math.sqrt(2 / math.pi), 0.044715
    th = torch.tanh(k * (x + c * x**3))
    rise, slope = 1 - th * th, k * (1 + 3 * c * x * x)
    return d * rise * (slope + 0.5 * x * (6 * k * c * x - 2 * th * slope * slope))


def _elu(input: Any, alpha: Any = 1.0, inplace: bool = False) -> Any:
    return (input, (alpha, 1.0, 1.0)) if is_number(alpha) and alpha > 0 else None


def _celu(input: Any, alpha: Any = 1.0, inplace: bool = False) -> Any:
    return (input, (alpha, 1.0, 1 / alpha)) if is_number(alpha) and alpha > 0 else None


def _selu(input: Any, inplace: bool = False) -> Any:
    return input, (1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1.0)


def _elu_first(d: Tensor, y: Tensor, options: tuple[float, ...]) -> Tensor:
    slope: Tensor = _aten.elu_backward(d, *options, True, y)
    return slope


def _elu_second(d: Tensor, y: Tensor, options: tuple[float, ...]) -> Tensor:
    return _elu_first(d * options[2], y, options) * (y < 0)


def _power(input: Any, exponent: Any) -> Any:
    return (input, exponent) if is_number(exponent) else None


def _power_first(d: Tensor, x: Tensor, n: float) -> Tensor:
    return torch.zeros_like(d) if n == 0 else d * (n * x ** (n - 1))


def _power_second(d: Tensor, x: Tensor, n: float) -> Tensor:
    return torch.zeros_like(d) if n in (0, 1) else d * (n * (n - 1) * x ** (n - 2))


def _by_output(
    kind: str, forward: Callable[[Tensor], Tensor], first: Formula, second: Formula
) -> Elementwise:
    return Elementwise(kind, _alone, lambda x, _: forward(x), first, second, by_input=False)


def _elu_like(kind: str, signature: Callable[..., Any]) -> Elementwise:
    return Elementwise(
        kind, signature, lambda x, o: _aten.elu(x, *o), _elu_first, _elu_second, by_input=False
    )


_RULES = (
    _by_output(
        "tanh",
        torch.tanh,
        lambda d, y, _: _aten.tanh_backward(d, y),
        lambda d, y, _: -2 * d * y * (1 - y * y),
    ),
    _by_output(
        "sigmoid",
        torch.sigmoid,
        lambda d, y, _: _aten.sigmoid_backward(d, y),
        lambda d, y, _: d * y * (1 - y) * (1 - 2 * y),
    ),
    _by_output("exp", torch.exp, lambda d, y, _: d * y, lambda d, y, _: d * y),
    _by_output("sqrt", torch.sqrt, lambda d, y, _: d / (2 * y), lambda d, y, _: d / (-4 * y**3)),
    _by_output(
        "rsqrt", torch.rsqrt, lambda d, y, _: -0.5 * d * y**3, lambda d, y, _: 0.75 * d * y**5
    ),
    _by_output(
        "reciprocal", torch.reciprocal, lambda d, y, _: -d * y * y, lambda d, y, _: 2 * d * y**3
    ),
    Elementwise(
        "log",
        _alone,
        lambda x, _: torch.log(x),
        lambda d, x, _: d / x,
        lambda d, x, _: -d / (x * x),
        by_input=True,
    ),
    Elementwise(
        "square",
        _alone,
        lambda x, _: torch.square(x),
        lambda d, x, _: 2 * d * x,
        lambda d, x, _: 2 * d,
        by_input=True,
    ),
    Elementwise(
        "pow",
        _power,
        lambda x, n: x**n,
        _power_first,
        _power_second,
        by_input=True,
    ),
    Elementwise(
        "silu",
        _perhaps_in_place,
        lambda x, _: torch.nn.functional.silu(x),
        lambda d, x, _: _aten.silu_backward(d, x),
        _silu_second,
        by_input=True,
    ),
    Elementwise(
        "gelu",
        _gelu,
        lambda x, o: _aten.gelu(x, approximate=o),
        lambda d, x, o: _aten.gelu_backward(d, x, approximate=o),
        _gelu_second,
        by_input=True,
    ),
    Elementwise(
        "softplus",
        _softplus,
        lambda x, o: _aten.softplus(x, *o),
        lambda d, x, o: _aten.softplus_backward(d, x, *o),
        _softplus_second,
        by_input=True,
    ),
    _elu_like("elu", _elu),
    _elu_like("celu", _celu),
    _elu_like("selu", _selu),
)

_kinds = {function: rule for rule in _RULES for function in every_name(rule.kind)}

RULES: dict[Any, Rule] = {
    **_kinds,
    Tensor.__pow__: _kinds[torch.pow],
    Tensor.__ipow__: _kinds[torch.pow],
}
