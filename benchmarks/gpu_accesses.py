"""The widest accesses to global memory of each kernel, read from PTX and machine code."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

BYTES = {"256": 32, "128": 16, "64": 8, "U16": 2, "S16": 2, "U8": 1, "S8": 1}
_ACCESS = re.compile(r"\b(?:LDG|STG|LD|ST)\.E([.\w]*)")


def widths_in_ptx(ptx: str) -> dict[str, int]:
    """By mangled name, the bytes of each entry's widest access.

    An address read from a table is generic to the compiler: `ld` without a state space.
    """
    access = re.compile(r"\b(?:ld|st)(?:\.global(?:\.nc)?)?(?:\.(v\d))?\.[a-z](\d+)\s")
    widest = {}
    for entry in re.split(r"(?=\.visible \.entry|\.entry )", ptx)[1:]:
        name = re.search(r"\.entry (\w+)", entry)
        assert name is not None
        widths = [int(v[1:] or 1) * int(bits) // 8 for v, bits in access.findall(entry)]
        widest[name.group(1)] = max(widths, default=0)
    return widest


@cache
def disassembler() -> str | None:
    """The toolkit's cuobjdump, or the one that Triton brings along; None where neither is."""
    found = shutil.which("cuobjdump")
    triton = importlib.util.find_spec("triton")
    if found is None and triton is not None and triton.origin is not None:
        found = shutil.which(Path(triton.origin).parent / "backends/nvidia/bin/cuobjdump")
    return None if found is None else str(found)


def widths_in_sass(cubin: Path) -> dict[str, int]:
    """By mangled name, the bytes of each kernel's widest access; empty without a disassembler."""
    tool = disassembler()
    if tool is None:
        return {}
    command = [tool, "-sass", str(cubin)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {
        part.split(maxsplit=1)[0]: max(map(_width, _ACCESS.findall(part)), default=0)
        for part in text.split("Function : ")[1:]
    }


def _width(modifiers: str) -> int:
    """Bytes of an access with such modifiers: 4 unless one of them says otherwise."""
    return max((BYTES[word] for word in modifiers.split(".") if word in BYTES), default=4)
