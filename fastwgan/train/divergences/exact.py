"""Exact divergences of the two pairs of distributions that the demo moves apart.

In both pairs the generator's samples are the real ones moved by θ along the first axis, and both
have disjoint supports: on parallel lines for every θ that isn't 0, of truncated Gaussians from
twice their reach on. Whole Gaussians are never disjoint: their Kullback–Leibler divergence is
θ² / 2σ², finite, and their Jensen–Shannon divergence comes as near to log 2 as one likes without
reaching it. They are truncated here, so that what is said of disjoint supports is true of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

LOG2 = math.log(2)
SIGMA = 0.08
"""Standard deviation of the Gaussians, before they are truncated."""
REACH = 3 * SIGMA
"""How far the truncated Gaussians go from their centre, along each axis."""

SHARE = math.erf(REACH / (SIGMA * math.sqrt(2)))
"""Of a whole Gaussian, along one axis, that lies within its reach."""
_INTERVALS = 2000  # of the integral; Simpson's rule is then exact to 1e-12


@dataclass(frozen=True)
class Quantity:
    """A divergence at one θ.

    Attributes:
        value: May be infinite.
        gradient: Its derivative in θ; None where it has none.
    """

    value: float
    gradient: float | None


@dataclass(frozen=True)
class Exact:
    """The divergences of the real distribution P and the generator's Q at one θ, in nats.

    Attributes:
        kl: Kullback–Leibler divergence, of P from Q as of Q from P.
        js: Jensen–Shannon divergence, ½ KL(P ‖ M) + ½ KL(Q ‖ M) with M = ½ (P + Q).
        tv: Total variation, sup |P(A) − Q(A)|.
        wasserstein: Wasserstein-1 distance.
    """

    kl: Quantity
    js: Quantity
    tv: Quantity
    wasserstein: Quantity


def of_lines(theta: float) -> Exact:
    """Of (0, Z) and (θ, Z) with Z uniform in [0, 1].

    Source: Arjovsky, Chintala, Bottou 2017, example 1.
    """
    apart = float(theta != 0)
    return _exact(theta, js=(apart * LOG2, 0.0), tv=(apart, 0.0))


def of_gaussians(theta: float) -> Exact:
    """Of Gaussians truncated at `REACH`, at distance |θ|.

    The second coordinate is the same in both and independent of the first, so these are the
    divergences of the first. Where the supports overlap, at x between |θ| − r and r, the
    log-density ratio is |θ| (2x − |θ|) / 2σ², and elsewhere infinite; by the symmetry of P and Q,

        JS = log 2 − ∫ p(x) softplus(|θ| (2x − |θ|) / 2σ²) dx   over the overlap,
        TV = P(x < |θ|/2) − Q(x < |θ|/2).
    """
    distance = abs(theta)
    if distance >= 2 * REACH:
        return _exact(theta, js=(LOG2, 0.0), tv=(1.0, 0.0))
    tv = math.erf(distance / 2 / (SIGMA * math.sqrt(2))) / SHARE
    slope = float(_density(torch.tensor(distance / 2, dtype=torch.float64)))
    return _exact(theta, js=_overlapping_js(distance), tv=(tv, slope))


def kl_of_whole_gaussians(theta: float) -> float:
    """The Kullback–Leibler divergence of the Gaussians before they are truncated: θ² / 2σ²."""
    return theta**2 / (2 * SIGMA**2)


def _exact(theta: float, js: tuple[float, float], tv: tuple[float, float]) -> Exact:
    """From values and derivatives in |θ|. At θ = 0 each has a jump or a kink, so no gradient."""

    def signed(value: float, slope: float) -> Quantity:
        return Quantity(value, math.copysign(1.0, theta) * slope if theta else None)

    kl = Quantity(math.inf if theta else 0.0, None)
    return Exact(kl, signed(*js), signed(*tv), signed(abs(theta), 1.0))


def _density(x: Tensor) -> Tensor:
    """Of the truncated Gaussian round 0, at points within its reach."""
    return torch.exp(-(x**2) / (2 * SIGMA**2)) / (SIGMA * math.sqrt(2 * math.pi) * SHARE)


def _overlapping_js(distance: float) -> tuple[float, float]:
    """The Jensen–Shannon divergence of the truncated Gaussians, and its derivative in |θ|."""
    apart = torch.tensor(distance, dtype=torch.float64, requires_grad=True)
    share = torch.linspace(0, 1, _INTERVALS + 1, dtype=torch.float64)
    x = (apart - REACH) + share * (2 * REACH - apart)
    ratio = apart * (2 * x - apart) / (2 * SIGMA**2)
    heights = _density(x) * functional.softplus(ratio)
    weights = torch.full_like(share, 2.0)  # Simpson's 1, 4, 2, 4, …, 2, 4, 1
    weights[1::2], weights[0], weights[-1] = 4.0, 1.0, 1.0
    js = LOG2 - (weights @ heights) * (2 * REACH - apart) / (3 * _INTERVALS)
    (slope,) = torch.autograd.grad(js, apart)
    return float(js.detach()), float(slope)
