"""A process that has imported what is not ours, from which each run of tests is forked.

Run as a file, so that nothing of `tests` or `fastwgan` is loaded yet: a run loads both from its own
folder. Reads one request a line, {"folder", "environment", "arguments", "output"}, and answers each
with the status of pytest, or null where it ran too long.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from typing import Any

# Seconds for the tests of one mutation; more where something else takes the machine meanwhile.
LONGEST = int(os.environ.get("FASTWGAN_MUTATION_PATIENCE", "600"))

_FOREIGN = ("torch", "torch.testing", "torch.nn.utils.parametrize", "hypothesis", "pytest")


def main() -> None:
    """Answers until its input ends."""
    sys.path.pop(0)  # this file's folder
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    for name in _FOREIGN:
        importlib.import_module(name)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


def _answer(request: dict[str, Any]) -> int | None:
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _run(request)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(child, signal.SIGKILL))
    signal.alarm(LONGEST)
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except (KeyboardInterrupt, SystemExit):
        os.killpg(child, signal.SIGKILL)
        raise
    signal.alarm(0)
    return None if status == -signal.SIGKILL else status


def _run(request: dict[str, Any]) -> None:
    """Runs pytest in a child, and ends it."""
    status: int = 3  # pytest's own, for an error of its own
    try:
        output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        sys.path[:0] = request["environment"]["PYTHONPATH"].split(os.pathsep)
        import pytest

        status = int(pytest.main(request["arguments"]))
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
