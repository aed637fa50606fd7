"""The seal of a checkpoint: the SHA-256 of all its bytes, in the comment of its archive."""

from __future__ import annotations

import hashlib
import os
import re
import struct
from typing import BinaryIO

_SEAL = re.compile(rb"fastwgan checkpoint of step (\d+), SHA-256 ([0-9a-f]{64})\Z")
_LONGEST_SEAL = 256
_READ_AT_ONCE = 1 << 20


def write_sealed(file: BinaryIO, archive: memoryview, step: int) -> None:
    """Writes an archive that has no comment, with the seal as its comment."""
    comment = f"fastwgan checkpoint of step {step}, SHA-256 ".encode()
    # An archive without a comment ends in its comment's length, two bytes of zero.
    begin, end = archive[:-2], struct.pack("<H", len(comment) + 64) + comment
    digest = hashlib.sha256(begin)
    digest.update(end)
    file.write(begin)
    file.write(end + digest.hexdigest().encode())


def sealed_step(file: BinaryIO) -> int | None:
    """The step of the seal at a file's end, if the rest of the file is as the seal says."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LONGEST_SEAL))
    seal = _SEAL.search(file.read())
    if seal is None:
        return None
    digest, left = hashlib.sha256(), size - 64
    file.seek(0)
    while left:
        block = file.read(min(left, _READ_AT_ONCE))
        if not block:
            return None
        digest.update(block)
        left -= len(block)
    return int(seal[1]) if digest.hexdigest().encode() == seal[2] else None
