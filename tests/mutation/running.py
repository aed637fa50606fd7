"""Runs the tests of mutations, and says what became of each."""

from __future__ import annotations

import atexit
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.mutation.mutation import Mutation
from tests.mutation.nursery import LONGEST
from tests.mutation.tree import BuildError, Tree
from tests.mutation.witness import FILE

KILLED, SURVIVED, INVALID = "killed", "survived", "invalid"

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
            verdict, said = tested(tree.path, tree.environment(), mutation.tests)
    except BuildError as error:
        verdict, said = INVALID, f"does not compile: {_first_error(str(error))}"
    return Outcome(verdict, said, time.monotonic() - begin)


def failing_anyway(tree: Tree, tests: Sequence[str]) -> set[str]:
    """Which of some tests fail without a mutation too, and prove nothing."""
    failing: set[str] = set()
    while left := [test for test in dict.fromkeys(tests) if test not in failing]:
        verdict, said = tested(tree.path, tree.environment(), shlex.join(left))
        if verdict == SURVIVED:
            break
        failing |= {said} if said in left else set(left)
    return failing


def tested(folder: Path, environment: dict[str, str], tests: str) -> tuple[str, str]:
    """The verdict of some tests of a folder, and what it rests on."""
    with tempfile.TemporaryDirectory() as scratch:
        witness, output = Path(scratch) / "witness.json", Path(scratch) / "output.txt"
        arguments = ["-x", "-q", "-p", "tests.mutation.witness", "-p", "no:cacheprovider"]
        request = {
            "folder": str(folder),
            "environment": {**environment, FILE: str(witness)},
            "arguments": [*arguments, *shlex.split(tests)],
            "output": str(output),
        }
        nursery = _nursery()
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        print(json.dumps(request), file=nursery.stdin, flush=True)
        status = json.loads(nursery.stdout.readline())
        if status is None:
            return INVALID, f"still ran after {LONGEST} s"
        return judged(status, output.read_text(errors="replace"), witness)


@cache
def _nursery() -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    nursery = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "nursery.py")],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(nursery.communicate)
    atexit.register(nursery.terminate)  # before that
    return nursery


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
