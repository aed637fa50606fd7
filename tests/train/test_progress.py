from __future__ import annotations

import re
import time

import pytest

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
    assert ends == ["penalty 0.500", "W1 0.750", "W1 0.750"]


def test_elsewhere_plain_lines_come_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter(range(0, 1000, 3))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(now)))
    with progress(0, 20) as shown:
        for step in range(1, 21):
            shown(_record(step))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "step 1 of 20, 20.0 steps/s, Wasserstein estimate 1.250"
    assert lines[-1] == "step 20 of 20, 20.0 steps/s, Wasserstein estimate 1.250"
    assert 3 < len(lines) < 10
    assert not any("\x1b" in line for line in lines)
