"""The race is fair, times only the work, and its ratios are those of the same round."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import fastwgan._cpu as _cpu
from benchmarks import machine
from benchmarks.machine import OthersWatch
from benchmarks.memory import peak_bytes
from benchmarks.race import Race, rounds_for, speedup
from benchmarks.roofline import Roofline, Work
from tests.benchmarks.fakes import Fake, FakeClock

Log = list[tuple[str, str, int]]


def race_of(clock: FakeClock, log: Log | None = None) -> Race:
    ours = Fake("ours", clock, [1.0], log)
    peers = [Fake("slow", clock, [4.0, 6.0], log), Fake("quick", clock, [2.0], log)]
    return Race(ours, peers, clock=clock)


def test_peers_are_timed_without_their_preparation() -> None:
    race = race_of(FakeClock())
    for _ in range(4):
        race.before_ours()
    assert race.peer_seconds == {"slow": [4.0, 6.0, 4.0, 6.0], "quick": [2.0] * 4}


def test_rounds_interleave_single_calls_on_the_same_step() -> None:
    log: Log = []
    race = race_of(FakeClock(), log)
    for _ in range(3):
        race.before_ours()
        race.ours.run()
    runs = [(name, step) for what, name, step in log if what == "run"]
    # The peers' order rotates; every step number is new.
    assert runs == [
        *[("slow", 0), ("quick", 0), ("ours", 0)],
        *[("quick", 1), ("slow", 1), ("ours", 1)],
        *[("slow", 2), ("quick", 2), ("ours", 2)],
    ]
    prepared = [log[i - 1] for i, entry in enumerate(log) if entry[0] == "run"]
    assert prepared == [("prepare", name, step) for name, step in runs]


def test_warm_up_leaves_no_times_but_goes_on_counting() -> None:
    log: Log = []
    race = race_of(FakeClock(), log)
    race.warm_up(3)
    assert race.peer_seconds == {"slow": [], "quick": []}
    race.before_ours()
    assert log[-1] == ("prepare", "ours", 3)


def test_seconds_of_a_round_counts_everything() -> None:
    assert race_of(FakeClock()).seconds_of_a_round() == pytest.approx(3 * 3600 + 4 + 2 + 1)


def test_rounds_fit_the_time_within_limits() -> None:
    assert rounds_for(6.0, 0.01) == 600
    assert rounds_for(6.0, 10.0) == 15
    assert rounds_for(6.0, 1e-9) == 2000


def test_speedup_is_taken_round_by_round() -> None:
    """A slow phase of the machine strikes both sides of a ratio and cancels."""
    ours = [1.0, 1.0, 1.0, 10.0, 10.0]
    result = speedup([3.0 * seconds for seconds in ours], ours)
    assert (result.median, result.p20, result.p80) == (3.0, 3.0, 3.0)


def test_speedup_percentiles() -> None:
    result = speedup([5.0, 1.0, 4.0, 2.0, 3.0, 6.0], [1.0] * 6)
    assert (result.median, result.p20, result.p80) == (3.5, 2.0, 5.0)


def test_speedup_is_theirs_over_ours() -> None:
    assert speedup([1.0, 1.0], [4.0, 4.0]).median == 0.25


def test_speedup_refuses_times_of_different_rounds() -> None:
    with pytest.raises(ValueError, match="round by round"):
        speedup([1.0, 2.0], [1.0])


def test_shares_of_the_roofline() -> None:
    roofline = Roofline(copy=100.0, sgemm=1000.0)
    work = Work(bytes=50.0, flops=100.0)
    assert roofline.of_copy(work, seconds=2.0) == 0.25
    assert roofline.of_sgemm(work, seconds=2.0) == 0.05


def test_peak_memory_counts_what_is_alive_at_once() -> None:
    def work() -> torch.Tensor:
        first = torch.zeros(1000)
        second = first + 1
        del first
        return torch.cat([second, second])

    assert peak_bytes(work) == 4000 + 8000
    assert peak_bytes(lambda: None) == 0


def test_peak_memory_counts_the_pool_of_the_kernels() -> None:
    model = torch.zeros(1 << 16)
    kept: list[torch.Tensor] = []

    def work() -> None:
        kept[:] = _cpu.pooled_like([model])

    for _ in range(2):  # the second time while the first block is alive and others wait
        assert peak_bytes(work) == 4 << 16


def test_others_share_leaves_our_own_work_out(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = iter([machine._Sample(0.0, 0.0, 0.0), machine._Sample(10.0, 12.0, 15.0)])
    monkeypatch.setattr(machine, "_sample", lambda: next(samples))
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert OthersWatch().share() == pytest.approx(3.0 / 20.0)


def test_others_share_is_unknown_where_the_system_does_not_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "PROC_STAT", Path("/nowhere/stat"))
    assert OthersWatch().share() is None
