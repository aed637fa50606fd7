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
    # Miyato et al. 2018, "Spectral Normalization for GANs", section 4: hinge loss, Adam.
    "sn-gan": {
        "loss": "hinge",
        "critic_steps": 5,
        "critic_lr": 2e-4,
        "generator_lr": 2e-4,
        "beta1": 0.0,
        "beta2": 0.9,
    },
}

OF_DATA: dict[str, dict[str, Any]] = {
    "digits": {
        "steps": 4000,
        "batch_size": 64,
        "latent_size": 32,
        "width": 256,
        "ema_decay": 0.999,
    },
    "mnist": {"steps": 2000, "batch_size": 64, "latent_size": 64, "width": 32, "ema_decay": 0.99},
    "8gaussians": {
        "steps": 2000,
        "batch_size": 256,
        "latent_size": 2,
        "width": 128,
        "ema_decay": 0.99,
    },
    "25gaussians": {
        "steps": 2000,
        "batch_size": 256,
        "latent_size": 2,
        "width": 128,
        "ema_decay": 0.99,
    },
    "swissroll": {
        "steps": 2000,
        "batch_size": 256,
        "latent_size": 2,
        "width": 128,
        "ema_decay": 0.99,
    },
}

OF_PAIR: dict[tuple[str, str], dict[str, Any]] = {}
