"""The gradient penalty's points, norms, value and cotangent."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from fastwgan.ops.gradient_penalty import interpolate
from fastwgan.ops.gradient_penalty.autograd import run_norm_penalty
from tests.numerics.elementwise import Worst, decades
from tests.numerics.ulps import MP, Real, Truth, exact, truth_of, ulps
from tests.ops.gradient_penalty_cases import wide

ROWS, SIZE = 3, 97
TARGET, WEIGHT = 1.0, 10.0
KINDS = ("wgan-gp", "r1")


@cache
def _points(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Truth]:
    info = torch.finfo(dtype)
    low, high = info.smallest_normal * info.eps, info.max / 4
    real, fake = (decades(dtype, low, high, ROWS * SIZE, seed).view(ROWS, SIZE) for seed in (1, 2))
    # Magnitudes of one decade in half of the columns, so that both terms count.
    fake[:, ::2] = (real.double() * 0.7)[:, ::2].to(dtype) * fake[:, ::2].sign()
    alpha = torch.tensor([0.0, 0.3, 0.9], dtype=wide(dtype))
    truth, sizes = [], []
    shares = exact(alpha.repeat_interleave(SIZE))
    for x, y, share in zip(exact(real), exact(fake), shares, strict=True):
        terms = share * x, (1 - share) * y
        truth.append(sum(terms))
        sizes.append(sum(map(abs, terms)))
    return real, fake, alpha, truth_of(dtype, truth, sizes)


def magnitudes(dtype: torch.dtype) -> tuple[float, ...]:
    """Of a row's largest elements: norms far from the target, from subnormal to near the end."""
    return {
        torch.float32: (2e-38, 1e-36, 1e-30, 1e-20, 1e-9, 30.0, 1e9, 1e18, 1e20, 1e30, 1e37),
        torch.float64: (1e-306, 1e-300, 1e-160, 1e-30, 30.0, 1e30, 1e153, 1e160, 1e300),
        torch.bfloat16: (1e-37, 1e-30, 1e-20, 1e-3, 30.0, 1e9, 1e20, 1e37),
        torch.float16: (1e-6, 1e-4, 1e-2, 30.0, 1e3, 3e4),
    }[dtype]


@cache
def _gradient(dtype: torch.dtype, magnitude: float) -> tuple[Tensor, list[Real]]:
    """Rows [rows, size] with elements over three decades below the magnitude, and their norms."""
    spread = decades(torch.float64, 1e-3, 1.0, ROWS * SIZE, 7).view(ROWS, SIZE)
    gradient = (spread * magnitude).to(dtype)
    return gradient, [MP.sqrt(MP.fsum(exact(row), squared=True)) for row in gradient]


@cache
def _penalty_truth(dtype: torch.dtype, magnitude: float, kind: str) -> dict[str, Truth]:
    gradient, norms = _gradient(dtype, magnitude)
    excess = [n if kind == "r1" else n - MP.mpf(TARGET) for n in norms]
    share = MP.mpf(WEIGHT) / ROWS
    cotangent = []
    for row, norm, slope in zip(gradient, norms, excess, strict=True):
        cotangent += [2 * share * slope * x / norm if norm else norm for x in exact(row)]
    penalty = share * sum(e * e for e in excess)
    rows = {"norms": norms, "penalty": [penalty], "cotangent": cotangent}
    return {name: truth_of(wide(dtype), values) for name, values in rows.items()}


def gradient_penalty(dtype: torch.dtype) -> Worst:
    real, fake, alpha, truth = _points(dtype)
    worst = {"points": ulps(interpolate(real, fake, alpha), truth)}
    worst |= dict.fromkeys(("norms", "penalty", "cotangent"), 0.0)
    for magnitude in magnitudes(dtype):
        gradient, _ = _gradient(dtype, magnitude)
        for kind in KINDS:
            penalty, norms, cotangent = run_norm_penalty(gradient, kind, TARGET, WEIGHT)
            found = {"norms": norms, "penalty": penalty.view(1), "cotangent": cotangent}
            for name, truth in _penalty_truth(dtype, magnitude, kind).items():
                worst[name] = max(worst[name], ulps(found[name], truth))
    return worst
