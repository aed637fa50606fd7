"""Puts each mistake of `mutations.py` into a copy of the tree, and runs the tests that must fail.

Writes docs/mutation.md, with what it said of the others. Ends with 1 where one of this run was
not killed. FASTWGAN_MUTATION_PATIENCE: how many seconds the tests of one may take.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.mutation import report
from tests.mutation.mutation import Mutation
from tests.mutation.mutations import MUTATIONS
from tests.mutation.running import INVALID, KILLED, Outcome, failing_anyway, run
from tests.mutation.tree import Tree


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", metavar="TEXT", help="mutations with a text in their file or reason"
    )
    parser.add_argument(
        "--new", action="store_true", help="those without an outcome, or not killed"
    )
    parser.add_argument("--list", action="store_true", help="name them, and do nothing")
    given = parser.parse_args(arguments)
    outcomes = report.kept()
    chosen = [m for m in MUTATIONS if given.only is None or _is_named(m, given.only)]
    if given.new:
        chosen = [m for m in chosen if m.key not in outcomes or outcomes[m.key].verdict != KILLED]
    if given.list:
        print(*(f"{m.file}: {m.why}" for m in chosen), sep="\n")
        return 0
    tree = Tree()
    tree.refresh()
    for number, mutation in enumerate(chosen, 1):
        found = outcomes[mutation.key] = run(tree, mutation)
        print(
            f"{number}/{len(chosen)} {found.verdict} in {found.seconds:.0f} s: {mutation.file}, "
            f"{mutation.why} ({found.said or 'no test failed'})",
            flush=True,
        )
        report.keep(outcomes)
    said = [outcomes[m.key].said for m in chosen if outcomes[m.key].verdict == KILLED]
    failing = failing_anyway(tree, said)
    for key, found in outcomes.items():
        if found.said in failing:
            print(f"{found.said} fails without a mutation too", file=sys.stderr)
            outcomes[key] = Outcome(INVALID, f"{found.said} fails without it too", found.seconds)
    report.keep(outcomes)
    report.FILE.write_text(report.page(outcomes), encoding="utf-8")
    return int(any(outcomes[m.key].verdict != KILLED for m in chosen))


def _is_named(mutation: Mutation, texts: Sequence[str]) -> bool:
    return any(text in mutation.file or text in mutation.why for text in texts)


if __name__ == "__main__":
    sys.exit(main())
