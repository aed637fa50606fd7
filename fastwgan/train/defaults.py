"""The settings of a run that nobody chose, and where each number is from.

Later tables win: `COMMON`, then `OF_PART` (the papers' values) for each part of the method, then
`OF_DATA`, then `OF_PAIR`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

DATASETS = ("digits", "mnist", "8gaussians", "25gaussians", "swissroll")
TABLES = (".csv", ".parquet")
ARRAYS = (".npz", ".npy")

Settings = dict[str, Any]

COMMON: Settings = {
    "seed": 0,
    "device": "cpu",
    "model": "auto",
    "critic": None,
    "pack": 1,
    "conditional": False,
    "image_size": None,
    "label_column": None,
    "beta1": None,
    "beta2": None,
    "penalty_weight": None,
    "penalty_every": None,
    "weight_clip": None,
    "lr_decay": "none",
    "precision": "float32",
    "accumulate": 1,
    "log_every": 20,
    "checkpoint_every": 500,
    "measure_every": 500,
    "sample_every": 500,
    "tensorboard": False,
}

# Of several parts, those further down decide what both have: a penalty beside spectral norm or
# clipping keeps its own learning rates.
OF_PART: dict[str, Settings] = {
    # Arjovsky, Chintala, Bottou 2017, "Wasserstein GAN", algorithm 1.
    "clip": {
        "loss": "wasserstein",
        "critic_steps": 5,
        "critic_lr": 5e-5,
        "generator_lr": 5e-5,
        "weight_clip": 0.01,
    },
    # Miyato et al. 2018, "Spectral Normalization for GANs", its setting for ResNets.
    "sn": {
        "loss": "hinge",
        "critic_steps": 5,
        "critic_lr": 2e-4,
        "generator_lr": 2e-4,
        "beta1": 0.0,
        "beta2": 0.9,
    },
    # Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", algorithm 1.
    "gp": {
        "loss": "wasserstein",
        "critic_steps": 5,
        "critic_lr": 1e-4,
        "generator_lr": 1e-4,
        "beta1": 0.0,
        "beta2": 0.9,
        "penalty_weight": 10.0,
    },
    # Petzka, Fischer, Lukovnicov 2018, "On the regularization of Wasserstein GANs": the same
    # training with the one-sided penalty.
    "lp": {
        "loss": "wasserstein",
        "critic_steps": 5,
        "critic_lr": 1e-4,
        "generator_lr": 1e-4,
        "beta1": 0.0,
        "beta2": 0.9,
        "penalty_weight": 10.0,
    },
    # Kodali et al. 2017, "On Convergence and Stability of GANs".
    "dragan": {
        "loss": "logistic",
        "critic_steps": 1,
        "critic_lr": 1e-4,
        "generator_lr": 1e-4,
        "beta1": 0.5,
        "beta2": 0.9,
        "penalty_weight": 10.0,
    },
    # Mescheder, Geiger, Nowozin 2018, "Which Training Methods for GANs do actually Converge?":
    # gamma = 10, of which our weight is the half; its RMSprop is Adam without momentum.
    "r1": {
        "loss": "logistic",
        "critic_steps": 1,
        "critic_lr": 1e-4,
        "generator_lr": 1e-4,
        "beta1": 0.0,
        "beta2": 0.99,
        "penalty_weight": 5.0,
    },
    # Huang et al. 2024, "The GAN is dead; long live the GAN!" (R3GAN): the pairwise loss, R1 and R2
    # of equal weight, gamma = 1 as on its ImageNet of 64 pixels.
    "r2": {
        "loss": "relativistic",
        "critic_steps": 1,
        "critic_lr": 2e-4,
        "generator_lr": 2e-4,
        "beta1": 0.0,
        "beta2": 0.99,
        "penalty_weight": 0.5,
    },
}

# Sizes: ours, for two processor cores and a few minutes. The toy networks are those of the code of
# Gulrajani et al. 2017 (three hidden layers of ReLU, batches of 256, noise of length 2), with
# hidden layers a quarter as wide. One thread: a second gains nothing on products this small, and
# costs much where other programs want its core.
_TOY: Settings = {
    "steps": 3000,
    "batch_size": 256,
    "latent_size": 2,
    "width": 128,
    "ema_decay": 0.999,
    "threads": 1,
}
_ROWS: Settings = {
    "steps": 5000,
    "batch_size": 256,
    "latent_size": 32,
    "width": 256,
    "ema_decay": 0.999,
    "threads": 1,
}
OF_DATA: dict[str, Settings] = {
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
    # Batches, packing and sizes of Xu et al. 2019, "Modeling Tabular Data using Conditional GAN".
    "table": _ROWS | {"batch_size": 500, "pack": 10, "latent_size": 128},
    "array": _ROWS,
    "images": {
        "steps": 5000,
        "batch_size": 64,
        "latent_size": 64,
        "width": 32,
        "image_size": 32,
        "ema_decay": 0.99,
        "log_every": 10,
        "checkpoint_every": 100,
    },
}

# Ours, found by the exact Wasserstein distance of samples to data after equal time: networks this
# small stand learning rates above the papers', and their critics need fewer steps.
_FASTER: Settings = {"critic_lr": 1e-3, "generator_lr": 1e-3}
_DIGITS = _FASTER | {"critic_steps": 2}

# beta1 and lambda as in the toy code of Gulrajani et al. 2017. Rates that fall to zero bring the
# samples onto modes, round which they would else go on moving.
_TOY_PENALTY = _FASTER | {
    "steps": 5000,
    "beta1": 0.5,
    "penalty_weight": 0.1,
    "lr_decay": "linear",
}
_TOY_CLIP: Settings = {"critic_lr": 5e-4, "generator_lr": 5e-4, "weight_clip": 0.1}
_TOY_SPECTRAL = _FASTER | {"beta1": 0.5}
# A critic that learns at twice the generator's rate (Heusel et al. 2017, "GANs Trained by a Two
# Time-Scale Update Rule") finds the last of many modes.
_WIDE_TOY_PENALTY = _TOY_PENALTY | {"penalty_weight": 1.0, "critic_lr": 2e-3}

OF_PAIR: dict[tuple[str, str], Settings] = {
    ("wgan", "digits"): _DIGITS | {"weight_clip": 0.05},
    ("wgan-gp", "digits"): _DIGITS,
    ("wgan-lp", "digits"): _DIGITS,
    ("sn-gan", "digits"): _DIGITS,
    ("wgan", "8gaussians"): _TOY_CLIP,
    ("wgan", "25gaussians"): _TOY_CLIP,
    ("wgan", "swissroll"): _TOY_CLIP,
    ("wgan-gp", "8gaussians"): _TOY_PENALTY,
    ("wgan-gp", "25gaussians"): _WIDE_TOY_PENALTY,
    ("wgan-gp", "swissroll"): _TOY_PENALTY,
    ("wgan-lp", "8gaussians"): _TOY_PENALTY,
    ("wgan-lp", "25gaussians"): _WIDE_TOY_PENALTY,
    ("wgan-lp", "swissroll"): _TOY_PENALTY,
    ("sn-gan", "8gaussians"): _TOY_SPECTRAL,
    ("sn-gan", "25gaussians"): _TOY_SPECTRAL,
    ("sn-gan", "swissroll"): _TOY_SPECTRAL,
    ("wgan-gp", "table"): _FASTER,
    ("wgan-gp", "array"): _FASTER,
}


def kind_of(data: str) -> str:
    """What of `OF_DATA` holds for a data set's name, or for a path."""
    if data in DATASETS:
        return data
    suffix = Path(data).suffix.lower()
    return "table" if suffix in TABLES else "array" if suffix in ARRAYS else "images"


def settings(method: str, parts: tuple[str, ...], data: str) -> Settings:
    """Every setting of a method on a data set but `threads`, which only some data sets have.

    Args:
        method: The name of the method.
        parts: What it is made of, in the order of `fastwgan.train.methods.PARTS`.
        data: A name of `DATASETS` or a path.
    """
    chosen = dict(COMMON)
    for part in parts:
        chosen |= OF_PART[part]
    if chosen["penalty_weight"] is not None:
        chosen["penalty_every"] = 1
    kind = kind_of(data)
    return chosen | OF_DATA[kind] | OF_PAIR.get((method, kind), {})
