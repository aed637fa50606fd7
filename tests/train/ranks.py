"""Processes of one run, started as torchrun starts them, but without a process of torchrun's.

They are forked from one process that has imported everything, which takes seconds, once.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from torch.distributed import TCPStore

SECONDS = 200.0  # after which a process counts as hung

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.train.processes_recipe"])


@dataclass(frozen=True)
class Ended:
    """What a process left."""

    status: int | None
    output: str
    errors: str


class Ranks:
    """`target(*arguments)` in every process; whatever is left is killed at the end of the `with`.

    The store that they meet in is this process's, as it is torchrun's: it outlives each of them.

    Args:
        folder: Where they write what they say.
        target: A function of a module, whose result is the process's exit status.
        arguments: Its arguments.
        size: How many processes.
    """

    def __init__(
        self, folder: Path, target: Callable[..., int | None], *arguments: Any, size: int = 2
    ) -> None:
        self._store = TCPStore(
            "127.0.0.1",
            0,
            is_master=True,
            wait_for_workers=False,
            timeout=timedelta(seconds=SECONDS),
        )
        self._until = time.monotonic() + SECONDS
        self._said = [
            (folder / f"output-{rank}", folder / f"errors-{rank}") for rank in range(size)
        ]
        self.processes = [
            _CONTEXT.Process(
                target=_run,
                args=(_variables(rank, size, self._store.port), said, target, arguments),
                daemon=True,
            )
            for rank, said in enumerate(self._said)
        ]
        for process in self.processes:
            process.start()

    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Returns as soon as `reached`; fails where a process ends or time runs out before."""
        while not reached():
            for process, (_, errors) in zip(self.processes, self._said, strict=True):
                assert process.is_alive(), errors.read_text()
            assert time.monotonic() < self._until
            time.sleep(0.005)

    def signal(self, rank: int, number: int) -> None:
        """Sends a process a signal."""
        pid = self.processes[rank].pid
        assert pid is not None
        os.kill(pid, number)

    def end(self) -> list[Ended]:
        """What every process left, once all have ended; None for the status of one that hangs."""
        ended = []
        for process, (output, errors) in zip(self.processes, self._said, strict=True):
            process.join(timeout=max(self._until - time.monotonic(), 0.1))
            ended.append(Ended(process.exitcode, output.read_text(), errors.read_text()))
        return ended

    def __enter__(self) -> Ranks:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self.processes:
            process.kill()
            process.join()


def _variables(rank: int, size: int, port: int) -> dict[str, str]:
    """What torchrun adds to the environment of a process."""
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(size),
        "LOCAL_RANK": str(rank),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }


def _run(
    variables: dict[str, str],
    said: tuple[Path, Path],
    target: Callable[..., int | None],
    arguments: tuple[Any, ...],
) -> None:
    os.environ.update(variables)
    for path, stream in zip(said, (1, 2), strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    sys.exit(target(*arguments))


def lines(errors: str) -> list[str]:
    """What a command said on standard error."""
    return [line for line in errors.splitlines() if line.startswith("fastwgan train: ")]
