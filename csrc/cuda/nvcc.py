"""Finds nvcc and compiles the kernels with it; setup.py's own helper, with no dependency."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

OLDEST = (12, 0)
FLAGS = ("-std=c++17", "-O3", "-lineinfo", "-Xcompiler=-fPIC,-fvisibility=hidden", "-Icsrc/include")


class NoCudaError(Exception):
    """Why the kernels cannot be built here, in one clause."""


def wanted() -> str:
    """FASTWGAN_CUDA: "auto", "0" or "1"."""
    value = os.environ.get("FASTWGAN_CUDA") or "auto"
    if value not in ("auto", "0", "1"):
        raise SystemExit(f"FASTWGAN_CUDA was {value!r}; it must be auto, 0 or 1.")
    return value


class Nvcc:
    """The compiler, its version, and what it is asked to compile for.

    Raises:
        NoCudaError: there is none, or it is too old.
    """

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise NoCudaError("CUDA kernels are built on Linux alone")
        home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
        found = shutil.which("nvcc", path=str(Path(home) / "bin")) if home else None
        found = found or shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
        if found is None:
            raise NoCudaError("nvcc was not found in CUDA_HOME, PATH or /usr/local/cuda")
        self.path = found
        release = re.search(r"release (\d+)\.(\d+)", self._said("--version"))
        if release is None or (version := tuple(map(int, release.groups()))) < OLDEST:
            what = release.group(1) if release else "of an unknown version"
            raise NoCudaError(f"nvcc is {what}; it must be {OLDEST[0]} or newer")
        self.version = version

    def architectures(self) -> list[str]:
        """FASTWGAN_CUDA_ARCH, as in "80 90+PTX"; or the first of every major, PTX of the last.

        Code for the first of a major runs on all of that major, PTX on whatever comes after.
        """
        named = os.environ.get("FASTWGAN_CUDA_ARCH")
        if named:
            return re.split(r"[\s,;]+", named.replace(".", "").strip())
        firsts: dict[int, int] = {}
        for number in map(int, re.findall(r"compute_(\d+)\b", self._said("--list-gpu-arch"))):
            firsts[number // 10] = min(number, firsts.get(number // 10, number))
        names = [str(number) for number in sorted(firsts.values())]
        return [*names[:-1], f"{names[-1]}+PTX"]

    def flags(self) -> list[str]:
        """What the kernels are compiled with."""
        flags = list(FLAGS)
        for name in self.architectures():
            number = name.upper().removesuffix("+PTX")
            if not re.fullmatch(r"\d{2,3}[A-Z]?", number):
                raise SystemExit(
                    f"FASTWGAN_CUDA_ARCH has {name!r}; each entry must be as 90, 9.0 or 90+PTX."
                )
            number = number.lower()
            flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
            if name.upper().endswith("+PTX"):
                flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
        return flags

    def compile(self, sources: Sequence[str], folder: Path) -> list[str]:
        """Objects of the sources, as many at a time as there are cores.

        Raises:
            NoCudaError: the compiler failed; its own words have been printed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        targets = [str(folder / f"{Path(source).stem}.o") for source in sources]
        flags = self.flags()
        log, described = (
            folder / "command.txt",
            " ".join([self.path, *map(str, self.version), *flags]),
        )
        known = log.exists() and log.read_text() == described
        headers = [*Path("csrc/cuda").glob("*.cuh"), *Path("csrc/include").rglob("*.h")]
        newest = max(path.stat().st_mtime for path in headers)
        stale = [
            (source, target)
            for source, target in zip(sources, targets, strict=True)
            if not known or not _is_newer(target, max(newest, Path(source).stat().st_mtime))
        ]
        log.unlink(missing_ok=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lambda pair: self._compile_one(flags, *pair), stale))
        log.write_text(described)
        return targets

    def _compile_one(self, flags: Sequence[str], source: str, target: str) -> None:
        command = [self.path, *flags, "-c", source, "-o", target]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(done.stdout + done.stderr, file=sys.stderr)
            words = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
            raise NoCudaError(f"nvcc failed on {source}: {words[-1]}")

    def library_folders(self) -> list[str]:
        """Where its static runtime lies. nvcc may be a script elsewhere: it says itself."""
        said = self._said("--dryrun", "-x", "cu", os.devnull)
        top = re.search(r"^#\$ TOP=(.+)$", said, re.MULTILINE)
        root = Path(top.group(1).strip()) if top else Path(self.path).resolve().parents[1]
        folders = [root / "lib64", root / "lib", *sorted(root.glob("targets/*/lib"))]
        found = [str(folder) for folder in folders if (folder / "libcudart_static.a").exists()]
        if not found:
            raise NoCudaError("libcudart_static.a was not found beside nvcc")
        return found

    def _said(self, *arguments: str) -> str:
        done = subprocess.run([self.path, *arguments], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr


def _is_newer(path: str, than: float) -> bool:
    return Path(path).exists() and Path(path).stat().st_mtime > than
