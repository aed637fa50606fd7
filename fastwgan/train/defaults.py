"""The settings of a run that nobody chose, and where each number is from.

Later tables win: `COMMON`, then `OF_METHOD` (the papers' values), then `OF_DATA`, then `OF_PAIR`.
"""

from __future__ import annotations

from typing import Any

COMMON: dict[str, Any] = {
    "seed": 0,
    "device": "cpu",
    "beta1": None,
    "beta2": None,
    "penalty_weight": None,
    "weight_clip": None,
    "log_every": 20,
    "checkpoint_every": 500,
}

OF_METHOD: dict[str, dict[str, Any]] = {
    # Arjovsky, Chintala, Bottou 2017, "Wasserstein GAN", algorithm 1.
    "wgan": {
        "loss": "wasserstein",
        "critic_steps": 5,
        "critic_lr": 5e-5,
        "generator_lr": 5e-5,
        "weight_clip": 0.01,
    },
    # Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", algorithm 1.
    "wgan-gp": {
        "loss": "wasserstein",
        "critic_steps": 5,
        "critic_lr": 1e-4,
        "generator_lr": 1e-4,
        "beta1": 0.0,
        "beta2": 0.9,
        "penalty_weight": 10.0,
    },
    # Miyato et al. 2018, "Spectral Normalization for GANs", its setting for ResNets.
    "sn-gan": {
        "loss": "hinge",
        "critic_steps": 5,
        "critic_lr": 2e-4,
        "generator_lr": 2e-4,
        "beta1": 0.0,
        "beta2": 0.9,
    },
}

# Sizes: ours, for two processor cores and a few minutes. The toy networks are those of the code of
# Gulrajani et al. 2017 (three hidden layers of ReLU, batches of 256, noise of length 2), with
# hidden layers a quarter as wide. One thread: a second gains nothing on products this small, and
# costs much where other programs want its core.
_TOY = {
    "steps": 3000,
    "batch_size": 256,
    "latent_size": 2,
    "width": 128,
    "ema_decay": 0.999,
    "threads": 1,
}
OF_DATA: dict[str, dict[str, Any]] = {
    "digits": {
        "steps": 6000,
        "batch_size": 64,
        "latent_size": 32,
        "width": 256,
        "ema_decay": 0.999,
        "threads": 1,
    },
    "mnist": {
        "steps": 1500,
        "batch_size": 64,
        "latent_size": 64,
        "width": 32,
        "ema_decay": 0.99,
        "log_every": 10,
        "checkpoint_every": 100,
    },
    "8gaussians": _TOY,
    "25gaussians": _TOY,
    "swissroll": _TOY,
}

# Ours, found by the exact Wasserstein distance of samples to data after equal time: networks this
# small stand learning rates above the papers', and their critics need fewer steps.
_FASTER = {"critic_lr": 1e-3, "generator_lr": 1e-3}
_DIGITS = _FASTER | {"critic_steps": 2}

# beta1 and lambda as in the toy code of Gulrajani et al. 2017.
_TOY_PENALTY = _FASTER | {"beta1": 0.5, "penalty_weight": 0.1}
_TOY_CLIP = {"critic_lr": 5e-4, "generator_lr": 5e-4, "weight_clip": 0.1}
_TOY_SPECTRAL = _FASTER | {"beta1": 0.5}

OF_PAIR: dict[tuple[str, str], dict[str, Any]] = {
    ("wgan", "digits"): _DIGITS | {"weight_clip": 0.05},
    ("wgan-gp", "digits"): _DIGITS,
    ("sn-gan", "digits"): _DIGITS,
    ("wgan", "8gaussians"): _TOY_CLIP,
    ("wgan", "25gaussians"): _TOY_CLIP,
    ("wgan", "swissroll"): _TOY_CLIP,
    ("wgan-gp", "8gaussians"): _TOY_PENALTY,
    ("wgan-gp", "25gaussians"): _TOY_PENALTY | {"penalty_weight": 1.0},
    ("wgan-gp", "swissroll"): _TOY_PENALTY,
    ("sn-gan", "8gaussians"): _TOY_SPECTRAL,
    ("sn-gan", "25gaussians"): _TOY_SPECTRAL,
    ("sn-gan", "swissroll"): _TOY_SPECTRAL,
}
