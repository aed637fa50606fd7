"""What a run is made of: one frozen dataclass that checks itself."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from fastwgan.train import defaults

METHODS = ("wgan", "wgan-gp", "sn-gan")
DATASETS = ("digits", "mnist", "8gaussians", "25gaussians", "swissroll")
LOSSES = ("wasserstein", "hinge")


class ConfigError(ValueError):
    """A setting that cannot be; `name` is the field, so that the command can name its option."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name} {problem}")
        self.name = name
        self.problem = problem


def _setting(text: str) -> Any:
    return dataclasses.field(metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides the numbers of a run. `for_method` fills in what is not chosen.

    A step is one generator update and the `critic_steps` critic updates before it. Settings that a
    method does not have are None.

    Raises:
        ConfigError: a value is out of its range, or belongs to another method.
    """

    method: str = _setting("how the critic is kept 1-Lipschitz: " + ", ".join(METHODS))
    data: str = _setting("what is imitated: " + ", ".join(DATASETS))
    steps: int = _setting("generator steps in all")
    seed: int = _setting("of the weights, the noise and the order of the data")
    device: str = _setting("cpu, cuda, cuda:1, mps")
    threads: int = _setting("processor threads of torch and of the kernels")
    loss: str = _setting("of the critic's scores: " + ", ".join(LOSSES))
    batch_size: int = _setting("samples a batch, real and fake alike")
    critic_steps: int = _setting("critic updates before each generator update")
    critic_lr: float = _setting("learning rate of the critic")
    generator_lr: float = _setting("learning rate of the generator")
    beta1: float | None = _setting("Adam's first decay (wgan-gp, sn-gan)")
    beta2: float | None = _setting("Adam's second decay (wgan-gp, sn-gan)")
    penalty_weight: float | None = _setting("lambda, the weight of the gradient penalty (wgan-gp)")
    weight_clip: float | None = _setting("the bound c on every critic weight (wgan)")
    ema_decay: float = _setting("of the averaged generator that draws the samples; 0 for none")
    latent_size: int = _setting("length of the noise vector")
    width: int = _setting("units of a hidden layer, or channels of the first convolution")
    log_every: int = _setting("steps between two lines of metrics.jsonl")
    checkpoint_every: int = _setting("steps between two checkpoints")

    def __post_init__(self) -> None:
        """Checks every field, then what fields say of each other."""
        for name, allowed in (("method", METHODS), ("data", DATASETS), ("loss", LOSSES)):
            if getattr(self, name) not in allowed:
                self._refuse(name, f"one of {', '.join(allowed)}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                self._refuse(name, f"a whole number of at least {least}")
        if self.seed > _LARGEST_SEED:
            self._refuse("seed", f"at most {_LARGEST_SEED}")
        for name in ("critic_lr", "generator_lr"):
            self._check_number(name, above=0.0)
        self._check_number("ema_decay", least=0.0, below=1.0)
        for name, (methods, limits) in _OF_METHOD.items():
            self._check_of_method(name, methods, limits)
        _check_device(self.device)

    @classmethod
    def for_method(cls, method: str, data: str, **chosen: Any) -> TrainConfig:
        """The configuration of one method on one data set, with every setting not chosen filled in.

        Args:
            method: One of `METHODS`.
            data: One of `DATASETS`.
            **chosen: Fields of this class; None counts as not chosen.

        Raises:
            ConfigError: see the class.
            TypeError: a name in `chosen` is no field.
        """
        if method not in METHODS:
            raise ConfigError("method", f"was {method!r}; it must be one of {', '.join(METHODS)}.")
        if data not in DATASETS:
            raise ConfigError("data", f"was {data!r}; it must be one of {', '.join(DATASETS)}.")
        settings = {"threads": torch.get_num_threads()} | defaults.COMMON
        settings |= (
            defaults.OF_METHOD[method]
            | defaults.OF_DATA[data]
            | defaults.OF_PAIR.get((method, data), {})
        )
        settings |= {name: value for name, value in chosen.items() if value is not None}
        return cls(method=method, data=data, **settings)

    def to_dict(self) -> dict[str, str | int | float]:
        """The settings that this method has, by name: what config.toml and a checkpoint hold."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """The inverse of `to_dict`.

        Raises:
            ConfigError: a name is unknown or missing, or a value cannot be.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        for name in values:
            if name not in names:
                raise ConfigError(name, "is no setting of a run.")
        absent: dict[str, Any] = dict.fromkeys(_OF_METHOD)
        for name in sorted(names - values.keys() - absent.keys()):
            raise ConfigError(name, "is missing.")
        return cls(**(absent | values))

    def _refuse(self, name: str, expected: str) -> NoReturn:
        raise ConfigError(name, f"was {getattr(self, name)!r}; it must be {expected}.")

    def _check_number(
        self,
        name: str,
        *,
        above: float = -math.inf,
        least: float = -math.inf,
        below: float = math.inf,
    ) -> None:
        value = getattr(self, name)
        is_number = type(value) in (int, float) and math.isfinite(value)
        if not (is_number and value > above and least <= value < below):
            bounds = [f"above {above:g}"] * (above > -math.inf)
            bounds += [f"at least {least:g}"] * (least > -math.inf)
            bounds += [f"below {below:g}"] * (below < math.inf)
            self._refuse(name, "a number " + " and ".join(bounds))

    def _check_of_method(
        self, name: str, methods: tuple[str, ...], limits: dict[str, float]
    ) -> None:
        if self.method in methods:
            self._check_number(name, **limits)
        elif getattr(self, name) is not None:
            raise ConfigError(
                name,
                f"was {getattr(self, name)!r}, but method {self.method} has none; "
                f"it belongs to {' and '.join(methods)}.",
            )


_LEAST = {
    "steps": 1,
    "seed": 0,
    "threads": 1,
    "batch_size": 2,  # the generator's BatchNorm needs two samples
    "critic_steps": 1,
    "latent_size": 1,
    "width": 1,
    "log_every": 1,
    "checkpoint_every": 1,
}

_LARGEST_SEED = 2**32 - 1  # torch's generators on the CPU take 32 bits and drop the rest

_OF_METHOD: dict[str, tuple[tuple[str, ...], dict[str, float]]] = {
    "beta1": (("wgan-gp", "sn-gan"), {"least": 0.0, "below": 1.0}),
    "beta2": (("wgan-gp", "sn-gan"), {"least": 0.0, "below": 1.0}),
    "penalty_weight": (("wgan-gp",), {"above": 0.0}),
    "weight_clip": (("wgan",), {"above": 0.0}),
}


def _check_device(name: str) -> None:
    """Refuses a device that torch doesn't know or that isn't here."""
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise ConfigError(
            "device", f"was {name!r}; it must be cpu, cuda, cuda:1, mps or alike."
        ) from None
    here = {
        "cpu": (device.index or 0) + 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }.get(device.type, 0)
    if (device.index or 0) >= here:
        raise ConfigError("device", f"was {name!r}, which this machine or this torch lacks.")
