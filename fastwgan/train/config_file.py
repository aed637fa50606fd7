"""Reading the settings that a run left in its config.toml, or that a person wrote in one."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from fastwgan.train import extras
from fastwgan.train.config import ConfigError, TrainConfig
from fastwgan.train.suggestions import nearest

_PLAIN = (str, int, float, bool)


def read_config(path: Path) -> dict[str, Any]:
    """The settings in a TOML file, by name; `TrainConfig` checks their values.

    Args:
        path: The file, or the folder of a run, whose config.toml it then is.

    Raises:
        ConfigError: there is no such file, it isn't TOML, it names a setting that there isn't, or
            gives one a table, a list or a date.
        MissingExtraError: Python is older than 3.11 and has no tomli.
    """
    file = path / "config.toml" if path.is_dir() else path
    tomllib = extras.require(
        "tomllib" if sys.version_info >= (3, 11) else "tomli", "reading config.toml"
    )
    try:
        values: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError("config", f"was {path}; there is no file {file}.") from None
    except OSError as error:
        raise ConfigError("config", f"was {path}, which can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigError("config", f"was {path}, which isn't text in UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("config", f"was {path}, which isn't TOML: {error}.") from None
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    for name, value in values.items():
        if name not in names:
            raise ConfigError(
                "config", f"was {path}, whose {name} is no setting of a run{nearest(name, names)}."
            )
        if type(value) not in _PLAIN:
            raise ConfigError(
                "config",
                f"was {path}, whose {name} is a {type(value).__name__}; it must be a number, text "
                "or truth.",
            )
    return values
