"""Runs the tests of mutations, and says what became of each."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.mutation.mutation import Mutation
from tests.mutation.tree import FOLDER, BuildError, Tree
from tests.mutation.witness import FILE

KILLED, SURVIVED, INVALID = "killed", "survived", "invalid"

LONGEST = 600.0  # seconds

# What a test says with: `assert`, pytest.fail and pytest.raises, torch's gradcheck.
_VERDICTS = {"AssertionError", "Failed", "GradcheckError"}


class Outcome(NamedTuple):
    """What became of a mutation.

    Attributes:
        verdict: `KILLED` by an assertion, `SURVIVED`, or `INVALID`: it doesn't compile or import,
            or what it breaks ends the tests by another error than theirs.
        said: The first test that failed, or why the mutation is invalid.
        seconds: Of building and testing.
    """

    verdict: str
    said: str
    seconds: float


def run(tree: Tree, mutation: Mutation) -> Outcome:
    """Builds and tests a mutated tree."""
    begin = time.monotonic()
    try:
        with tree.mutated(mutation):
            verdict, said = _tested(tree, mutation.tests)
    except BuildError as error:
        verdict, said = INVALID, f"does not compile: {_first_error(str(error))}"
    return Outcome(verdict, said, time.monotonic() - begin)


def unmutated(tree: Tree, mutations: Sequence[Mutation]) -> str | None:
    """Why the mutations' tests fail without them; None where they pass."""
    selected: dict[tuple[str, ...], dict[str, None]] = {}  # by pytest's other arguments
    for mutation in mutations:
        parts = shlex.split(mutation.tests)
        tests = [part for part in parts if part.startswith("tests/")]
        others = tuple(part for part in parts if part not in tests)
        selected.setdefault(others, {}).update(dict.fromkeys(tests))
    for others, each in selected.items():
        verdict, said = _tested(tree, shlex.join([*others, *each]))
        if verdict != SURVIVED:
            return said
    return None


def _tested(tree: Tree, tests: str) -> tuple[str, str]:
    witness = FOLDER / "witness.json"
    witness.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "tests.mutation.witness"]
    try:
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", *shlex.split(tests)],
            cwd=tree.path,
            env={**tree.environment(), FILE: str(witness)},
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST,
        )
    except subprocess.TimeoutExpired:
        return INVALID, f"still ran after {LONGEST:.0f} s"
    return judged(done.returncode, done.stdout + done.stderr, witness)


def judged(status: int, output: str, witness: Path) -> tuple[str, str]:
    """What a run of pytest says of the mutation that it ran over.

    Args:
        status: pytest's.
        output: What it printed.
        witness: What `witness.py` wrote, if a test failed.
    """
    if status == 0:
        return SURVIVED, ""
    if status != 1 or not witness.exists():
        return INVALID, f"pytest ended with status {status}: {_first_error(output)}"
    failed = json.loads(witness.read_text())
    if failed["when"] == "call" and _VERDICTS.intersection(failed["error"]):
        return KILLED, str(failed["test"])
    return INVALID, f"{failed['error'][0]} in the {failed['when']} of {failed['test']}"


def _first_error(output: str) -> str:
    lines = [line for line in output.splitlines() if "rror" in line] or output.splitlines()
    return lines[0].strip() if lines else "nothing was printed"
