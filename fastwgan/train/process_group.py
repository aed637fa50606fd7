"""One of several processes that train a run together, over torch's default process group."""

from __future__ import annotations

import contextlib
import math
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, distributed

from fastwgan.train.config import ConfigError, TrainConfig
from fastwgan.train.last_words import LastWords
from fastwgan.train.processes import WRITER, Processes, ProcessesError, ProcessLostError, T


class SeveralProcesses(Processes):
    """One of several; see `Processes`.

    Args:
        rank: Which of them this is.
        size: How many there are.
        local_rank: Which of those of its machine this is.
        local_size: How many there are on its machine.
        words: What they say to each other besides the group.
    """

    def __init__(
        self, rank: int, size: int, *, local_rank: int, local_size: int, words: LastWords
    ) -> None:
        self.rank = rank
        self.size = size
        self.local_size = local_size
        self._local_rank = local_rank
        self._words = words
        self._averaging: _Averaging | None = None

    def check(self, config: TrainConfig, fingerprint: str) -> None:
        """Asks for a batch that divides, a penalty row by row, and the writer's settings."""
        factors = {"the processes": self.size, "accumulate": config.accumulate, "pack": config.pack}
        if config.batch_size % math.prod(factors.values()):
            product = " times ".join(f"{n} ({name})" for name, n in factors.items() if n > 1)
            raise ConfigError(
                "batch_size", f"was {config.batch_size}; it must be a multiple of {product}."
            )
        if "dragan" in config.parts:
            raise ConfigError(
                "method",
                f"was {config.method!r}; with {self.size} processes it must be one without dragan, "
                "which takes the spread of a whole batch.",
            )
        values = {**config.to_dict(), "threads": None, "the data's fingerprint": fingerprint}
        for name, expected in self.from_writer(lambda: values).items():
            if values.get(name) != expected:
                raise ProcessesError(
                    f"{name} was {values.get(name)!r} on process {self.rank}; it must be "
                    f"{expected!r}, as on process {WRITER}."
                )

    def device(self, name: str) -> torch.device:
        """The CPU, or the GPU of this process's number on its machine."""
        device = torch.device(name)
        if device.type == "cpu":
            return device
        if device.type != "cuda" or device.index is not None:
            raise ConfigError(
                "device",
                f"was {name!r}; with {self.size} processes it must be cpu or cuda, of which each "
                "takes its own.",
            )
        if torch.cuda.device_count() < self.local_size:
            raise ConfigError(
                "device",
                f"was {name!r}; each of this machine's {self.local_size} processes must have a GPU "
                f"of its own, and it has {torch.cuda.device_count()}.",
            )
        device = torch.device("cuda", self._local_rank)
        torch.cuda.set_device(device)
        return device

    def own(self, rows: Tensor, parts: int = 1) -> Tensor:
        """One slice of each part."""
        shares: Tensor = rows.unflatten(0, (parts, self.size, -1))
        return shares[:, self.rank].flatten(0, 1)

    def average(self, tensors: Sequence[Tensor], then: Callable[[], object]) -> None:
        """One all-reduce of each dtype's tensors, laid end to end."""
        self.settle()
        with self.listening():
            self._averaging = _Averaging(tensors, then)

    def settle(self) -> None:
        """Waits for the sums of the last `average`."""
        if self._averaging is None:
            return
        with self.listening():
            self._averaging.wait()
        averaging, self._averaging = self._averaging, None
        averaging.finish(self.size)

    def gather(self, tensor: Tensor) -> Tensor:
        """One all-gather."""
        every = tensor.new_empty(self.size * tensor.numel())
        with self.listening():
            distributed.all_gather_single(every, tensor.reshape(-1))
        return every.view(self.size, *tensor.shape)

    def total(self, tensor: Tensor) -> Tensor:
        """One all-reduce."""
        total = tensor.clone(memory_format=torch.contiguous_format)
        with self.listening():
            distributed.all_reduce(total)
        return total

    def greatest(self, number: int) -> int:
        """One small all-gather on the CPU."""
        return int(self.gather(torch.tensor(number, dtype=torch.int64)).max())

    def spread(self, tensors: Sequence[Tensor]) -> None:
        """One broadcast of each dtype's tensors, laid end to end."""
        for group in _alike(tensors):
            flat = _flat(group)
            with self.listening():
                distributed.broadcast(flat, WRITER)
            _copy_back(flat, group)

    def from_writer(self, make: Callable[[], T]) -> T:
        """Pickled by the writer, unpickled by the others."""
        made: list[Any] = [make() if self.is_writer else None]
        with self.listening():
            distributed.broadcast_object_list(made, WRITER, device=torch.device("cpu"))
        return made[0]  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first process of every machine at once, then all others."""
        if self._local_rank > 0:
            self.greatest(0)
        yield
        if self._local_rank == 0:
            self.greatest(0)

    @contextlib.contextmanager
    def one_voice(self) -> Iterator[None]:
        """The others' goes to the null device."""
        if self.is_writer:
            yield
            return
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Round every call of the group: its errors say that a process is lost, not which."""
        try:
            yield
        except RuntimeError as error:
            self._lost(error)

    def _lost(self, error: RuntimeError) -> NoReturn:
        # What the others wait for will never come: closed connections tell them so. They are only
        # closed once nothing holds what was under way, the frames of the error included.
        traceback.clear_frames(error.__traceback__)
        self._averaging = None
        distributed.destroy_process_group()
        raise ProcessLostError(self._words.about_lost(error)) from error


class _Averaging:
    """Copies of tensors, laid end to end, on their way to their sums over the processes."""

    def __init__(self, tensors: Sequence[Tensor], then: Callable[[], object]) -> None:
        self._then = then
        self._groups = _alike(tensors)
        self._flat = [_flat(group) for group in self._groups]
        self._works = [distributed.all_reduce(flat, async_op=True) for flat in self._flat]

    def wait(self) -> None:
        for work in self._works:
            work.wait()

    def finish(self, size: int) -> None:
        for flat, group in zip(self._flat, self._groups, strict=True):
            _copy_back(flat.div_(size), group)
        self._then()


def _alike(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """The tensors of each dtype and device."""
    groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault((tensor.dtype, tensor.device), []).append(tensor.detach())
    return list(groups.values())


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _copy_back(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    pieces = flat.split([tensor.numel() for tensor in tensors])
    shaped = [piece.view(tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True)]
    torch._foreach_copy_(list(tensors), shaped)
