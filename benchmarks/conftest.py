"""Runs the cases of benchmarks/ops through pytest-benchmark, and prints one table of them all."""

from __future__ import annotations

import os

# Inductor's pool of compiling processes would disturb the first half minute of every run.
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.agreement import ResultsDifferError, check_rounds
from benchmarks.machine import BUSY_SHARE, OthersWatch, describe_machine, others_share_now
from benchmarks.memory import peak_bytes
from benchmarks.race import Contestant, Race, RunCase, rounds_for, speedup
from benchmarks.readme_table import machine_line
from benchmarks.report import CaseResult, PeerResult, footnotes, table
from benchmarks.roofline import Roofline, Work, measure_roofline_apart

# Enough for power iterations to converge to rounding on weights whose second singular value is a
# third of the first: the error shrinks ninefold a round.
WARM_UP_ROUNDS = 10

EXPECTED_WARNINGS = (
    # Inductor still imports what torch deprecates.
    r"ignore:`torch\.jit\.:DeprecationWarning",
    # A case whose results differ fails before it is timed.
    "ignore:Benchmark fixture was not used:pytest_benchmark.logger.PytestBenchmarkWarning",
)

_RESULTS = pytest.StashKey[list[CaseResult]]()
_ROOFLINE = pytest.StashKey[Roofline]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fastwgan benchmarks")
    group.addoption("--race-threads", type=int, default=2, help="threads, default: %(default)s")
    group.addoption(
        "--race-seconds", type=float, default=6.0, help="seconds a case, default: %(default)s"
    )


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(min(config.getoption("race_threads"), os.cpu_count() or 1))
    config.stash[_RESULTS] = []
    for expected in EXPECTED_WARNINGS:
        config.addinivalue_line("filterwarnings", expected)
    # pytest-benchmark's own table knows no peers; ours below takes its place.
    config.option.benchmark_quiet = True


@pytest.fixture(scope="session")
def roofline(pytestconfig: pytest.Config) -> Roofline:
    pytestconfig.stash[_ROOFLINE] = measure_roofline_apart(torch.get_num_threads())
    return pytestconfig.stash[_ROOFLINE]


@pytest.fixture
def run_case(
    benchmark: BenchmarkFixture, roofline: Roofline, pytestconfig: pytest.Config
) -> RunCase:
    """Checks that all contestants agree, races them, checks again, and keeps the result."""
    seconds = pytestconfig.getoption("race_seconds")

    def run(
        case: str, *, ours: Contestant, peers: Sequence[Contestant], work: Work, bound: float
    ) -> None:
        torch._dynamo.reset()  # else the cases' graphs count against one limit of recompilations
        race = Race(ours, peers)
        others_before = others_share_now()
        race.warm_up(WARM_UP_ROUNDS)
        check_rounds(race, bound)
        if benchmark.disabled:
            benchmark.pedantic(ours.run, setup=race.before_ours)
            return
        rounds = rounds_for(seconds, race.seconds_of_a_round())
        watch = OthersWatch()
        benchmark.pedantic(ours.run, setup=race.before_ours, rounds=rounds)
        others_during = watch.share()
        _check_after(benchmark, race, bound)
        others_share = _largest(others_before, others_during)
        result = _result(case, race, _our_seconds(benchmark), roofline, work, others_share)
        benchmark.extra_info["result"] = result.as_json()
        pytestconfig.stash[_RESULTS].append(result)

    return run


def _our_seconds(benchmark: BenchmarkFixture) -> list[float]:
    if benchmark.stats is None:
        raise RuntimeError("pytest-benchmark kept no times of ours")
    seconds: list[float] = benchmark.stats.stats.data
    return seconds


def _check_after(benchmark: BenchmarkFixture, race: Race, bound: float) -> None:
    """Once more after the race: a cache that outlives an optimizer step shows by now."""
    try:
        check_rounds(race, bound)
    except ResultsDifferError:
        benchmark.has_error = True  # keeps the times out of the JSON
        raise


def _largest(*shares: float | None) -> float | None:
    return max((share for share in shares if share is not None), default=None)


def _result(
    case: str,
    race: Race,
    our_seconds: list[float],
    roofline: Roofline,
    work: Work,
    others_share: float | None,
) -> CaseResult:
    median = statistics.median(our_seconds)
    return CaseResult(
        case=case,
        rounds=len(our_seconds),
        seconds=median,
        of_copy=roofline.of_copy(work, median),
        of_sgemm=roofline.of_sgemm(work, median),
        peak_bytes=_peak_of_a_step(race.ours),
        others_share=others_share,
        peers=tuple(_peer_result(peer, race, our_seconds) for peer in race.peers),
    )


def _peer_result(peer: Contestant, race: Race, our_seconds: list[float]) -> PeerResult:
    seconds = race.peer_seconds[peer.name]
    return PeerResult(
        name=peer.name,
        seconds=statistics.median(seconds),
        speedup=speedup(seconds, our_seconds),
        required=peer.required,
        peak_bytes=_peak_of_a_step(peer),
    )


def _peak_of_a_step(contestant: Contestant) -> int:
    contestant.prepare(0)
    return peak_bytes(contestant.run)


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    if _ROOFLINE in config.stash:
        machine_info["fastwgan"] = {
            "machine": asdict(describe_machine()),
            "roofline": asdict(config.stash[_ROOFLINE]),
        }


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    results = config.stash[_RESULTS]
    if not results:
        return
    terminalreporter.section("fastwgan against what a user would do instead")
    terminalreporter.write_line(machine_line(describe_machine(), config.stash[_ROOFLINE]))
    terminalreporter.write_line("")
    for line in table(results).splitlines():
        terminalreporter.write_line(line, red="**short**" in line)
    terminalreporter.write_line("")
    for note in footnotes(results):
        terminalreporter.write_line(note, yellow=True)
    quiet = sum(not result.busy for result in results)
    terminalreporter.write_line(
        f"{quiet} of {len(results)} cases ran on a quiet machine (other processes took less than "
        f"{BUSY_SHARE:.0%} of it)"
    )
