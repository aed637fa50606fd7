"""What a case measured, and the one table that shows it, in the terminal and in the README."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.machine import BUSY_SHARE
from benchmarks.race import Speedup

HEADER = (
    "case",
    "ours",
    "against",
    "theirs",
    "speedup (p20–p80)",
    "required",
    "of copy bandwidth",
    "of sgemm rate",
    "peak memory, ours / theirs",
)
NOTHING = "–"


@dataclass(frozen=True)
class PeerResult:
    """One peer's median time, and how much faster ours was."""

    name: str
    seconds: float
    speedup: Speedup
    required: float | None
    peak_bytes: int

    @property
    def short(self) -> bool:
        """Whether the measured median falls short of what the project asks for."""
        return self.required is not None and self.speedup.median < self.required


@dataclass(frozen=True)
class CaseResult:
    """One case: all that is known about it, as it stands in pytest-benchmark's JSON."""

    case: str
    rounds: int
    seconds: float
    of_copy: float
    of_sgemm: float
    peak_bytes: int
    others_share: float | None
    peers: tuple[PeerResult, ...]

    @property
    def busy(self) -> bool:
        """Whether other processes took enough of the machine to spoil the times."""
        return self.others_share is not None and self.others_share > BUSY_SHARE

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> CaseResult:
        peers = tuple(
            PeerResult(**{**peer, "speedup": Speedup(**peer["speedup"])})
            for peer in stored["peers"]
        )
        return cls(**{**stored, "peers": peers})


def table(results: Iterable[CaseResult]) -> str:
    """An aligned Markdown table, one row a peer."""
    return aligned(HEADER, [row for result in results for row in _rows(result)])


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns stand below each other as text, too."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    rule = ["-" * width for width in widths]
    return "\n".join(_line(row, widths) for row in (header, rule, *rows))


def footnotes(results: Sequence[CaseResult]) -> list[str]:
    """One line for each mark that the table uses."""
    notes = []
    if any(peer.short for result in results for peer in result.peers):
        notes.append("**short**: below what the project requires of itself.")
    for result in results:
        if result.busy and result.others_share is not None:
            notes.append(
                f"(busy): other processes took {result.others_share:.0%} of the machine during "
                f"{result.case}; these times are not to be trusted."
            )
    return notes


def _rows(result: CaseResult) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for index, peer in enumerate(result.peers):
        first = index == 0
        rows.append(
            (
                _case_name(result) if first else "",
                duration(result.seconds) if first else "",
                peer.name,
                duration(peer.seconds),
                _speedup(peer),
                NOTHING if peer.required is None else f"{peer.required:g}×",
                _share(result.of_copy) if first else "",
                _share(result.of_sgemm) if first else "",
                f"{size(result.peak_bytes)} / {size(peer.peak_bytes)}",
            )
        )
    return rows


def _case_name(result: CaseResult) -> str:
    return f"{result.case} (busy)" if result.busy else result.case


def _speedup(peer: PeerResult) -> str:
    ratio = peer.speedup
    text = f"{ratio.median:.2f}× ({ratio.p20:.2f}–{ratio.p80:.2f})"
    return f"{text} **short**" if peer.short else text


def _share(share: float) -> str:
    return f"{share:.0%}" if share >= 0.005 else NOTHING


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "| " + " | ".join(padded) + " |"


def duration(seconds: float) -> str:
    """Three digits, in microseconds or milliseconds."""
    micros = seconds * 1e6
    return f"{micros / 1e3:.3g} ms" if micros >= 999.5 else f"{micros:.3g} µs"


def size(count: int) -> str:
    """Three digits, in bytes, kB or MB."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1e6:.3g} MB" if count >= 999_500 else f"{count / 1e3:.3g} kB"
