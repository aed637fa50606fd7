from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from fastwgan.train.interrupt import StopOnSignal

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _second_signals_raise() -> Iterator[None]:
    """What a signal does by default would end pytest."""

    def refuse(number: int, frame: object) -> None:
        raise InterruptedError(number)

    before = {number: signal.signal(number, refuse) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted_and_the_second_acts(number: signal.Signals) -> None:
    with StopOnSignal() as stop:
        assert not stop()
        signal.raise_signal(number)
        assert stop()
        assert stop.received == number
        with pytest.raises(InterruptedError):
            signal.raise_signal(number)


def test_what_is_to_be_said_is_said_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    with StopOnSignal(lambda number: f"{number.name} has come") as stop:
        assert capfd.readouterr().err == ""
        signal.raise_signal(signal.SIGTERM)
        assert capfd.readouterr() == ("", "SIGTERM has come\n")
        assert stop()


def test_nobody_to_hear_it_is_no_error() -> None:
    kept = os.dup(2)
    os.close(2)
    try:
        with StopOnSignal(lambda number: "stopping") as stop:
            signal.raise_signal(signal.SIGINT)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert stop()


def test_signals_are_given_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopOnSignal():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopOnSignal() as stop:
        signal.raise_signal(signal.SIGHUP)
        assert not stop()


def test_nothing_is_written_to_a_terminal_that_is_gone() -> None:
    terminal, end = os.openpty()
    kept = os.dup(1)
    os.dup2(end, 1)
    try:
        with StopOnSignal():
            signal.raise_signal(signal.SIGHUP)
            os.close(terminal)
            os.close(end)
            assert os.write(1, b"step 3\n") == 7
            assert not os.isatty(1)
    finally:
        os.dup2(kept, 1)
        os.close(kept)
