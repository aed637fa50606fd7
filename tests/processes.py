"""Python code run in a process of its own, for what an environment decides once, at import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fastwgan
from fastwgan import _cpu

ROOT = Path(__file__).parents[1]
PACKAGES = str(Path(fastwgan.__file__).parents[1])  # the folder of the fastwgan under test
# Python puts the current folder first on its path: a checkout there would hide an installed
# fastwgan. This one holds no Python at all.
NEUTRAL_FOLDER = ROOT / "csrc"

# Loads the extension module alone, without torch's second of import time.
LOAD_CPU = f"""
import importlib.machinery, importlib.util
loader = importlib.machinery.ExtensionFileLoader("fastwgan._cpu", {_cpu.__file__!r})
_cpu = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
loader.exec_module(_cpu)
"""


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The finished process; fastwgan is the one under test, and no choice of ours is inherited."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("FASTWGAN_")}
    paths = [PACKAGES, *filter(None, [inherited.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=NEUTRAL_FOLDER,
        env={**inherited, "PYTHONPATH": os.pathsep.join(paths), **environment},
        capture_output=True,
        text=True,
        timeout=600,  # a guard against hanging; a busy machine takes long
        check=False,
    )


def output_of(code: str, **environment: str) -> str:
    done = run_python(code, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def error_of(code: str, **environment: str) -> str:
    """The last line of the traceback of a process that must fail."""
    done = run_python(code, **environment)
    assert done.returncode == 1, f"status {done.returncode}: {done.stderr or done.stdout}"
    return done.stderr.strip().splitlines()[-1]
