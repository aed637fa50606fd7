"""A copy of the working tree, in which one file at a time is mutated, built and tested."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mutation.building import build_cpu
from tests.mutation.mutation import Mutation

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "mutation"

# In a process of its own, since a built emulator is loaded once a process.
_BUILD_EMULATOR = "from tests.cuda_emulator.module import library; library()"


class BuildError(Exception):
    """What is mutated doesn't compile."""


class Tree:
    """The copy, always in the same place, since that is part of what object files are kept by."""

    path = FOLDER / "tree"

    def refresh(self) -> None:
        """Makes it equal to the working tree, what git ignores left out, and builds it."""
        listed = subprocess.run(
            ("git", "ls-files", "-co", "--exclude-standard", "-z"),
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        names = {os.fsdecode(name) for name in listed.stdout.split(b"\0") if name}
        names = {name for name in names if (ROOT / name).is_file()}
        for name in names:
            self._write(name, (ROOT / name).read_bytes())
        for file in self._sources():
            if str(file.relative_to(self.path)) not in names:
                file.unlink()
        build_cpu(self.path)

    @contextmanager
    def mutated(self, mutation: Mutation) -> Iterator[None]:
        """The tree with a mutation in it, built.

        Raises:
            BuildError: it doesn't compile.
        """
        original = (self.path / mutation.file).read_bytes()
        self._write(mutation.file, mutation.applied_to(original.decode()).encode())
        try:
            self._build(mutation.file)
            yield
        finally:
            self._write(mutation.file, original)
            if _is_of_cpu(mutation.file):
                build_cpu(self.path)

    def environment(self) -> dict[str, str]:
        """What a process that tests the tree is started with."""
        return {
            **os.environ,
            "PYTHONPATH": str(self.path),
            "FASTWGAN_CUDA": "0",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # loading them takes as long as many a test
        }

    def _write(self, name: str, content: bytes) -> None:
        file = self.path / name
        if file.exists() and file.read_bytes() == content:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        # Python believes its cache where size and second are the same.
        for cached in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
            cached.unlink()

    def _sources(self) -> list[Path]:
        """All files but those that builds and tests leave."""
        left = {"build", "__pycache__", ".pytest_cache", ".hypothesis", "runs"}
        return [
            file
            for file in self.path.rglob("*")
            if file.is_file()
            and file.suffix != ".so"
            and not left.intersection(file.relative_to(self.path).parts)
        ]

    def _build(self, name: str) -> None:
        """Compiles what a mutated file has a part in; the emulator is kept under what it holds."""
        try:
            if _is_of_cpu(name):
                build_cpu(self.path)
        except AssertionError as error:
            raise BuildError(str(error)) from error
        if name.startswith(("csrc/cuda", "csrc/include")):
            done = subprocess.run(
                (sys.executable, "-c", _BUILD_EMULATOR),
                cwd=self.path,
                env=self.environment(),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise BuildError(done.stderr)


def _is_of_cpu(name: str) -> bool:
    return name.startswith(("csrc/cpu", "csrc/include"))
