"""Writes docs/triton.md: what compilation says of every Triton kernel, dtype and target."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from tests.triton_kernels import TARGETS, Compiled, cases, compiled

FILE = Path(__file__).parents[1] / "docs" / "triton.md"
HEAD = """# The Triton kernels, compiled ahead of time

No kernel of this table has run on a GPU, and nothing in it was timed: it is what the compilers say.
Written by `python -m tests.triton_table`, which `make nightly` runs.

A field holds registers a thread, bytes of shared memory a program and bytes of the widest access
to global memory. {verdict}
"""


def main(targets: Iterable[str]) -> None:
    """Compiles for the targets named, or all, and writes the table of these."""
    import triton

    targets = list(targets) or list(TARGETS)
    rows = {case.name: [compiled(case, target) for target in targets] for case in cases()}
    spilled = [name for name, row in rows.items() if any(cell.spilled for cell in row)]
    verdict = (
        f"Compiled by Triton {triton.__version__}: {len(rows)} forms for {len(targets)} targets. "
    )
    verdict += f"Registers are spilled in: {', '.join(spilled)}." if spilled else "None spills."
    lines = [HEAD.format(verdict=verdict), f"| kernel | {' | '.join(targets)} |"]
    lines.append("|---" * (len(targets) + 1) + "|")
    lines += [f"| {name} | {' | '.join(map(_cell, row))} |" for name, row in rows.items()]
    FILE.write_text("\n".join(lines) + "\n")


def _cell(found: Compiled) -> str:
    return f"{found.registers}, {found.shared}, {found.widest}"


if __name__ == "__main__":
    main(sys.argv[1:])
