"""Layer, group and instance norm: y = w h + b, h = (x - mean) r over groups of one row.

With P(u) = u - mean(u) - h mean(u h) over a group, dh = r P(t); and what ⟨e, r P(t)⟩ changes with x
is -r² (h (mean(e t) - mean(e) mean(t) - mean(e h) mean(t h)) + mean(t h) P(e) + mean(e h) P(t)).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors
from fastwgan.engine.rules.forms import is_number, is_plain, parse

_aten = torch.ops.aten


class Grouping(NamedTuple):
    """What is normalised together.

    Attributes:
        groups: How many groups of channels; 0 for the last `last` dimensions, whole.
        last: How many last dimensions, where `groups` is 0.
        affine: The weights' shape beside x's: [1, C, 1, ...], or the last dimensions.
        eps: Added to variances.
    """

    groups: int
    last: int
    affine: tuple[int, ...]
    eps: float


class Statistics(NamedTuple):
    """Mean and 1/√(variance + eps), of the form that `Normalisation.form` gives x."""

    mean: Tensor
    rstd: Tensor


class Normalisation(Rule):
    """What these norms share. Saved are mean and r, [rows, ...] each."""

    reads_outputs = False
    weights = (1, 2)

    def __init__(self, kind: str, signature: Any, unread: tuple[int, ...] = (2,)) -> None:
        self.kind, self._signature, self.unread = kind, signature, unread

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """A batch, whose dtype is that of the weights."""
        bound: Bound | None = parse(self._signature, args, kwargs)
        return bound

    def record(
        self, bound: Bound, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, tuple[Any, ...]]:
        """The call, and the statistics beside it."""
        assert bound.inputs[0] is not None
        saved = self.statistics(bound.inputs[0].detach(), bound.options)
        return function(*args, **kwargs), saved

    def forward(self, options: Any, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """Normalised, then weighted."""
        x, weight, bias = inputs[:3]
        assert x is not None
        saved = self.statistics(x, options)
        y = _normalised(self, x, options, saved).reshape(x.shape)
        if weight is not None:
            y = y * weight.view(options.affine)
        return (y if bias is None else y + bias.view(options.affine),), saved

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """r P(w d); Σ d h; Σ d."""
        d = cotangents[0]
        if d is None:
            return [None] * len(wanted)
        found = self.pull(site, d, site.inputs[1:3], list(wanted[:3]))
        return [g if want else None for g, want in zip(found, wanted, strict=True)]

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """w r P(t)."""
        t = tangents[0]
        if t is None:
            return (None,)
        return (self._weighted(site, self._moved(site, t)),)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """As above for x; Σ d r P(t) for the weight."""
        d, t = cotangents[0], tangents[0]
        found: list[Tensor | None] = [None] * len(wanted)
        if d is None or t is None:
            return found
        if wanted[0]:
            found[0] = self._curved(site, self._weighted(site, d), t)
        if wanted[1]:
            found[1] = self._to_weight(site, d * self._moved(site, t))
        return found

    def form(self, x: Tensor, options: Any) -> tuple[Tensor, list[int]]:
        """x with groups apart, and the dimensions of a group."""
        if options.groups == 0:
            return x, list(range(x.dim() - options.last, x.dim()))
        return x.reshape(x.shape[0], options.groups, -1), [2]

    def statistics(self, x: Tensor, options: Any) -> tuple[Any, ...]:
        """Mean and r."""
        formed, dims = self.form(x, options)
        variance, mean = torch.var_mean(formed, dims, correction=0, keepdim=True)
        return mean, (variance + options.eps).rsqrt_()

    def pull(self, site: Site, d: Tensor, affine: Tensors, wanted: list[bool]) -> Tensors:
        """The adjoints of x, weight and bias, by the backward that torch has."""
        x, o = site.input(), site.options
        if o.groups == 0:
            return tuple(
                _aten.native_layer_norm_backward(
                    d, x, o.affine, *self.read(site.saved), *affine, wanted
                )
            )
        mean, rstd = (z.flatten(1) for z in self.read(site.saved))
        size = (*x.shape[:2], x[0, 0].numel())
        whole = d.contiguous(), x.contiguous()
        return tuple(
            _aten.native_group_norm_backward(*whole, mean, rstd, affine[0], *size, o.groups, wanted)
        )

    def read(self, saved: tuple[Any, ...]) -> Statistics:
        """What `statistics` saved."""
        return Statistics(*saved)

    def _moved(self, site: Site, t: Tensor) -> Tensor:
        """r P(t), which is the adjoint without a weight."""
        moved = self.pull(site, t, (None, None), [True, False, False])[0]
        assert moved is not None
        return moved.view(t.shape)

    def _project(self, site: Site, u: Tensor, h: Tensor) -> Tensor:
        """P(u), in the form of groups."""
        u, dims = self.form(u, site.options)
        return u - u.mean(dims, True) - h * (u * h).mean(dims, True)

    def _curved(self, site: Site, e: Tensor, t: Tensor) -> Tensor:
        shape = t.shape
        h = _normalised(self, site.input(), site.options, site.saved)
        on_e, on_t = (self._project(site, u, h) for u in (e, t))
        (e, dims), (t, _) = self.form(e, site.options), self.form(t, site.options)
        e_h, t_h = (e * h).mean(dims, True), (t * h).mean(dims, True)
        common = (e * t).mean(dims, True) - e.mean(dims, True) * t.mean(dims, True) - e_h * t_h
        rstd = self.read(site.saved).rstd
        return (-rstd.square() * (h * common + t_h * on_e + e_h * on_t)).reshape(shape)

    def _weighted(self, site: Site, d: Tensor) -> Tensor:
        weight = site.inputs[1]
        return d if weight is None else d * weight.view(site.options.affine)

    def _to_weight(self, site: Site, d: Tensor) -> Tensor:
        """The sum over all that one weight is used for."""
        o = site.options
        if len(o.affine) < d.dim():
            return d.sum(list(range(d.dim() - len(o.affine))))
        return d.sum([0, *range(2, d.dim())])


def _normalised(rule: Normalisation, x: Tensor, options: Any, saved: tuple[Any, ...]) -> Tensor:
    """h, in the form of groups."""
    mean, rstd = rule.read(saved)
    return (rule.form(x, options)[0] - mean).mul_(rstd)


def _bind_layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: Any = 1e-5
) -> Bound | None:
    last = len(normalized_shape)
    if not are_normalised(input, weight, bias, eps) or not 0 < last < input.dim():
        return None
    affine = tuple(input.shape[-last:])
    return Bound((input, weight, bias), Grouping(0, last, affine, eps))


def _bind_group_norm(
    input: Any, num_groups: Any, weight: Any = None, bias: Any = None, eps: Any = 1e-5
) -> Bound | None:
    if not are_normalised(input, weight, bias, eps) or input.dim() < 2:
        return None
    return Bound((input, weight, bias), Grouping(num_groups, 0, channels(input), eps))


def _bind_instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: Any = 0.1,
    eps: Any = 1e-5,
) -> Bound | None:
    if running_mean is not None or running_var is not None or not use_input_stats:
        return None
    if not are_normalised(input, weight, bias, eps) or input.dim() < 3:
        return None
    return Bound((input, weight, bias), Grouping(input.shape[1], 0, channels(input), eps))


def are_normalised(input: Any, weight: Any, bias: Any, eps: Any) -> bool:
    """Whether these are what a norm's rules compute on."""
    given = [z for z in (weight, bias) if z is not None]
    return (
        is_plain(input, *given)
        and is_number(eps)
        and input.numel() > 0
        and input.dtype.itemsize >= 4
    )


def channels(x: Tensor) -> tuple[int, ...]:
    """The shape of one number a channel, [1, C, 1, ...]."""
    return 1, x.shape[1], *[1] * (x.dim() - 2)


RULES: dict[Any, Rule] = {
    **dict.fromkeys(
        (F.layer_norm, torch.layer_norm), Normalisation("layer_norm", _bind_layer_norm, ())
    ),
    **dict.fromkeys((F.group_norm,), Normalisation("group_norm", _bind_group_norm)),
    F.instance_norm: Normalisation("instance_norm", _bind_instance_norm),
}
