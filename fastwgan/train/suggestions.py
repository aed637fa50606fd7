"""Names that a user may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, candidates: Iterable[str]) -> str:
    """What to say behind an unknown name: " (did you mean critic_lr?)".

    Args:
        name: What was given.
        candidates: What could have been.

    Returns:
        "" where none is near.
    """
    plain = {_plain(candidate): candidate for candidate in sorted(candidates)}
    found = difflib.get_close_matches(_plain(name), plain, n=1)
    return f" (did you mean {plain[found[0]]}?)" if found else ""


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
