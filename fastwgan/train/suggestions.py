"""Names that a user may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from fastwgan.train.defaults import DATASETS


def nearest(name: str, candidates: Iterable[str]) -> str:
    """What to say behind an unknown name: " (did you mean critic_lr?)".

    Args:
        name: What was given.
        candidates: What could have been.

    Returns:
        "" where none is near.
    """
    found = _nearest(name, candidates)
    return "" if found is None else f" (did you mean {found}?)"


def no_such_path(name: str) -> str:
    """What to say of data that isn't there, with the data set, or the path, that may be meant."""
    path = Path(name)
    try:
        beside = {each.name for each in path.parent.iterdir() if not each.name.startswith(".")}
    except OSError:
        beside = set()
    found = _nearest(path.name, {*DATASETS, *beside})
    meant = str(path.with_name(found)) if found in beside else found
    return "there is no such file or folder" + (f" (did you mean {meant}?)" if found else "")


def _nearest(name: str, candidates: Iterable[str]) -> str | None:
    plain = {_plain(candidate): candidate for candidate in sorted(candidates)}
    found = difflib.get_close_matches(_plain(name), plain, n=1)
    return plain[found[0]] if found else None


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
