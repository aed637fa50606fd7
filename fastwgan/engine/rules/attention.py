"""Scaled dot-product attention: y = p v, p = softmax(scale q kᵀ + mask).

The critic's own call stays as it is, flash kernels included; the rules compute p anew from q and k,
where a kernel has no double backward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import attention
from torch.nn import functional as F

from fastwgan.engine.rules.base import Bound, Rule, Site, Tensors
from fastwgan.engine.rules.forms import Shape, is_number, is_plain, open_shape, parse, sum_to
from fastwgan.engine.rules.local import Call, Local
from fastwgan.engine.rules.softmax import softmax_adjoint, softmax_second_order


class Setting(NamedTuple):
    """The scale, whether later positions are hidden, and the shapes of q, k and v."""

    scale: float
    is_causal: bool
    shapes: tuple[Shape, ...]


class Attention(Rule):
    """Inputs are q, k, v and a mask, [rows, ..., length, features], or a mask without rows."""

    kind = "attention"
    reads_outputs = False
    weights = (3,)

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """Without dropout and with as many heads of each; a mask's gradient is not covered."""
        bound: Bound | None = parse(_bind_attention, args, kwargs)
        return bound

    def forward(self, options: Setting, inputs: Tensors) -> tuple[Tensors, tuple[Any, ...]]:
        """One call."""
        q, k, v, mask = inputs
        y = F.scaled_dot_product_attention(
            q,  # type: ignore[arg-type]
            k,  # type: ignore[arg-type]
            v,  # type: ignore[arg-type]
            mask,
            is_causal=options.is_causal,
            scale=options.scale,
        )
        return (y,), ()

    def adjoint(
        self, site: Site, cotangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Through p and v."""
        d, o = cotangents[0], site.options
        if d is None:
            return [None] * 4
        q, k, v = (site.input(i) for i in range(3))
        p = _probabilities(site)
        inner = softmax_adjoint(d @ v.mT, p, -1) * o.scale if wanted[0] or wanted[1] else None
        return _shaped(
            o,
            inner @ k if wanted[0] and inner is not None else None,
            inner.mT @ q if wanted[1] and inner is not None else None,
            p.mT @ d if wanted[2] else None,
        )

    def tangent(self, site: Site, tangents: Tensors) -> Tensors:
        """dp v + p dv."""
        if all(t is None for t in tangents):
            return (None,)
        p = _probabilities(site)
        inner, t_v = _scores_tangent(site, tangents), tangents[2]
        moved = None if inner is None else softmax_adjoint(inner, p, -1) @ site.input(2)
        if t_v is None:
            return (moved,)
        return (p @ t_v if moved is None else moved + p @ t_v,)

    def second_order(
        self, site: Site, cotangents: Tensors, tangents: Tensors, wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Of ⟨d vᵀ, dp⟩ + ⟨d dvᵀ, p⟩, for q and k in the scores and for v in d vᵀ."""
        d = cotangents[0]
        if d is None or all(t is None for t in tangents):
            return [None] * 4
        (t_q, t_k, t_v, _), p = tangents, _probabilities(site)
        q, k, v = (site.input(i) for i in range(3))
        inner, scale = _scores_tangent(site, tangents), site.options.scale
        at_p = d @ v.mT
        on_scores = torch.zeros_like(p) if t_v is None else softmax_adjoint(d @ t_v.mT, p, -1)
        if inner is not None:
            on_scores = on_scores + softmax_second_order(at_p, inner, p, -1)
        on_tangent = softmax_adjoint(at_p, p, -1) * scale
        on_scores = on_scores * scale
        to_q, to_k = on_scores @ k, on_scores.mT @ q
        return _shaped(
            site.options,
            (to_q if t_k is None else to_q + on_tangent @ t_k) if wanted[0] else None,
            (to_k if t_q is None else to_k + on_tangent.mT @ t_q) if wanted[1] else None,
            softmax_adjoint(inner, p, -1).mT @ d if wanted[2] and inner is not None else None,
        )


class LocalAttention(Local):
    """Every other form, by a local double backward of the formula."""

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:  # type: ignore[override]
        """The call, its kernel replaced."""
        call = Call(_by_formula, args, kwargs)
        return Bound(call.take_tensors(), call, row_wise=False)


def _by_formula(*args: Any, **kwargs: Any) -> Tensor:
    with attention.sdpa_kernel(attention.SDPBackend.MATH):
        return F.scaled_dot_product_attention(*args, **kwargs)


def _bind_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: Any = 0.0,
    is_causal: bool = False,
    scale: Any = None,
    enable_gqa: bool = False,
) -> Bound | None:
    operands = (query, key, value)
    if dropout_p != 0 or enable_gqa or not is_plain(*operands):
        return None
    if query.dim() < 3 or len({z.shape[:-2] for z in operands}) != 1:
        return None
    if attn_mask is not None and (attn_mask.requires_grad or is_causal):
        return None
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1])
    if not is_number(scale):
        return None
    shapes = tuple(open_shape(z.shape, True) for z in operands)
    has_rows = attn_mask is not None and attn_mask.dim() == query.dim()
    row_wise = not has_rows or attn_mask.shape[0] == 1
    return Bound((*operands, attn_mask), Setting(scale, is_causal, shapes), row_wise)


def _probabilities(site: Site) -> Tensor:
    q, k, mask = site.input(0), site.input(1), site.inputs[3]
    scores = (q @ k.mT) * site.options.scale
    if site.options.is_causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if mask is not None:
        hidden = mask.dtype is torch.bool
        scores = scores.masked_fill(~mask, -math.inf) if hidden else scores + mask
    return torch.softmax(scores, -1)


def _scores_tangent(site: Site, tangents: Tensors) -> Tensor | None:
    t_q, t_k = tangents[:2]
    moved = None if t_q is None else t_q @ site.input(1).mT
    if t_k is not None:
        by_k = site.input(0) @ t_k.mT
        moved = by_k if moved is None else moved + by_k
    return None if moved is None else moved * site.options.scale


def _shaped(o: Setting, *terms: Tensor | None) -> list[Tensor | None]:
    return [
        None if term is None else sum_to(term, shape)
        for term, shape in zip(terms, o.shapes, strict=True)
    ] + [None]


RULES: dict[Any, tuple[Rule, ...]] = {
    F.scaled_dot_product_attention: (Attention(), LocalAttention())
}
