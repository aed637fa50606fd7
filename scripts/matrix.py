"""Tests one source in many environments, each from its wheel, and writes docs/versions.md.

python scripts/matrix.py [--torch-wheels FOLDER] [--python-bin FOLDER ...] [--work FOLDER]

--torch-wheels takes torch from this folder alone, where an index would send a build of gigabytes; a
torch that isn't in it is written down as not available. --python-bin is searched before PATH.
Everything is made in --work, and made anew only where it isn't there. Needs Python 3.11 or newer.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tomllib

ROOT = Path(__file__).parents[1]
# What runs where torch is there: kernels in every dtype and instruction set, the public calls, and
# of the trainer what goes through other packages.
PART = (
    "tests/ops/test_weight_clip.py",
    "tests/ops/test_bias_activation.py",
    "tests/test_clip_weights.py",
    "tests/test_critic_loss.py",
    "tests/test_optim.py",
    "tests/test_penalty.py",
    "tests/test_stubs.py",
)
TRAINER = (
    "tests/train/test_checkpoint.py",
    "tests/train/test_config_file.py",
    "tests/train/test_data.py",
    "tests/train/test_data_arrays.py",
    "tests/train/test_data_images.py",
    "tests/train/test_data_table_files.py",
    "tests/train/test_hostile_files.py",
    "tests/train/test_animation.py",
    "tests/train/test_audit_plot.py",
    "tests/train/test_progress.py",
    "tests/train/test_tensorboard.py",
    "tests/train/test_transport.py",
)
LEFT_OUT = "not (cuda-emulated or triton or compile or opcheck)"
ALONE = "tests/kernels_alone.py"
WITHOUT_NUMPY = "ignore:Failed to initialize NumPy:UserWarning"
JOBS = "FASTWGAN_BUILD_JOBS"
EXTRAS = "train,parquet,tensorboard"
# What the floors are tried with: numpy 1, and the last pyparsing that does not warn of the calls
# that matplotlib 3.7 makes.
BESIDE_FLOORS = ("numpy==1.26.4", "pyparsing==3.2.5")
NAMED = (
    *("torch", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "pyparsing", "pillow"),
    *("pyarrow", "mlxtend", "pot", "rich", "tomli-w", "tensorboard"),
)


@dataclass(frozen=True)
class Environment:
    """One row: what is installed, the rest as pip resolves it."""

    python: str
    torch: str | None
    what: str
    pins: Sequence[str] = ()
    extras: str = EXTRAS


@dataclass
class Row:
    """What became of an environment."""

    environment: Environment
    python: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    outcomes: list[str] = field(default_factory=list)
    missing: str = ""
    failed: bool = False


def floors() -> list[str]:
    """The lowest release of every package that pyproject.toml admits, and what they need."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        groups = tomllib.load(file)["project"]["optional-dependencies"]
    needed = [line for name in EXTRAS.split(",") for line in groups[name]]
    return [*(line.partition(";")[0].replace(">=", "==") for line in needed), *BESIDE_FLOORS]


def environments() -> list[Environment]:
    """All rows: the floor of torch with newest, oldest and no packages; then other Pythons."""
    pinned = [f"-c{ROOT / 'constraints.txt'}"]
    return [
        Environment("3.11", "2.13.0", "as in constraints.txt", pinned),
        Environment("3.11", "2.13.0", "the oldest that pyproject.toml admits", floors()),
        Environment("3.11", "2.13.0", "torch alone, no numpy", extras=""),
        Environment("3.11", "2.14.1", "the newest of all"),
        *(
            Environment(python, "2.13.0", "as in constraints.txt", pinned)
            for python in ("3.10", "3.12", "3.13", "3.14")
        ),
    ]


class Matrix:
    """Makes environments in a folder and runs the tests in them."""

    def __init__(self, work: Path, torch_wheels: Path | None, python_bins: Sequence[Path]) -> None:
        self._work = work
        self._torch_wheels = torch_wheels
        self._path = os.pathsep.join([*map(str, python_bins), os.environ.get("PATH", "")])

    def run(self, number: int, environment: Environment) -> Row:
        """One row."""
        row = Row(environment)
        interpreter = self._interpreter(environment.python)
        if interpreter is None:
            row.missing = f"no Python {environment.python} here"
            return row
        folder = self._work / f"{number}-python{environment.python}-torch{environment.torch}"
        if not (folder / "bin/python").exists():
            _checked([interpreter, "-m", "venv", folder])
        python = folder / "bin/python"
        row.python = _checked([python, "-c", "import platform; print(platform.python_version())"])
        wheel = self._wheel(environment.python, python)
        if self._has_torch(python, environment):
            self._install(python, wheel, environment)
            self._test(python, row)
        else:
            row.missing = f"no torch {environment.torch} for it here"
            _checked([python, "-m", "pip", "install", "-q", "--no-deps", wheel])
            self._test_alone(python, row)
        return row

    def _interpreter(self, version: str) -> str | None:
        """A Python that runs: a version manager's stand-in for one that isn't there does not."""
        for folder in self._path.split(os.pathsep):
            found = shutil.which(f"python{version}", path=folder)
            if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
                return found
        return None

    def _wheel(self, version: str, python: Path) -> Path:
        folder = self._work / f"wheel-{version}"
        if not list(folder.glob("*.whl")):
            _checked([python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT])
        (wheel,) = folder.glob("*.whl")
        return wheel

    def _has_torch(self, python: Path, environment: Environment) -> bool:
        wanted = ["install", "-q", "--no-deps", f"torch=={environment.torch}"]
        if self._torch_wheels is not None:
            wanted += ["--no-index", "--find-links", str(self._torch_wheels)]
        done = _run([python, "-m", "pip", *wanted])
        return done.returncode == 0

    def _install(self, python: Path, wheel: Path, environment: Environment) -> None:
        extras = f"[{environment.extras}]" if environment.extras else ""
        tools = ["pytest", "hypothesis", f"torch=={environment.torch}"]
        pip = [python, "-m", "pip", "install", "-q"]
        _checked([*pip, f"{wheel}{extras}", *tools, *environment.pins])
        if not environment.extras:
            _run([python, "-m", "pip", "uninstall", "-q", "-y", "numpy"])

    def _test(self, python: Path, row: Row) -> None:
        tests = [*PART, *(TRAINER if row.environment.extras else ())]
        row.versions = _versions(python)
        command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml"]
        command += ["--rootdir", ROOT, "-k", LEFT_OUT, *(ROOT / test for test in tests)]
        # torch itself warns when it is imported without numpy.
        but = [] if row.environment.extras else ["-W", WITHOUT_NUMPY]
        strict = _run([python, "-W", "error", *but, *command, *but])
        self._note(row, strict)
        if strict.returncode != 0:
            self._note(row, _run([python, *command, *but]), "passed without -W error")
        doctor = [python, "-W", "error", *but, "-m", "fastwgan", "doctor"]
        self._note(row, _run(doctor), "doctor passed")

    def _test_alone(self, python: Path, row: Row) -> None:
        code = "import compileall, sysconfig; from pathlib import Path\n"
        code += "folder = Path(sysconfig.get_path('platlib'), 'fastwgan')\n"
        code += "raise SystemExit(not compileall.compile_dir(folder, quiet=1, force=True))"
        compiled = _run([python, "-W", "error", "-c", code])
        self._note(row, compiled, "the package compiles")
        self._note(row, _run([python, "-W", "error", ROOT / ALONE]), "kernels alone passed")

    def _note(self, row: Row, done: subprocess.CompletedProcess[str], good: str = "") -> None:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        last = re.sub(r" in [\d.]+s.*", "", lines[-1]) if lines else ""
        if done.returncode == 0:
            row.outcomes.append(good or last)
        else:
            row.failed = True
            row.outcomes.append(f"**failed**: {last or done.stderr.strip().splitlines()[-1]}")
            print(done.stdout[-6000:], done.stderr[-6000:], sep="\n", file=sys.stderr)


def _run(command: Sequence[object]) -> subprocess.CompletedProcess[str]:
    """Outside of the checkout, whose sources would hide the wheel."""
    ours = ("FASTWGAN_", "PYTHON")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(ours) or k == JOBS}
    with tempfile.TemporaryDirectory() as elsewhere:
        return subprocess.run(
            [str(part) for part in command],
            cwd=elsewhere,
            env={**inherited, "FASTWGAN_CUDA": "0", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )


def _checked(command: Sequence[object]) -> str:
    done = _run(command)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def _versions(python: Path) -> dict[str, str]:
    """The installed packages of NAMED, from an environment that fastwgan is installed in."""
    code = "import importlib.metadata as m\n"
    code += "have = {d.name.lower().replace('_', '-'): d.version for d in m.distributions()}\n"
    code += f"for n in {NAMED!r}:\n"
    code += "    if n in have: print(n, have[n])\nimport fastwgan; print('in', fastwgan.__file__)"
    found = dict(line.split() for line in _checked([python, "-c", code]).splitlines())
    place = Path(found.pop("in"))
    if not place.is_relative_to(python.parents[1]):
        raise SystemExit(f"the tests would run {place}, which is not the wheel's")
    return found


def page(rows: Sequence[Row]) -> str:
    """docs/versions.md."""
    lines = [
        "# Versions",
        "",
        "Written by `make matrix`: each row is an environment of its own with the wheel of this",
        "source in it, under `python -W error`. With torch the tests below ran, then `fastwgan",
        "doctor`. Where there is no torch for a Python, the wheel was built, installed and",
        "byte-compiled, and its kernels ran on plain memory.",
        "",
        "| Python | torch | packages | outcome |",
        "|---|---|---|---|",
        *map(_line, rows),
        "",
        f"The floors of torch and of the extras {EXTRAS.replace(',', ', ')} in pyproject.toml are",
        "the oldest versions in this table that passed.",
        "",
        "With torch: " + ", ".join(f"`{name}`" for name in PART) + ".",
        "With the extra `train` also: " + ", ".join(f"`{name}`" for name in TRAINER) + ".",
        f"Without torch: `{ALONE}`.",
        "",
        f"Of them, {LEFT_OUT.replace(' or ', ', ')} by pytest's `-k`: the emulator, Triton and",
        "compilers do not depend on what differs here.",
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    versions = dict(row.versions)
    torch = versions.pop("torch", row.environment.torch)
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    what = f"{row.environment.what}: {packages}" if packages else row.environment.what
    outcome = "; ".join(filter(None, [row.missing and f"not run: {row.missing}", *row.outcomes]))
    return f"| {row.python or row.environment.python} | {torch} | {what} | {outcome} |"


def main() -> int:
    """Runs every row; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--torch-wheels", type=Path)
    parser.add_argument("--python-bin", type=Path, action="append", default=[])
    parser.add_argument("--work", type=Path, default=ROOT / "build/matrix")
    chosen = parser.parse_args()
    work = chosen.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    matrix = Matrix(work, chosen.torch_wheels, chosen.python_bin)
    rows = []
    for number, environment in enumerate(environments()):
        rows.append(matrix.run(number, environment))
        print(_line(rows[-1]), flush=True)
    (ROOT / "docs/versions.md").write_text(page(rows), encoding="utf-8")
    return int(any(row.failed for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
