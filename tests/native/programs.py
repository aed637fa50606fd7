"""Runs a program that sanitizers watch, and tells whether it found anything."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

# Address space randomisation beyond this leaves no room for ThreadSanitizer's shadow memory.
RANDOM_BITS = Path("/proc/sys/vm/mmap_rnd_bits")
MOST_RANDOM_BITS = 28


def run(program: Path, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    command = [str(program), *arguments]
    if RANDOM_BITS.exists() and int(RANDOM_BITS.read_text()) > MOST_RANDOM_BITS:
        setarch = shutil.which("setarch")
        assert setarch is not None
        command = [setarch, os.uname().machine, "-R", *command]
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1", "ASAN_OPTIONS": ""}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=timeout
    )


def assert_clean(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
