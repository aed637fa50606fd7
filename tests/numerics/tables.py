"""The table of errors in each operation's README.md, measured and written, or read.

`python -m tests.numerics.tables` measures every backend and instruction set that runs here, the
Triton kernels under their interpreter, or those that are named, and writes the tables. A test
compares what they promise with `tests/tolerances.py`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import torch

from tests.conftest import BACKENDS, contexts, why_not_run
from tests.numerics.operations import CASES, OPERATIONS
from tests.tolerances import ULPS

OPS = Path(__file__).parents[2] / "fastwgan" / "ops"
BEGIN, END = "<!-- errors: begin -->", "<!-- errors: end -->"
HEAD = """Errors in units in the last place of the exact result: the bound promised, in brackets
the worst seen ({where}). Written by
`python -m tests.numerics.tables`; `ULPS` of `tests/tolerances.py` has the reasons."""


class Cell(NamedTuple):
    promised: float
    seen: float


Table = dict[tuple[str, str], Cell]  # by result and the dtype's name
Worst = dict[str, float]  # by "operation/result/dtype"


def short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def readme(name: str) -> Path:
    return OPS / name / "README.md"


def written(name: str) -> Table:
    """The table as it stands in the operation's README.md."""
    text = readme(name).read_text(encoding="utf-8")
    _, rest = text.split(BEGIN)
    lines = [line for line in rest.split(END)[0].splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    table = {}
    for result, *cells in rows[2:]:
        for dtype, cell in zip(rows[0][1:], cells, strict=True):
            found = re.fullmatch(r"([\d.]+) \(([\d.]+)\)", cell)
            assert found, f"{name}, {result}, {dtype}: {cell!r}"
            table[result, dtype] = Cell(float(found[1]), float(found[2]))
    return table


def measured(backend: str) -> Worst:
    """The worst of each result on one backend."""
    worst: Worst = {}
    for name, dtype in CASES:
        if OPERATIONS[name].runs(backend, dtype):
            with ExitStack() as stack:
                for context in contexts(backend):
                    stack.enter_context(context)
                found = OPERATIONS[name].measure(dtype)
            worst |= {f"{name}/{result}/{short(dtype)}": error for result, error in found.items()}
    return worst


def measured_in_a_process(backend: str) -> Worst:
    """The same by a process of its own, as Triton's interpreter needs."""
    command = [sys.executable, "-m", "tests.numerics.tables", "--json", backend]
    done = subprocess.run(
        command,
        env=os.environ | {"TRITON_INTERPRET": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    worst: Worst = json.loads(done.stdout)
    return worst


def lines_of(name: str, worst: Worst) -> list[str]:
    dtypes = OPERATIONS[name].dtypes
    results = dict.fromkeys(key.split("/")[1] for key in worst if key.startswith(f"{name}/"))
    lines = [f"| result | {' | '.join(map(short, dtypes))} |", "|---" * (len(dtypes) + 1) + "|"]
    for result in results:
        cells = [result]
        for dtype in dtypes:
            seen = worst[f"{name}/{result}/{short(dtype)}"]
            cells.append(f"{ULPS[name, result, dtype].value:.2f} ({seen:.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def write(worst: Worst, where: str) -> None:
    for name in OPERATIONS:
        text = readme(name).read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        block = [BEGIN, HEAD.format(where=where), "", *lines_of(name, worst), END]
        readme(name).write_text(before + "\n".join(block) + rest.split(END)[1], encoding="utf-8")


def main(names: Sequence[str]) -> None:
    """Measures on the backends named, or all that run, and writes what was seen on these."""
    worst: Worst = {}
    names = names or [b for b in BACKENDS if b == "triton" or why_not_run(b) is None]
    for backend in names:
        found = (measured_in_a_process if backend == "triton" else measured)(backend)
        worst |= {key: max(error, worst.get(key, 0.0)) for key, error in found.items()}
    write(worst, ", ".join(names))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--json"]:
        from tests import triton_interpreter

        triton_interpreter.prepare()
        print(json.dumps(measured(sys.argv[2])))
    else:
        main(sys.argv[1:])
