"""What ends a run before its time, and what is left of it then."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from fastwgan import cli
from fastwgan.train import CheckpointError, Run, checkpoint, fit, plots, restore, writing
from fastwgan.train.interrupt import StopOnSignal
from tests.processes import NEUTRAL_FOLDER
from tests.train import killed_runs
from tests.train.settings import SMALL, assert_same_run, small

NAMES = ("checkpoint.pt", "checkpoint-previous.pt")


@pytest.fixture
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "draw", lambda *arguments: None)


def _last_good(folder: Path) -> int:
    """The step of the newest whole checkpoint under one of its names; -1 where there is none."""
    steps = [checkpoint.step_of(folder / name) for name in NAMES]
    return max((step for step in steps if step is not None), default=-1)


# --- killed at any moment


@contextlib.contextmanager
def _photographed(folder: Path, album: Path) -> Iterator[list[Path]]:
    """Copies a folder before and after each call that changes it: what a kill would leave."""
    photos: list[Path] = []

    def photograph() -> None:
        photos.append(Path(shutil.copytree(folder, album / str(len(photos)))))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "link", "replace", "unlink"):
            original = getattr(os, name)

            def call(*arguments: Any, original: Any = original) -> Any:
                photograph()
                try:
                    return original(*arguments)
                finally:
                    photograph()

            patch.setattr(os, name, call)
        yield photos


@pytest.mark.parametrize("linked", [True, False])
def test_a_kill_between_any_two_calls_of_saving_loses_nothing(
    tmp_path: Path, linked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    run = Run.begin(small(), out=tmp_path / "run")
    if not linked:
        monkeypatch.setattr(os, "link", refuse)
    parts = {"config": {}, "data": {}, "label_counts": [], "seconds": 0.0, "trainer": {}}
    path = run.folder.checkpoint
    for step in (3, 6):
        checkpoint.save(path, {**parts, "step": step})
    for number, step in enumerate((6, 9, 12, 12, 15)):
        before = _last_good(path.parent)
        with _photographed(path.parent, tmp_path / f"album{number}") as photos:
            checkpoint.save(path, {**parts, "step": step})
        assert len(photos) >= 6
        steps = [_last_good(photo) for photo in photos]
        assert steps == sorted(steps)
        assert (steps[0], steps[-1]) == (before, step)
        for photo in photos:  # what was left there hinders no later save
            checkpoint.save(photo / path.name, {**parts, "step": 20})
            assert checkpoint.load(photo / path.name)["step"] == 20
            assert set(os.listdir(photo)) <= set(NAMES)


@pytest.fixture
def killer() -> Iterator[subprocess.Popen[str]]:
    paths = os.pathsep.join([*sys.path, str(NEUTRAL_FOLDER.parent)])
    with subprocess.Popen(
        [sys.executable, "-m", "tests.train.killed_runs"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        cwd=NEUTRAL_FOLDER,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) == 0


def _run(process: subprocess.Popen[str], folder: Path, kill: Callable[[int], None]) -> int:
    """The status of one run, which `kill` may end."""
    stdin, stdout = _pipes(process)
    print(folder, file=stdin, flush=True)
    kill(int(stdout.readline()))
    return int(stdout.readline())


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


@pytest.mark.usefixtures("_undrawn")
@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.nightly)])
def test_kills_at_random_moments_lose_nothing_older_than_the_last_checkpoint(
    tmp_path: Path, killer: subprocess.Popen[str], kills: int
) -> None:
    folder, done = tmp_path / "killed", 0
    steps: list[int] = []

    def kill(child: int) -> None:
        time.sleep(random.SystemRandom().uniform(0.02, 0.2))
        steps.append(_last_good(folder))
        os.kill(child, signal.SIGKILL)

    while done < kills:
        if _run(killer, folder, kill) == 0:  # it was done before
            assert _last_good(folder) == killed_runs.STEPS
            shutil.rmtree(folder)
            continue
        after = _last_good(folder)
        assert after >= steps[-1], steps
        if after < 0:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        assert checkpoint.load(folder / "checkpoint.pt")["step"] == after
        done += 1
    assert _run(killer, folder, lambda child: None) == 0
    fit(small(**killed_runs.RUN), out=tmp_path / "whole")
    assert_same_run(folder, tmp_path / "whole")
