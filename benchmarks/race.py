"""The contestants of one case, run in turn, call by call, on inputs that always change."""

from __future__ import annotations

import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from benchmarks.roofline import Work


class Contestant(ABC):
    """One way of doing the work of a case, on weights and inputs of its own.

    The contestants of a case start from the same numbers, and `prepare(step)` must give each of
    them the same numbers again, so that their results can be compared after any step.
    """

    name: str
    required: float | None = None
    """Least speedup over this peer that the project asks for; None: shown for information."""

    @abstractmethod
    def prepare(self, step: int) -> None:
        """Changes weights and inputs, as an optimizer step and a data loader would. Not timed."""

    @abstractmethod
    def run(self) -> None:
        """The work. Timed."""

    @abstractmethod
    def results(self) -> list[Tensor]:
        """What the last `run` computed, in the same order for every contestant of a case."""


class RunCase(Protocol):
    """The fixture `run_case`: races ours against the peers, provided that their results agree."""

    def __call__(
        self,
        case: str,
        *,
        ours: Contestant,
        peers: Sequence[Contestant],
        work: Work,
        bound: float,
    ) -> None:
        """Runs one case.

        Args:
            case: What the table calls it.
            ours: The library's way.
            peers: What a user would do instead.
            work: The least that has to be moved and multiplied.
            bound: Largest relative difference of any one result between ours and a peer.
        """


class Race:
    """Runs the contestants round by round: each peer once, then ours once.

    A drifting clock rate, a neighbour on the machine or a cold cache then strikes all alike. The
    peers' order rotates, so that no one always runs in the cache that the same other left behind.
    """

    def __init__(
        self,
        ours: Contestant,
        peers: Sequence[Contestant],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.ours = ours
        self.peers = tuple(peers)
        self.peer_seconds: dict[str, list[float]] = {peer.name: [] for peer in peers}
        self._clock = clock
        self._step = 0

    def before_ours(self) -> None:
        """Times one call of every peer, then readies ours, which the caller times next."""
        for peer in self._rotated_peers():
            peer.prepare(self._step)
            start = self._clock()
            peer.run()
            self.peer_seconds[peer.name].append(self._clock() - start)
        self.ours.prepare(self._step)
        self._step += 1

    def warm_up(self, rounds: int) -> None:
        """Rounds that leave no times behind."""
        for _ in range(rounds):
            self.before_ours()
            self.ours.run()
        for seconds in self.peer_seconds.values():
            seconds.clear()

    def one_round_more(self) -> None:
        """A round that leaves no time behind, and the times of others where they are."""
        self.before_ours()
        self.ours.run()
        for seconds in self.peer_seconds.values():
            seconds.pop()

    def seconds_of_a_round(self) -> float:
        """Wall time of one round, preparation included; leaves no times behind."""
        start = self._clock()
        self.warm_up(1)
        return self._clock() - start

    def _rotated_peers(self) -> tuple[Contestant, ...]:
        first = self._step % max(1, len(self.peers))
        return self.peers[first:] + self.peers[:first]


@dataclass(frozen=True)
class Speedup:
    """Peer's time over ours, round by round: the median and the middle three fifths."""

    median: float
    p20: float
    p80: float


def speedup(peer_seconds: Sequence[float], our_seconds: Sequence[float]) -> Speedup:
    """Ratios of times taken in the same round, never of times taken apart."""
    if len(peer_seconds) != len(our_seconds):
        raise ValueError(
            f"{len(peer_seconds)} rounds of the peer and {len(our_seconds)} of ours: the ratio is "
            "taken round by round"
        )
    ratios = [theirs / ours for theirs, ours in zip(peer_seconds, our_seconds, strict=True)]
    fifths = statistics.quantiles(ratios, n=5, method="inclusive")
    return Speedup(median=statistics.median(ratios), p20=fifths[0], p80=fifths[3])


def rounds_for(seconds: float, seconds_of_a_round: float) -> int:
    """How many rounds fit: no fewer than 15, for the percentiles, and no more than 2,000."""
    return max(15, min(2000, int(seconds / seconds_of_a_round)))
