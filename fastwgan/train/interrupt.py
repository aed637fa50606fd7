"""Ctrl-C, SIGTERM and a terminal that closes ask a run to end after its step."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows lacks the last
_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))


class StopOnSignal:
    """While entered, the first SIGINT, SIGTERM or SIGHUP is only noted; a second acts as usual.

    A signal that the process was started to ignore, as nohup does with SIGHUP, stays ignored.
    For the main thread of a process, the one that Python lets handle signals. An instance is a
    `stop` for `fastwgan.train.fit`.

    Args:
        say: What to write to standard error when the first comes, a line without its end. It is
            called between any two instructions of the main thread, so it may look at things only.

    Attributes:
        received: The signal noted; None until then.
    """

    def __init__(self, say: Callable[[signal.Signals], str] | None = None) -> None:
        self._say = say
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._terminals: list[int] = []

    def __call__(self) -> bool:
        """Whether a signal has come."""
        return self.received is not None

    def __enter__(self) -> StopOnSignal:
        """Takes the signals over."""
        heeded = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._note) for number in heeded}
        self._terminals = [output for output in (1, 2) if os.isatty(output)]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Gives the signals back."""
        self._give_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._give_back()
        if self.received.name == "SIGHUP":
            self._leave_terminals()
        if self._say is not None:
            self._write(self._say(self.received))

    def _write(self, line: str) -> None:
        """Past Python's files, and rich's bar: what was interrupted may be writing to them."""
        begin = "\n" if os.isatty(2) else ""  # behind the bar, which is then drawn below
        with contextlib.suppress(OSError):
            os.write(2, f"{begin}{line}\n".encode())

    def _leave_terminals(self) -> None:
        """Sends to nowhere what would be written to a terminal that is gone, and fail."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for output in self._terminals:
            os.dup2(nowhere, output)
        os.close(nowhere)

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
