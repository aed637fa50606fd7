"""A benchmark whose results differ fails, prints no speedup and stays out of the JSON."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.agreement import ResultsDifferError, check_agreement, check_rounds
from benchmarks.race import Contestant, Race
from tests.benchmarks.fakes import Answer
from tests.processes import PACKAGES

ROOT = Path(__file__).parents[2]
RIGHT = torch.linspace(1.0, 2.0, 8)

WRONG = {
    "off": RIGHT + 1e-2,
    "nan": torch.full((8,), math.nan),
    "shape": RIGHT.reshape(2, 4),
    "zero": torch.zeros(8),
}


class Erring(Contestant):
    """Wrong in some rounds."""

    name = "erring"

    def __init__(self, rounds: tuple[int, ...]) -> None:
        self.rounds = rounds

    def prepare(self, step: int) -> None:
        self.step = step

    def run(self) -> None: ...

    def results(self) -> list[Tensor]:
        return [-RIGHT if self.step in self.rounds else RIGHT]


def test_equal_to_rounding_passes() -> None:
    check_agreement(Answer(RIGHT * (1 + 1e-6)), [Answer(RIGHT), Answer(RIGHT)], bound=1e-5)


@pytest.mark.parametrize("wrong", WRONG.values(), ids=list(WRONG))
def test_wrong_results_are_refused(wrong: Tensor) -> None:
    with pytest.raises(ResultsDifferError, match="ours against peer: result 1"):
        check_agreement(
            Answer(RIGHT, wrong, name="ours"), [Answer(RIGHT, RIGHT, name="peer")], bound=1e-5
        )


def test_missing_result_is_refused() -> None:
    with pytest.raises(ResultsDifferError, match="1 results where 2"):
        check_agreement(Answer(RIGHT), [Answer(RIGHT, RIGHT)], bound=1e-5)
    with pytest.raises(ResultsDifferError):
        check_agreement(Answer(), [Answer()], bound=1e-5)


def test_results_that_are_all_zero_prove_nothing() -> None:
    zeros = torch.zeros(3)
    with pytest.raises(ResultsDifferError, match="all results are zero"):
        check_agreement(Answer(zeros), [Answer(zeros)], bound=1e-5)


def test_every_peer_is_compared() -> None:
    with pytest.raises(ResultsDifferError, match="second"):
        check_agreement(Answer(RIGHT), [Answer(RIGHT), Answer(-RIGHT, name="second")], bound=1e-5)


@pytest.mark.parametrize("wrong_rounds", [(), (0,), (1,)])
def test_one_round_of_three_may_differ(wrong_rounds: tuple[int, ...]) -> None:
    race = _race_wrong_in(wrong_rounds)
    check_rounds(race, bound=1e-5)
    assert [len(seconds) for seconds in race.peer_seconds.values()] == [0]


@pytest.mark.parametrize("wrong_rounds", [(0, 1), (0, 2), (1, 2)])
def test_two_rounds_of_three_may_not(wrong_rounds: tuple[int, ...]) -> None:
    with pytest.raises(ResultsDifferError):
        check_rounds(_race_wrong_in(wrong_rounds), bound=1e-5)


def _race_wrong_in(rounds: tuple[int, ...]) -> Race:
    race = Race(Erring(rounds), [Answer(RIGHT)])
    race.warm_up(1)
    return race


CASES = """
import pytest
import torch

from benchmarks.race import Contestant
from benchmarks.roofline import Work


class Doubling(Contestant):
    name = "doubling"
    required = 1e9

    def __init__(self, fault):
        self.fault = fault

    def prepare(self, step):
        self.input = torch.full((4,), 1.0 + step)

    def run(self):
        if self.fault == "stale" and hasattr(self, "output") and self.input[0] > 12.0:
            return  # as a cache that outlives an optimizer step would
        self.output = 2.0 * self.input + (1.0 if self.fault == "wrong" else 0.0)

    def results(self):
        return [self.output]


@pytest.mark.parametrize("fault", ["none", "wrong", "stale"])
def bench_doubling(fault, run_case):
    ours, peers = Doubling(fault), [Doubling("none")]
    run_case(f"case {fault}", ours=ours, peers=peers, work=Work(bytes=32.0), bound=1e-6)
"""


def test_wrong_and_stale_cases_fail_and_show_no_speedup(tmp_path: Path) -> None:
    cases, run = tmp_path / "bench_cases.py", tmp_path / "run.json"
    cases.write_text(CASES)
    command = [sys.executable, "-m", "pytest", "-p", "benchmarks.conftest", str(cases)]
    command += ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path)]
    command += ["--benchmark-only", "--race-seconds=0.01", "--race-threads=1"]
    command += [f"--benchmark-json={run}", "-p", "no:cacheprovider"]
    # A worker of pytest-xdist says so in the environment, and no benchmark runs in one.
    outside = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    environment = {**outside, "PYTHONPATH": os.pathsep.join((PACKAGES, str(ROOT)))}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| case ")]
    assert len(rows) == 2, done.stdout  # the header, and the one right case
    assert rows[1].startswith("| case none")
    assert "**short**" in rows[1]
    assert "2 failed, 1 passed" in done.stdout
    entries = json.loads(run.read_text())["benchmarks"]
    assert [entry["extra_info"]["result"]["case"] for entry in entries] == ["case none"]
