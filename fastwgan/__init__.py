"""Kernels for Wasserstein critics: spectral norm, gradient penalty and weight clipping.

The public names are listed in `__all__`; `python -m fastwgan doctor` says what runs here and why.
"""

from __future__ import annotations

# torch first: fastwgan._cpu must find torch's OpenMP runtime already loaded and share it.
import torch as _torch  # noqa: F401

try:
    import fastwgan._cpu  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "fastwgan._cpu":
        raise
    raise ImportError(
        "fastwgan's compiled kernels are missing beside this source: run `pip install -e .` in it."
    ) from error

from importlib.metadata import PackageNotFoundError as _PackageNotFoundError
from importlib.metadata import version as _version
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from fastwgan import backends, optim, parametrizations
from fastwgan.backends import use_backend
from fastwgan.clipping import clip_after_step, clip_weights_
from fastwgan.critic_loss import CriticLoss, critic_loss
from fastwgan.engine.explain import explain
from fastwgan.memory import free_memory
from fastwgan.penalty import gradient_penalty
from fastwgan.spectral import SpectralNorm, remove_spectral_norm, spectral_norm

try:
    __version__ = _version("fastwgan")
except _PackageNotFoundError:  # a checkout on sys.path that was never installed
    __version__ = "0+unknown"

if _TYPE_CHECKING:
    from fastwgan.train.lipschitz import audit


def __getattr__(name: str) -> _Any:
    """Imports the trainer's audit when it is asked for: it stands above all else here."""
    if name == "audit":
        from fastwgan.train.lipschitz import audit

        return audit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "CriticLoss",
    "SpectralNorm",
    "__version__",
    "audit",
    "backends",
    "clip_after_step",
    "clip_weights_",
    "critic_loss",
    "explain",
    "free_memory",
    "gradient_penalty",
    "optim",
    "parametrizations",
    "remove_spectral_norm",
    "spectral_norm",
    "use_backend",
]
