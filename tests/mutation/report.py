"""docs/mutation.md, from the outcomes that are kept in build/mutation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from tests.mutation.mutation import Mutation
from tests.mutation.mutations import GROUPS, MUTATIONS
from tests.mutation.running import INVALID, KILLED, SURVIVED, Outcome
from tests.mutation.tree import FOLDER, ROOT

FILE = ROOT / "docs" / "mutation.md"
_KEPT = FOLDER / "outcomes.json"

_HEAD = """# Mistakes that the tests notice

Each row is a mistake that somebody could make, put into the source by itself. The tests that
`tests/mutation` names for it are then run, with the kernels built anew. The mistake is killed when
one of them fails by an assertion; one that doesn't compile, or that ends the tests by another error
than their own, doesn't count. The kernels are built for this with less optimisation than `setup.py`
asks for, and those of CUDA run on the emulator. Written by `python -m tests.mutation`, which
`make mutation` runs.

{verdict}
"""


def kept() -> dict[str, Outcome]:
    """The last outcomes, by mutations' keys: those of this checkout, and what its page says."""
    outcomes = written(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    if _KEPT.exists():
        found = json.loads(_KEPT.read_text())
        outcomes |= {key: Outcome(*outcome) for key, outcome in found.items()}
    return outcomes


def written(text: str) -> dict[str, Outcome]:
    """What a page says was killed: mutations as they are, by a test that they still name."""
    rows = [tuple(line[2:-2].split(" | ")) for line in text.splitlines()]
    said = {row[:4]: row[4:] for row in rows if len(row) == 6}
    outcomes = {}
    for m in MUTATIONS:
        test, seconds = said.get(_cells(m), ("", ""))
        if test and any(_selects(part, test) for part in m.tests.split()):
            outcomes[m.key] = Outcome(KILLED, test, float(seconds))
    return outcomes


def _selects(argument: str, test: str) -> bool:
    return argument in (test, test.split("[")[0], test.split("::")[0])


def keep(outcomes: Mapping[str, Outcome]) -> None:
    """Keeps the outcomes of mutations that there still are."""
    current = {m.key for m in MUTATIONS}
    _KEPT.write_text(json.dumps({k: v for k, v in outcomes.items() if k in current}, indent=1))


def page(outcomes: Mapping[str, Outcome]) -> str:
    """The document: what was not killed first, then a table a layer."""
    ran = [m for m in MUTATIONS if m.key in outcomes]
    of = {verdict: _with(verdict, ran, outcomes) for verdict in (KILLED, SURVIVED, INVALID)}
    verdict = f"{len(of[KILLED])} of {len(ran)} mistakes were killed"
    verdict += "." if len(ran) == len(MUTATIONS) else f"; {len(MUTATIONS) - len(ran)} were not run."
    parts = [_HEAD.format(verdict=verdict)]
    if of[SURVIVED]:
        parts += ["## Not noticed\n", _table(of[SURVIVED], outcomes)]
    if of[INVALID]:
        parts += ["## Not counted\n", _table(of[INVALID], outcomes)]
    for name, group in GROUPS.items():
        killed = [m for m in group if m in of[KILLED]]
        if killed:
            parts += [f"## {name[0].upper()}{name[1:]}\n", _table(killed, outcomes)]
    return "\n".join(parts)


def _with(verdict: str, ran: Iterable[Mutation], outcomes: Mapping[str, Outcome]) -> list[Mutation]:
    return [m for m in ran if outcomes[m.key].verdict == verdict]


def _table(mutations: Iterable[Mutation], outcomes: Mapping[str, Outcome]) -> str:
    lines = [
        "| in | mistake | was | became | first failing test | s |",
        "|---|---|---|---|---|---|",
    ]
    for m in mutations:
        found = outcomes[m.key]
        cells = (*_cells(m), _cell(found.said), f"{found.seconds:.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cells(m: Mutation) -> tuple[str, str, str, str]:
    return m.file, m.why, _code(m.old), _code(m.new)


def _code(text: str) -> str:
    """Source on one line of a table."""
    joined = " ".join(text.split())
    return f"`{_cell(joined)}`" if joined else "nothing"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
