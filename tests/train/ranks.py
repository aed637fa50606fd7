"""Processes of one run, started as torchrun starts them, but without a process of torchrun's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType

from torch.distributed import TCPStore

from tests.processes import NEUTRAL_FOLDER

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
SECONDS = 100.0  # after which a process counts as hung


@dataclass
class Ended:
    """What a process left."""

    status: int
    output: str
    errors: str


class Ranks:
    """`python *arguments` once a rank; all that is left of them is killed at the end of the `with`.

    The store that they meet in is this process's, as it is torchrun's: it outlives each of them.
    """

    def __init__(self, *arguments: str, size: int = 2) -> None:
        self._store = TCPStore(
            "127.0.0.1",
            0,
            is_master=True,
            wait_for_workers=False,
            timeout=timedelta(seconds=SECONDS),
        )
        self._until = time.monotonic() + SECONDS
        self.processes = [
            subprocess.Popen(
                [sys.executable, *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=NEUTRAL_FOLDER,
                env={**ENVIRONMENT, **self._variables(rank, size)},
            )
            for rank in range(size)
        ]

    def _variables(self, rank: int, size: int) -> dict[str, str]:
        return {
            "RANK": str(rank),
            "WORLD_SIZE": str(size),
            "LOCAL_RANK": str(rank),
            "LOCAL_WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(self._store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
        }

    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Returns as soon as `reached`; fails where a process ends or time runs out before."""
        while not reached():
            for process in self.processes:
                assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < self._until
            time.sleep(0.005)

    def end(self) -> list[Ended]:
        """What every process left, once all have ended."""
        ended = []
        for process in self.processes:
            output, errors = process.communicate(timeout=max(self._until - time.monotonic(), 0.1))
            ended.append(Ended(process.returncode, output, errors))
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
            process.communicate()


def lines(errors: str) -> list[str]:
    """What a command said on standard error."""
    return [line for line in errors.splitlines() if line.startswith("fastwgan train: ")]
