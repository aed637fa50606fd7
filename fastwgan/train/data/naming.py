"""How files and counts stand in a sentence."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

_SHOWN = 5


def shown(text: str) -> str:
    r"""`text` for any terminal: bytes that are no UTF-8, and control characters, as \x…."""
    plain = text.encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in plain)


def some(names: Collection[str], separator: str = ", ", *, most: int = _SHOWN) -> str:
    """The first few names, and how many more there are: `a.png, b.png and 7 more`."""
    first = separator.join(shown(name) for name in islice(names, most))
    more = len(names) - most
    return f"{first} and {more:,} more" if more > 0 else first


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
