"""The documents at the top of the repository, and the code in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def python_blocks(document: str) -> list[str]:
    """Each block of Python, in order."""
    return re.findall(r"^```python\n(.*?)^```$", text_of(document), re.MULTILINE | re.DOTALL)


def run(block: str, document: str) -> dict[str, Any]:
    """The names that a block leaves behind."""
    names: dict[str, Any] = {"__name__": document}
    exec(compile(block, document, "exec"), names)
    return names
