"""One mistake, put into one place of the source."""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Mutation(NamedTuple):
    """A mistake that somebody could make, and the tests that must notice.

    Attributes:
        file: Where, from the repository's root.
        old: The text that is replaced, which occurs there once.
        new: What replaces it.
        why: How the mistake comes about.
        tests: Arguments of pytest that select the tests, few enough to take seconds.
    """

    file: str
    old: str
    new: str
    why: str
    tests: str

    def applied_to(self, text: str) -> str:
        """The file's text with the mistake in it.

        Raises:
            ValueError: the text to replace isn't there once, or is replaced by itself.
        """
        found = text.count(self.old)
        if found != 1 or self.old == self.new:
            raise ValueError(
                f"{self.file} has {found} times what is to be replaced, where it must be once: "
                f"{self.old!r}."
            )
        return text.replace(self.old, self.new)

    @property
    def key(self) -> str:
        """Tells it from all others, and from itself once it is another mistake or test."""
        parts = (self.file, self.old, self.new, self.tests)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
