"""Joining the other processes of a run, as torchrun's environment variables describe them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType

import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from fastwgan.train.last_words import LastWords
from fastwgan.train.process_group import SeveralProcesses
from fastwgan.train.processes import ALONE, Processes, ProcessesError

PATIENCE = timedelta(minutes=30)
"""How long a process waits for another that is there: longer than the writer draws or measures."""


@dataclass(frozen=True)
class Place:
    """Which of several processes this is.

    Attributes:
        rank: Of all, from 0.
        size: How many there are.
        local_rank: Of those on this machine, from 0.
        local_size: How many are on this machine.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int


def place(environment: Mapping[str, str] = os.environ) -> Place | None:
    """This process's place, by torchrun's environment variables; None for a process alone.

    Raises:
        ProcessesError: the variables contradict each other, or some are missing.
    """
    if environment.get("WORLD_SIZE", "1") == "1" and environment.get("RANK", "0") == "0":
        return None
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        _text(environment, name)
    size = _number(environment, "WORLD_SIZE", 1)
    local_size = _number(environment, "LOCAL_WORLD_SIZE", 1, size)
    return Place(
        rank=_number(environment, "RANK", 0, size - 1),
        size=size,
        local_rank=_number(environment, "LOCAL_RANK", 0, local_size - 1),
        local_size=local_size,
    )


def _text(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise ProcessesError(
            f"the environment variable {name} was not set, though others of torchrun were; start "
            "every process by torchrun, or unset WORLD_SIZE and RANK."
        )
    return environment[name]


def _number(environment: Mapping[str, str], name: str, least: int, most: int | None = None) -> int:
    text = _text(environment, name)
    if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
        bounds = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ProcessesError(
            f"the environment variable {name} was {text!r}; it must be a whole number {bounds}."
        )
    return int(text)


class join(AbstractContextManager[Processes]):  # noqa: N801
    """The processes that torchrun started, together until the end of the `with`; or this one alone.

    Inside, torch has a default process group: gloo for tensors on the CPU, nccl for those of a GPU.
    Each process leaves when all do. Where an error ends the run, it is raised in one process, which
    shall tell it; every other process exits with status 1.

    Args:
        patience: How long a process waits for another before it gives the run up.

    Raises:
        ProcessesError: the environment is inconsistent, others don't come, or a process group
            exists already.
    """

    def __init__(self, patience: timedelta = PATIENCE) -> None:
        self._patience = patience
        self._words: LastWords | None = None
        self._processes = ALONE

    def __enter__(self) -> Processes:
        where = place()
        if where is not None:
            self._join(where)
        return self._processes

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._words is None:
            return
        if error is None:
            self._processes.greatest(0)
        speaks = error is None or self._words.is_first()
        if distributed.is_initialized():
            distributed.destroy_process_group()
        if not speaks:
            raise SystemExit(1) from None

    def _join(self, where: Place) -> None:
        if distributed.is_initialized():
            raise ProcessesError(
                "torch has a default process group already; it must have none: the processes of a "
                "run make their own."
            )
        try:
            store, _, _ = next(rendezvous("env://", timeout=self._patience))
            store = PrefixStore(_fresh_prefix(), store)
            distributed.init_process_group(
                "cpu:gloo,cuda:nccl" if _has_nccl() else "gloo",
                store=PrefixStore("group", store),
                rank=where.rank,
                world_size=where.size,
                timeout=self._patience,
            )
        except distributed.DistError as error:
            reason = str(error).partition("\n")[0]
            raise ProcessesError(
                f"process {where.rank} of {where.size} (counted from 0) could not join the others "
                f"at {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}: {reason}"
            ) from None
        self._words = LastWords(store, where.rank, where.size)
        self._processes = SeveralProcesses(
            where.rank,
            where.size,
            local_rank=where.local_rank,
            local_size=where.local_size,
            words=self._words,
        )


def _has_nccl() -> bool:
    return torch.cuda.is_available() and distributed.is_nccl_available()


_joined = 0


def _fresh_prefix() -> str:
    """A part of the store that no earlier run of these processes has written to."""
    global _joined
    _joined += 1
    return f"fastwgan/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{_joined}"
