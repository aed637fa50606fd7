"""What a run is made of: one frozen dataclass that checks itself."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch

from fastwgan.train import defaults
from fastwgan.train.defaults import DATASETS
from fastwgan.train.methods import METHODS, PENALTIES, name_of, parts_of
from fastwgan.train.suggestions import nearest, no_such_path

__all__ = ["DATASETS", "LOSSES", "METHODS", "MODELS", "ConfigError", "TrainConfig"]

LOSSES = ("wasserstein", "hinge", "logistic", "relativistic")
MODELS = ("auto", "mlp", "dcgan", "resnet")


class ConfigError(ValueError):
    """A setting that cannot be.

    Attributes:
        name: Its field, so that the command can name its option.
        problem: What it was and what it must be, to stand behind the name.
    """

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

    method: str = _setting(
        f"how the critic is kept 1-Lipschitz: {', '.join(METHODS)}, or other parts joined by +"
    )
    data: str = _setting(
        f"what is imitated: {', '.join(DATASETS)}, a folder of images, or a file .npz, .npy, .csv "
        "or .parquet"
    )
    steps: int = _setting("generator steps in all")
    seed: int = _setting("of the weights, the noise and the order of the data")
    device: str = _setting("cpu, cuda, cuda:1, mps")
    threads: int = _setting("processor threads of torch and of the kernels")
    model: str = _setting(f"both networks: {', '.join(MODELS)} (by the data)")
    critic: str | None = _setting(
        "a critic of your own, package.module:Class; that module's code is run, and never because "
        "a file names it; no other setting runs code that it names"
    )
    pack: int = _setting("rows that the critic judges together (PacGAN), of data without pixels")
    conditional: bool = _setting("give both networks the labels")
    image_size: int | None = _setting("pixels a side, to which a folder's images are brought")
    label_column: str | None = _setting("the column of a table that holds the labels")
    loss: str = _setting("of the critic's scores: " + ", ".join(LOSSES))
    batch_size: int = _setting("samples a batch, real and fake alike, over all processes")
    critic_steps: int = _setting("critic updates before each generator update")
    critic_lr: float = _setting("learning rate of the critic")
    generator_lr: float = _setting("learning rate of the generator")
    lr_decay: str = _setting("of both learning rates: none, linear (to zero at the last step)")
    beta1: float | None = _setting("Adam's first decay (all methods but wgan)")
    beta2: float | None = _setting("Adam's second decay (all methods but wgan)")
    penalty_weight: float | None = _setting("lambda, of each penalty on the mean (gp, lp, r1 …)")
    penalty_every: int | None = _setting("critic updates a penalty, its weight times as many")
    weight_clip: float | None = _setting("the bound c on every critic weight (wgan)")
    ema_decay: float = _setting("of the averaged generator that draws the samples; 0 for none")
    precision: str = _setting("float32, or bf16 for both networks' passes")
    accumulate: int = _setting("parts that a batch is computed in, to save memory")
    latent_size: int = _setting("length of the noise vector")
    width: int = _setting("units of a hidden layer, or channels of the first convolution")
    log_every: int = _setting("steps between two lines of metrics.jsonl")
    checkpoint_every: int = _setting("steps between two checkpoints")
    measure_every: int = _setting("steps between two exact Wasserstein distances; 0 for none")
    sample_every: int = _setting("steps between two pictures of samples; 0 for none")
    tensorboard: bool = _setting("write events for TensorBoard too")

    def __post_init__(self) -> None:
        """Checks every field, then what fields say of each other."""
        for name, allowed in _ALLOWED.items():
            if getattr(self, name) not in allowed:
                self._refuse(name, f"one of {', '.join(allowed)}")
        if self.method != _canonical(self.method):
            self._refuse("method", f"written {_canonical(self.method)}")
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                self._refuse(name, f"a whole number of at least {least}")
        if self.seed > _LARGEST_SEED:
            self._refuse("seed", f"at most {_LARGEST_SEED}")
        self._check_optional()
        for name in ("critic_lr", "generator_lr"):
            self._check_number(name, above=0.0)
        self._check_number("ema_decay", least=0.0, below=1.0)
        self._check_of_method()
        if self.batch_size % (self.accumulate * self.pack):
            self._refuse(
                "batch_size",
                f"a multiple of accumulate times pack, which is {self.accumulate * self.pack}",
            )
        if self.pack > 1 and self.conditional:
            self._refuse("pack", "1 where conditional is true")
        _check_device(self.device)

    @classmethod
    def for_method(cls, method: str, data: str, **chosen: Any) -> TrainConfig:
        """The configuration of one method on one data set, with every setting not chosen filled in.

        Args:
            method: One of `METHODS`, or other parts of `fastwgan.train.methods` joined by "+".
            data: One of `DATASETS`, or the path of a folder of images, of an array or a table.
            **chosen: Fields of this class; None counts as not chosen.

        Raises:
            ConfigError: see the class.
            TypeError: a name in `chosen` is no field.
        """
        method = _canonical(method)
        if data not in DATASETS:
            data = _existing(data)
        settings: dict[str, Any] = {"threads": torch.get_num_threads()}
        settings |= defaults.settings(method, parts_of(method), data)
        given = {name: value for name, value in chosen.items() if value is not None}
        if given.get("conditional") is True:
            settings["pack"] = 1
            if defaults.kind_of(data) == "table" and "label_column" not in given:
                raise ConfigError(
                    "label_column", "must name the column of labels, since conditional is true."
                )
        settings |= given
        return cls(method=method, data=data, **settings)

    @property
    def parts(self) -> tuple[str, ...]:
        """What the method is made of: names of `fastwgan.train.methods.PARTS`."""
        return parts_of(self.method)

    @property
    def penalties(self) -> tuple[str, ...]:
        """The kinds of gradient penalty that the method has."""
        return tuple(PENALTIES[part] for part in self.parts if part in PENALTIES)

    def to_dict(self) -> dict[str, str | int | float | bool]:
        """The settings that this run has, by name: what config.toml and a checkpoint hold."""
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
                raise ConfigError(name, f"is no setting of a run{nearest(name, names)}.")
        absent: dict[str, Any] = dict.fromkeys(_MAY_BE_ABSENT)
        for name in sorted(names - values.keys() - absent.keys()):
            raise ConfigError(name, "is missing.")
        return cls(**(absent | values))

    def _refuse(self, name: str, expected: str) -> NoReturn:
        raise ConfigError(name, f"was {getattr(self, name)!r}; it must be {expected}.")

    def _check_optional(self) -> None:
        for name in ("conditional", "tensorboard"):
            if type(getattr(self, name)) is not bool:
                self._refuse(name, "true or false")
        if type(self.data) is not str or not self.data:
            self._refuse("data", "a name or a path")
        for name in ("critic", "label_column"):
            if getattr(self, name) is not None and type(getattr(self, name)) is not str:
                self._refuse(name, "a text")
        if self.image_size is not None and (
            type(self.image_size) is not int or not 8 <= self.image_size <= 128
        ):
            self._refuse("image_size", "a whole number from 8 to 128")

    def _check_of_method(self) -> None:
        parts = self.parts
        penalised = set(parts) & PENALTIES.keys()
        self._check_present("beta1", parts != ("clip",), least=0.0, below=1.0)
        self._check_present("beta2", parts != ("clip",), least=0.0, below=1.0)
        self._check_present("penalty_weight", bool(penalised), above=0.0)
        self._check_present("weight_clip", "clip" in parts, above=0.0)
        self._check_present("penalty_every", bool(penalised), least=1)
        if penalised and type(self.penalty_every) is not int:
            self._refuse("penalty_every", "a whole number of at least 1")

    def _check_present(self, name: str, has: bool, **limits: float) -> None:
        if has:
            self._check_number(name, **limits)
        elif getattr(self, name) is not None:
            raise ConfigError(
                name,
                f"was {getattr(self, name)!r}, but method {self.method} has none; "
                f"it belongs to {_BELONGS[name]}.",
            )

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


_ALLOWED = {
    "loss": LOSSES,
    "model": MODELS,
    "lr_decay": ("none", "linear"),
    "precision": ("float32", "bf16"),
}

_LEAST = {
    "steps": 1,
    "seed": 0,
    "threads": 1,
    "batch_size": 2,  # the generator's BatchNorm needs two samples
    "critic_steps": 1,
    "accumulate": 1,
    "pack": 1,
    "latent_size": 1,
    "width": 1,
    "log_every": 1,
    "checkpoint_every": 1,
    "measure_every": 0,
    "sample_every": 0,
}

_LARGEST_SEED = 2**32 - 1  # torch's generators on the CPU take 32 bits and drop the rest

_BELONGS = {
    "beta1": "all methods but wgan",
    "beta2": "all methods but wgan",
    "penalty_weight": f"methods with {', '.join(PENALTIES)}",
    "penalty_every": f"methods with {', '.join(PENALTIES)}",
    "weight_clip": "wgan",
}
_MAY_BE_ABSENT = (*_BELONGS, "critic", "image_size", "label_column")


def _canonical(method: object) -> str:
    if not isinstance(method, str):
        raise ConfigError("method", f"was {method!r}; it must be one of {', '.join(METHODS)}.")
    try:
        return name_of(parts_of(method))
    except ValueError as error:
        raise ConfigError(
            "method", f"was {method!r}; it must be {error}{nearest(method, METHODS)}."
        ) from None


def _existing(data: object) -> str:
    """The absolute path that `data` is, so that a run can be gone on with from anywhere."""
    if not isinstance(data, str) or not data or not Path(data).exists():
        missing = f": {no_such_path(data)}" if isinstance(data, str) and data else ""
        raise ConfigError(
            "data",
            f"was {data!r}{missing}; it must be one of {', '.join(DATASETS)}, or the path of a "
            "folder of images or of a file .npz, .npy, .csv or .parquet.",
        )
    return str(Path(data).resolve())


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
