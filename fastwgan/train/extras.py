"""The packages of the extra `train`, imported where they are needed."""

from __future__ import annotations

import importlib
from types import ModuleType


class MissingExtraError(ImportError):
    """A package of the extra `train` isn't installed."""


def require(module: str, purpose: str) -> ModuleType:
    """Imports `module`, which `purpose` needs.

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
            "run `pip install 'fastwgan[train]'`."
        ) from None


def check() -> None:
    """Raises `MissingExtraError` before a run for what its files need, rather than after it."""
    require("matplotlib", "drawing samples.png and curves.png")
    require("tomli_w", "writing config.toml")
