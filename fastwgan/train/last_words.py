"""What the processes of a run say of its end, so that one of them, and only one, tells the user."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
import time
from collections.abc import Iterator

from torch.distributed import DistError
from torch.distributed.distributed_c10d import Store

_SECONDS_TO_ANSWER = 2.0  # in which whoever is left has noticed that another is lost
_SECONDS_BETWEEN_LOOKS = 0.05
_SECONDS_TO_SPEAK = 1.0  # in which the first has printed its sentence


class LastWords:
    """Notes that one process leaves for the others in a store that outlives them all.

    torchrun keeps such a store. Where it is lost too, every process speaks for itself.

    Args:
        store: The same notes for every process of the run, and for no other's.
        rank: Which process this is.
        size: How many there are.
    """

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self._store = store
        self._rank = rank
        self._size = size

    def is_first(self) -> bool:
        """Whether this process is the one to say why the run ends; to be asked once.

        Any other gets its answer late enough for the first to have spoken: torchrun ends what is
        left of a run soon after its first process is gone.
        """
        try:
            first = self._store.add("spoken", 1) == 1
        except DistError:
            return True
        if not first:
            time.sleep(_SECONDS_TO_SPEAK)
        return first

    def about_lost(self, error: RuntimeError) -> str:
        """Who has ended, or hangs, and how that was noticed.

        Args:
            error: What the process group said, which isn't who.
        """
        with _undisturbed():
            lost = self._silent()
        names = " and ".join(f"process {rank}" for rank in lost) or "another process"
        return f"lost {names} of {self._size} (counted from 0): {_reason(error)}"

    def _silent(self) -> list[int]:
        """The ranks that haven't noticed a loss themselves within a while."""
        others = [rank for rank in range(self._size) if rank != self._rank]
        until = time.monotonic() + _SECONDS_TO_ANSWER
        try:
            self._store.set(_present(self._rank), "")
            while others and time.monotonic() < until:
                others = [rank for rank in others if not self._store.check([_present(rank)])]
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        except DistError:
            return []
        return others


def _reason(error: RuntimeError) -> str:
    """The first sentence, without the place in torch's source before it."""
    text = re.sub(r"^\[\S*\] *", "", str(error).strip())
    return re.split(r"\.?\s*\n|\.\s", text)[0]


def _present(rank: int) -> str:
    return f"present/{rank}"


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Without an end by the SIGTERM that torchrun sends to all who are left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
