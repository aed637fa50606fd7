"""A process that does runs in children of its own, each without a second of imports, to be killed.

It reads a line `FOLDER` from its input for each run, which it begins there or goes on with; it
prints the child's id, and when the child has ended, its exit status.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from fastwgan.train import Run, load, plots
from tests.train.settings import small

STEPS = 48
RUN = {"steps": STEPS, "log_every": 1, "checkpoint_every": 1}


def main() -> None:
    torch.set_num_threads(1)  # so that a child, which has one thread only, waits for no other
    plots.draw = lambda *arguments: None
    data = load("digits")
    for line in sys.stdin:
        folder = Path(line.strip())
        child = os.fork()
        if not child:
            run = Run.reopen if (folder / "checkpoint.pt").exists() else _begin
            run(folder, data).go()
            os._exit(0)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


def _begin(folder: Path, data: object) -> Run:
    return Run.begin(small(**RUN), data, out=folder)


if __name__ == "__main__":
    main()
