"""Object files under names made of what went into them: a change compiles what it touches."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


def compiled(
    compiler: str, sources: Sequence[Path], flags: Sequence[str], folder: Path
) -> list[Path]:
    """The sources' object files in `folder`; those that are there already are not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = int(os.environ.get("FASTWGAN_BUILD_JOBS", "0")) or os.cpu_count()
    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(lambda source: _object(compiler, source, flags, folder), sources))


def run(arguments: Sequence[str | Path]) -> None:
    """A compiler's or linker's call, whose messages are the error's."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr


def read_by(source: Path, flags: Sequence[str]) -> set[Path]:
    """The source, and every header of ours that it includes."""
    folders = [Path(flag[2:]) for flag in flags if flag.startswith("-I")]
    found = {source}
    waiting = [source]
    while waiting:
        new = set(_included(waiting.pop(), folders)) - found
        found |= new
        waiting += new
    return found


def _included(file: Path, folders: Sequence[Path]) -> Iterator[Path]:
    for name in _INCLUDE.findall(file.read_text(encoding="utf-8")):
        candidates = [(folder / name).resolve() for folder in (file.parent, *folders)]
        yield from [path for path in candidates if path.is_file()][:1]


def _object(compiler: str, source: Path, flags: Sequence[str], folder: Path) -> Path:
    digest = hashlib.sha256(f"{compiler} {flags} {source}".encode())
    for path in sorted(read_by(source, flags)):
        digest.update(path.name.encode() + path.read_bytes())
    result = folder / f"{source.stem}-{digest.hexdigest()[:16]}.o"
    if not result.exists():
        partial = result.with_suffix(f".{os.getpid()}")
        run([compiler, *flags, "-x", "c++", "-c", source, "-o", partial])
        partial.replace(result)  # at once, so that another process never sees half of it
    return result
