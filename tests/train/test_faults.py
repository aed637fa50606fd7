"""What ends a run before its time, and what is left of it then."""

from __future__ import annotations

import contextlib
import errno
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
from typing import IO, Any, BinaryIO

import pytest

from fastwgan import cli
from fastwgan.train import (
    Callback,
    CheckpointError,
    ConfigError,
    Run,
    checkpoint,
    fit,
    plots,
    writing,
)
from fastwgan.train.interrupt import StopOnSignal
from fastwgan.train.writing import OutputError
from tests.processes import NEUTRAL_FOLDER
from tests.train import killed_runs
from tests.train.settings import assert_same_run, small

NAMES = ("checkpoint.pt", "checkpoint-previous.pt")


@pytest.fixture
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "draw", lambda *arguments: None)


def _last_good(folder: Path) -> int:
    """The step of the newest whole checkpoint under one of its names; -1 where there is none."""
    steps = [checkpoint.step_of(folder / name) for name in NAMES]
    return max((step for step in steps if step is not None), default=-1)


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

    path = Run.begin(small(), out=tmp_path / "run").folder.checkpoint  # of a run that is let go
    if not linked:
        monkeypatch.setattr(os, "link", refuse)
    parts = {"config": {}, "data": {}, "label_counts": [], "seconds": 0.0, "trainer": {}}
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
        process.kill()


def _inode(path: Path) -> int:
    """Which file a name is of now; 0 where there is none."""
    return path.stat().st_ino if path.exists() else 0


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
    folder, chance = tmp_path / "killed", random.SystemRandom()
    before = -1

    def kill(child: int) -> None:
        """Between the first save of this part and the last: a few steps later, or fewer."""
        nonlocal before
        deadline = time.monotonic() + 60
        while _inode(folder / "checkpoint.pt") == inode:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 0.15))
        before = _last_good(folder)
        with contextlib.suppress(ProcessLookupError):  # the last step is done
            os.kill(child, signal.SIGKILL)

    while kills:
        if before >= killed_runs.STEPS - 8:
            shutil.rmtree(folder)
        inode = _inode(folder / "checkpoint.pt")
        status = _run(killer, folder, kill)
        if status == 0:  # it was faster
            continue
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        after = _last_good(folder)
        assert after >= before >= 0
        assert checkpoint.load(folder / "checkpoint.pt")["step"] == after
        kills -= 1
    assert _run(killer, folder, lambda child: None) == 0
    fit(small(**killed_runs.RUN), out=tmp_path / "whole", callbacks=())
    assert_same_run(folder, tmp_path / "whole")


@pytest.mark.usefixtures("_undrawn")
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_a_run_goes_on_from_the_one_before_bit_for_bit(tmp_path: Path, damage: str) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    for folder in (run, whole):
        fit(small(steps=7), out=folder, callbacks=())
    path = run / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content[:1000] if damage == "truncated" else content)
    if damage == "missing":
        path.unlink()
    with pytest.raises(CheckpointError) as caught:
        Run.reopen(run)
    hint = "; the last good one is of step 6: go on with --resume "
    again = Run.reopen(Path(str(caught.value).rstrip(".").partition(hint)[2]))
    assert again.step == 6
    assert again.go().folder.path == run
    assert_same_run(run, whole)


@pytest.mark.usefixtures("_undrawn")
def test_a_kill_before_the_first_checkpoint_leaves_no_run(tmp_path: Path) -> None:
    folder, whole = tmp_path / "run", tmp_path / "whole"
    folder.mkdir()
    (folder / "metrics.jsonl").touch()
    (folder / "checkpoint.pt.partial").write_bytes(b"half of a checkpoint")
    for path in (folder, whole):
        fit(small(), out=path, callbacks=())
    assert_same_run(folder, whole)


def test_a_run_of_which_only_the_checkpoint_before_is_left_is_one(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-previous.pt").write_bytes(b"a checkpoint")
    with pytest.raises(ConfigError, match=r"which holds a run; choose another"):
        fit(small(), out=tmp_path)


@pytest.fixture
def _room() -> Iterator[None]:
    """Gives files their room again after a test."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


class _NoRoom(Callback):
    """Lets no file of this process grow beyond so many bytes, as a full disk would, from a step on.

    Args:
        step: At which the line of metrics and the checkpoint are written.
        size: In bytes; by default a few more than the metrics have then.
    """

    def __init__(self, step: int, size: int | None = None) -> None:
        self.step = step
        self.size = size

    def after_step(self, run: Run) -> None:
        if run.step == self.step:
            size = run.folder.metrics.stat().st_size + 20 if self.size is None else self.size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _assert_goes_on(folder: Path, step: int, whole: Path) -> None:
    run = Run.reopen(folder)
    assert run.step == step
    run.go()
    fit(small(), out=whole, callbacks=())
    assert_same_run(folder, whole)


def _kept(folder: Path, step: int) -> str:
    return f"; the last good checkpoint, of step {step}, is {folder / 'checkpoint.pt'}"


@pytest.mark.usefixtures("_undrawn", "_room")
@pytest.mark.parametrize(
    ("step", "size", "name"), [(4, None, "metrics.jsonl"), (6, 10_000, "checkpoint.pt")]
)
def test_a_file_without_room_is_named_and_the_run_goes_on_from_its_checkpoint(
    tmp_path: Path, step: int, size: int | None, name: str
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(OutputError) as caught:
        fit(small(), out=folder, callbacks=[_NoRoom(step, size)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    said = f"{folder / name} can't be written: File too large"
    assert str(caught.value) == said + _kept(folder, 3)
    assert not list(folder.glob("*.partial"))
    _assert_goes_on(folder, 3, tmp_path / "whole")


def _fill_disk(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Lets a file be written to a device that is full."""

    def full(path: Path) -> BinaryIO:
        return Path("/dev/full").open("wb") if path.name == f"{name}.partial" else own(path)

    own = writing.opened_anew
    for module in (writing, checkpoint):
        monkeypatch.setattr(module, "opened_anew", full)


@pytest.mark.usefixtures("_undrawn")
@pytest.mark.parametrize("name", ["checkpoint.pt", "config.toml"])
def test_a_full_disk_is_named_and_the_run_goes_on_from_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / "run"
    fit(small(), out=folder, callbacks=(), stop=_stop_before(4))
    with monkeypatch.context() as patch:
        _fill_disk(patch, name)
        with pytest.raises(OutputError) as caught:
            Run.reopen(folder).go()
    said = f"{folder / name} can't be written: No space left on device"
    assert str(caught.value) == said + _kept(folder, 3)
    _assert_goes_on(folder, 3, tmp_path / "whole")


@pytest.mark.usefixtures("_undrawn")
def test_pictures_without_room_leave_the_run_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(plots, "draw", draw)
        with pytest.raises(OutputError) as caught:
            fit(small(), out=folder, callbacks=())
    said = f"{folder} can't be written: No space left on device"
    assert str(caught.value) == said + _kept(folder, 6)
    _assert_goes_on(folder, 6, tmp_path / "whole")


@pytest.mark.usefixtures("_undrawn", "_room")
def test_the_command_ends_with_the_sentence_and_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    fit(small(), out=folder, callbacks=(), stop=_stop_before(4))
    _fill_disk(monkeypatch, "checkpoint.pt")
    assert cli.main(["train", "--resume", str(folder)]) == 1
    assert capsys.readouterr().err == (
        f"fastwgan train: {folder / 'checkpoint.pt'} can't be written: No space left on device"
        f"{_kept(folder, 3)}\n"
    )


def _stop_before(step: int) -> Callable[[], bool]:
    """Says stop when it is asked before step `step`."""
    asked = iter(range(1, 10_000))
    return lambda: next(asked) == step


@pytest.mark.usefixtures("_undrawn")
@pytest.mark.parametrize("moment", ["fsync", "link", "replace"])
@pytest.mark.parametrize("signals", [1, 2])
def test_a_signal_while_saving_loses_nothing(
    tmp_path: Path, moment: str, signals: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first lets the checkpoint be written; the second ends it there, by an exception."""
    folder, original = tmp_path / "run", getattr(os, moment)
    run = Run.begin(small(), out=folder)
    left = [signal.SIGINT] * signals

    def interrupted(*arguments: Any) -> Any:
        while run.step == 6 and left:
            signal.raise_signal(left.pop())
        return original(*arguments)

    with monkeypatch.context() as patch, StopOnSignal() as stop:
        patch.setattr(os, moment, interrupted)
        if signals == 1:
            assert run.go(stop=stop).finished
        else:
            with pytest.raises(KeyboardInterrupt):
                run.go(stop=stop)
    assert stop.received == signal.SIGINT
    _assert_goes_on(folder, 6 if signals == 1 else 3, tmp_path / "whole")
