"""Names that a user may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, candidates: Iterable[str]) -> str:
    """What to say behind an unknown name: `; did you mean 'critic_lr'?`'s text, or nothing.

    Args:
        name: What was given.
        candidates: What could have been.

    Returns:
        "" where none is near.
    """
    found = difflib.get_close_matches(name, sorted(candidates), n=1)
    return f" (did you mean {found[0]}?)" if found else ""
