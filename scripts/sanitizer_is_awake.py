"""Exits with 0 when a kernel that writes one element too far ends its process, and nothing less."""

from __future__ import annotations

import subprocess
import sys

# The C library's malloc is the sanitizer's own here: it knows where these 12 bytes end.
OVERFLOW = """
import ctypes
from array import array
from fastwgan import _cpu

malloc = ctypes.CDLL(None).malloc
malloc.restype = ctypes.c_void_p
tensors, sizes = array("q", [malloc(12)]), array("q", [{size}])
ctypes.memset(tensors[0], 0x7F, 12)
_cpu.weight_clip_f32(tensors.buffer_info()[0], sizes.buffer_info()[0], 1, 0.5, 1)
"""


def _run(size: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", OVERFLOW.format(size=size)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def main() -> None:
    """Runs the kernel over the three elements there are, then over four."""
    right, wrong = _run(3), _run(4)
    if right.returncode != 0:
        raise SystemExit(f"the sanitized kernels fail on right arguments: {right.stderr}")
    if "heap-buffer-overflow" not in wrong.stderr:
        raise SystemExit("AddressSanitizer saw nothing of a write past the end: is it loaded?")


if __name__ == "__main__":
    main()
