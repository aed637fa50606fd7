"""The reason for Wasserstein GANs: what divergences and critics say of distributions apart."""

from __future__ import annotations

from fastwgan.train.divergences.demo import demo_divergences, main
from fastwgan.train.divergences.results import Comparison, Divergences, Point, Profile

__all__ = ["Comparison", "Divergences", "Point", "Profile", "demo_divergences", "main"]
