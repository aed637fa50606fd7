"""The packages of the extras, imported where they are needed."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastwgan.train.config import TrainConfig


class MissingExtraError(ImportError):
    """A package of an extra isn't installed."""


def require(module: str, purpose: str) -> ModuleType:
    """Imports `module`, which `purpose` needs; the sentence says which extra has it.

    Raises:
        MissingExtraError: its package isn't installed. One that is there but broken raises what it
            raises.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise MissingExtraError(
            f"{purpose} needs {package}, which isn't installed: "
            f"run `pip install 'fastwgan[{_EXTRA_OF.get(package, 'train')}]'`."
        ) from None


_EXTRA_OF = {"pyarrow": "parquet", "tensorboard": "tensorboard"}


def check(config: TrainConfig) -> None:
    """Raises `MissingExtraError` before a run for what its files need, rather than after it."""
    require("matplotlib", "drawing samples.png and curves.png")
    require("tomli_w", "writing config.toml")
    if config.measure_every:
        require("ot", "measuring the Wasserstein distance")
    if config.sample_every:
        require("PIL", "drawing training.webp")
    if config.tensorboard:
        require("tensorboard", "--tensorboard")
