"""Variances, standard deviations and Euclidean norms over dimensions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastwgan.engine.rules.base import Bound, Rule, Site
from fastwgan.engine.rules.forms import every_name, is_number
from fastwgan.engine.rules.reduction import Over, Reduction, kept_output


class Spread(Reduction):
    """var and std; with c = x - mean, m = n - correction: dv = 2/m Σ c t, d std = Σ c t / (m y)."""

    def signature(  # type: ignore[override]
        self, input: Any, dim: Any = None, unbiased: Any = None, keepdim: Any = False, **more: Any
    ) -> Any:
        """All forms."""
        if type(dim) is bool:
            dim, unbiased = None, dim
        given = 1 if unbiased is None else int(unbiased)
        correction = more.pop("correction", given)
        return None if more or not is_number(correction) else (input, dim, keepdim, correction)

    def bind(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bound | None:
        """More elements than the correction."""
        bound = super().bind(function, args, kwargs)
        return None if bound is None or bound.options.n <= bound.options.correction else bound

    def reduce(self, x: Tensor, o: Over) -> Tensor:
        """As torch."""
        if self.kind == "std":
            return torch.std(x, o.dims, correction=o.correction, keepdim=True)
        return torch.var(x, o.dims, correction=o.correction, keepdim=True)

    def pull(self, site: Site, d: Tensor) -> Tensor:
        """2/m c d; c d / (m y)."""
        return self._times(site, d) * self._centred(site)

    def push(self, site: Site, t: Tensor) -> Tensor:
        """The same scalars before Σ c t."""
        moved = (self._centred(site) * t).sum(site.options.dims, True)
        return self._times(site, moved)

    def curve(self, site: Site, d: Tensor, t: Tensor) -> Tensor:
        """2/m d (t - mean t); for std its half over y, less its own slope's change."""
        o: Over = site.options
        spread = self._times(site, d) * (t - t.mean(o.dims, True))
        if self.kind == "var":
            return spread
        c, y = self._centred(site), kept_output(site)
        moved = self.push(site, t)
        return spread - c * (d * moved / (y * y * (o.n - o.correction)))

    def _times(self, site: Site, d: Tensor) -> Tensor:
        o: Over = site.options
        m = o.n - o.correction
        return d * (2 / m) if self.kind == "var" else d / (m * kept_output(site))

    def _centred(self, site: Site) -> Tensor:
        x = site.input()
        return x - x.mean(site.options.dims, True)


class Norm(Reduction):
    """The Euclidean norm. Zero where the norm is, as in torch."""

    @staticmethod
    def signature(  # type: ignore[override]
        input: Any, p: Any = "fro", dim: Any = None, keepdim: Any = False, dtype: Any = None
    ) -> Any:
        """Without a dtype, p 2 or Frobenius's for one or all dimensions."""
        if dtype is not None or p not in (2, None, "fro"):
            return None
        return input, dim, keepdim, 0.0

    def reduce(self, x: Tensor, o: Over) -> Tensor:
        """The norm."""
        norm: Tensor = torch.linalg.vector_norm(x, 2, o.dims, True)
        return norm

    def pull(self, site: Site, d: Tensor) -> Tensor:
        """d x / y."""
        return d * _inverse(site) * site.input()

    def push(self, site: Site, t: Tensor) -> Tensor:
        """Σ x t / y."""
        return (site.input() * t).sum(site.options.dims, True) * _inverse(site)

    def curve(self, site: Site, d: Tensor, t: Tensor) -> Tensor:
        """d (t - x Σ x t / y²) / y."""
        inverse = _inverse(site)
        return d * inverse * (t - site.input() * (self.push(site, t) * inverse))


class VectorNorm(Norm):
    """torch.linalg's form of the call."""

    @staticmethod
    def signature(  # type: ignore[override]
        input: Any, ord: Any = 2, dim: Any = None, keepdim: Any = False, dtype: Any = None
    ) -> Any:
        """Order 2."""
        return Norm.signature(input, ord, dim, keepdim, dtype) if ord == 2 else None


def _inverse(site: Site) -> Tensor:
    y = kept_output(site)
    return torch.where(y == 0, 0, 1 / y)


_FAMILIES: dict[Rule, tuple[str, ...]] = {
    Spread("var"): ("var",),
    Spread("std"): ("std",),
    Norm("norm"): ("norm",),
    VectorNorm("norm"): ("linalg_vector_norm", "vector_norm"),
}

RULES: dict[Any, Rule] = {
    function: rule
    for rule, names in _FAMILIES.items()
    for function in every_name(*names, in_place=False)
}
