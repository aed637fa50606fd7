from __future__ import annotations

import re
import time

import pytest

from fastwgan import progress as module
from fastwgan.progress import progress
from fastwgan.train.metrics import Record

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def _record(step: int, **more: float) -> Record:
    return {"step": step, "steps_per_second": 20.0, "wasserstein": 1.25, **more}


def test_a_terminal_shows_a_live_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes any output for a terminal
    monkeypatch.setenv("COLUMNS", "80")
    with progress(1000, 4000) as shown:
        shown(_record(2000, penalty=0.125))
    last = _ESCAPES.sub("", capsys.readouterr().out).splitlines()[-1]
    for part in ("2,000/4,000", "20.0 steps/s", "Wasserstein 1.250", "penalty 0.125", "1 min 40 s"):
        assert part in last
    assert "━" in last
    assert len(last) <= 80


def test_the_last_distance_measured_stays_in_sight(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter(range(0, 1000, 20))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(now)))
    with progress(0, 4) as shown:
        shown(_record(1, penalty=0.5))
        shown(_record(2, penalty=0.5, w1=0.75, w1_floor=0.5))
        shown(_record(3, penalty=0.5))
    ends = [line.rpartition(", ")[2] for line in capsys.readouterr().out.splitlines()]
    measured = "W1 0.750 (real samples: 0.500)"
    assert ends == ["penalty 0.500", measured, measured]


def test_a_narrow_terminal_has_room_for_the_floor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    with progress(1000, 4000) as shown:
        shown(_record(2000, w1=2.851, w1_floor=2.79))
    last = _ESCAPES.sub("", capsys.readouterr().out).splitlines()[-1]
    for part in ("20.0 steps/s", "Wasserstein 1.250", "W1 2.851 (real 2.790)", "1 min 40 s left"):
        assert part in last


@pytest.mark.parametrize(
    ("speed", "said"),
    [
        (20.0, "20.0 steps/s, about 50 s left"),
        (1.0, "1.0 steps/s, about 16 min left"),
        (0.5, "2.0 s a step, about 33 min left"),
        (1 / 34, "34 s a step, about 9 h 26 min left"),
        (4.0, "4.0 steps/s, about 4 min 10 s left"),
    ],
)
def test_plain_lines_say_how_long_it_will_take(
    speed: float, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress(0, 1000) as shown:
        shown(_record(0, steps_per_second=speed))
    assert f"step 0 of 1000, {said}, Wasserstein" in capsys.readouterr().out


@pytest.mark.parametrize("interval", [2.0, 7.0])
@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(
    ("threads", "waits", "said"),
    [
        (1, 0.9, ""),
        (2, 0.2, ""),
        (2, 0.5, "waits 50% of its time for a free processor: --threads 1 may be faster"),
        (8, 0.5, "waits 50% of its time for a free processor: fewer --threads may be faster"),
    ],
)
def test_a_busy_machine_is_named_once(
    threads: int,
    waits: float,
    said: str,
    terminal: bool,
    interval: float,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seconds = [0.0]

    def now() -> float:
        seconds[0] += interval
        return seconds[0]

    monkeypatch.setattr(time, "monotonic", now)
    monkeypatch.setattr(module, "_waited", lambda: waits * seconds[0])
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "80")
    with progress(0, 50, threads) as shown:
        for step in range(10, 50, 2):
            shown(_record(step))
    output = _ESCAPES.sub("", capsys.readouterr().out)
    assert output.count("may be faster") == bool(said)
    assert f"this run {said}\n" in output or not said


def test_what_a_thread_waits_is_counted_where_the_system_counts_it() -> None:
    assert 0 <= module._waited() <= module._waited()


def test_elsewhere_plain_lines_come_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter(range(0, 1000, 3))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(now)))
    with progress(0, 20) as shown:
        for step in range(1, 21):
            shown(_record(step))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "step 1 of 20, 20.0 steps/s, about 1 s left, Wasserstein estimate 1.250"
    assert lines[-1] == "step 20 of 20, 20.0 steps/s, Wasserstein estimate 1.250"
    assert 3 < len(lines) < 10
    assert not any("\x1b" in line for line in lines)
