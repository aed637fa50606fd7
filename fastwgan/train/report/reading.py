"""What the folder of a run holds, read without trusting that all of it is there."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastwgan.train.config import ConfigError
from fastwgan.train.config_file import read_config
from fastwgan.train.extras import require
from fastwgan.train.folder import RunFolder
from fastwgan.train.grids import frames
from fastwgan.train.methods import parts_of
from fastwgan.train.metrics import Record
from fastwgan.train.report import machine

_TYPES = {".png": "image/png", ".webp": "image/webp"}
_WIDE = 1.5


class ReportError(RuntimeError):
    """A folder that no report can be made of."""


@dataclass(frozen=True)
class Contents:
    """What a report says, by the file that it is from.

    Attributes:
        folder: The run's.
        config: config.toml.
        records: metrics.jsonl, but for a line that a crash left torn.
        machine: machine.json; empty where it isn't there.
        quality: quality.json; None where it isn't there.
        audit: audit.json; None where it isn't there.
        step: Generator steps done, as far as the files say.
    """

    folder: RunFolder
    config: dict[str, Any]
    records: list[Record]
    machine: dict[str, Any]
    quality: Any
    audit: Any
    step: int


def read(folder: RunFolder) -> Contents:
    """Reads a run's folder.

    Raises:
        ReportError: there is no run in it, or a file of it is damaged.
    """
    if not folder.config.is_file():
        raise ReportError(f"{folder.path} holds no run: there is no {folder.config.name} in it.")
    records = _records(folder.metrics)
    steps = [int(record["step"]) for record in records] + [step for step, _ in frames(folder)]
    return Contents(
        folder,
        _config(folder.config),
        records,
        _json(machine.path(folder)) or {},
        _json(folder.quality),
        _json(folder.audit_json),
        max(steps, default=0),
    )


def data_uri(path: Path) -> str | None:
    """A picture as text that a page can hold; None where there is no such file."""
    if not path.is_file():
        return None
    return _uri(path.read_bytes(), _TYPES[path.suffix])


def is_wide(path: Path) -> bool:
    """Whether a picture shows two side by side, which a phone has no room for."""
    with require("PIL.Image", "writing report.html").open(path, formats=["PNG"]) as image:
        width, height = image.size
    return bool(width > _WIDE * height)


def last_frame(animation: Path) -> str | None:
    """The end of an animation as a picture that stands still; None where there is none."""
    if not animation.is_file():
        return None
    buffer = io.BytesIO()
    with require("PIL.Image", "writing report.html").open(animation, formats=["WEBP"]) as film:
        film.seek(film.n_frames - 1)
        film.convert("RGB").save(buffer, format="WEBP", quality=85)
    return _uri(buffer.getvalue(), "image/webp")


def _uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _config(path: Path) -> dict[str, Any]:
    try:
        config = read_config(path)
    except ConfigError as error:
        raise ReportError(f"{path} is damaged: {error}") from None
    for name, kind in (("data", str), ("method", str), ("steps", int)):
        if type(config.get(name)) is not kind:
            raise ReportError(f"{path} is damaged: {name} was {config.get(name)!r}.")
    try:
        parts_of(config["method"])
    except ValueError as error:
        raise ReportError(
            f"{path} is damaged: method was {config['method']!r}; it must be {error}."
        ) from None
    return config


def _json(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReportError(f"{path} is damaged: {error}.") from None


def _records(path: Path) -> list[Record]:
    """The whole lines: of a run that goes on, or was killed, the last may be torn."""
    if not path.is_file():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    try:
        records = [json.loads(line) for line in lines if line.endswith(b"\n")]
    except ValueError as error:
        raise ReportError(f"{path} is damaged: {error}.") from None
    if not all(isinstance(record, dict) and "step" in record for record in records):
        raise ReportError(f"{path} is damaged: a line of it has no step.")
    return records
