"""Two processes in one run folder: the second is told, and touches nothing."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fastwgan import cli
from fastwgan.train import FolderBusyError, Run, checkpoint, fit, locking, plots
from fastwgan.train.locking import NAME, FolderLock
from tests.processes import NEUTRAL_FOLDER
from tests.train.settings import assert_same_run, small

HOLDER = """
import sys
from pathlib import Path
from fastwgan.train.locking import FolderLock
held = [FolderLock(Path(folder)) for folder in sys.argv[1:]]
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "draw", lambda *arguments: None)


@contextmanager
def _held_elsewhere(*folders: Path) -> Iterator[subprocess.Popen[str]]:
    """While entered, another process holds the folders; it ends by itself at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, *map(str, folders)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=NEUTRAL_FOLDER,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.communicate("\n")


def _stop_at(step: int) -> Callable[[], bool]:
    asked = iter(range(10_000))
    return lambda: next(asked) == step


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_second_process_is_told_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, empty = tmp_path / "run", tmp_path / "empty"
    fit(small(), out=folder, callbacks=(), stop=_stop_at(3))
    empty.mkdir()
    with _held_elsewhere(folder, empty) as process:
        for held, *arguments in (
            (folder, "--resume", folder),
            (folder, "--resume", folder / "checkpoint.pt"),
            (folder, "--out", folder),
            (empty, "--out", empty),
        ):
            before = _files(held)
            assert cli.main(["train", *map(str, arguments)]) == 2
            assert _files(held) == before
            assert capsys.readouterr() == (
                "",
                f"fastwgan train: {held} is being trained by another process "
                f"(PID {process.pid}); stop that first.\n",
            )
    assert not (folder / NAME).exists()
    assert not (empty / NAME).exists()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    fit(small(), out=whole, callbacks=())
    fit(small(), out=killed, callbacks=(), stop=_stop_at(3))
    with _held_elsewhere(killed) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (killed / NAME).exists()
        Run.reopen(killed).go()
        assert_same_run(killed, whole)


def test_a_run_holds_its_folder_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    def is_held() -> bool:
        return subprocess.run(
            [sys.executable, "-S", "-c", TRY, str(tmp_path / NAME)], check=True, stdout=-1
        ).stdout.startswith(b"busy")

    run = Run.begin(small(), out=tmp_path)
    assert is_held()
    seen = []
    run.go(watch=lambda record: seen.append(is_held()), stop=_stop_at(2))
    assert seen == [True]
    assert not (tmp_path / NAME).exists()
    run.go(watch=lambda record: seen.append(is_held()))
    assert all(seen)
    assert len(seen) == 3
    assert not (tmp_path / NAME).exists()
    again = Run.reopen(tmp_path)
    assert is_held()
    del again, run
    gc.collect()
    assert not (tmp_path / NAME).exists()


TRY = """
import fcntl, sys
try:
    fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("busy")
"""


def test_one_process_may_open_a_run_several_times(tmp_path: Path) -> None:
    first = FolderLock(tmp_path)
    with FolderLock(tmp_path / "."):
        assert (tmp_path / NAME).read_text() == f"{os.getpid()}\n"
    assert (tmp_path / NAME).exists()
    first.release()
    first.release()
    assert not (tmp_path / NAME).exists()


def test_a_fork_is_another_process(tmp_path: Path) -> None:
    held = FolderLock(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        child = os.fork()
    if not child:
        try:
            FolderLock(tmp_path)
        except FolderBusyError:
            held.release()  # which is its parent's
            os._exit(7)
        os._exit(8)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert (tmp_path / NAME).exists()
    held.release()


def test_a_lock_that_is_taken_away_meanwhile_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when its last holder ends between our opening it and our locking it."""
    own, seen = locking.fcntl.flock, []

    def flock(handle: int, how: int) -> None:
        if not seen:
            (tmp_path / NAME).unlink()
        seen.append(handle)
        own(handle, how)

    with monkeypatch.context() as patch:
        patch.setattr(locking.fcntl, "flock", flock)
        held = FolderLock(tmp_path)
    assert len(seen) == 2
    assert (tmp_path / NAME).read_text() == f"{os.getpid()}\n"
    held.release()


@pytest.mark.parametrize("made", ["symlink_to", "hardlink_to"])
def test_what_a_link_in_its_place_leads_to_is_left_alone(tmp_path: Path, made: str) -> None:
    mine, folder = tmp_path / "mine.txt", tmp_path / "run"
    mine.write_text("what is mine\n")
    folder.mkdir()
    getattr(folder / NAME, made)(mine)
    with FolderLock(folder):
        assert (folder / NAME).read_text() == f"{os.getpid()}\n"
    assert mine.read_text() == "what is mine\n"
    (folder / NAME).symlink_to(tmp_path / "new")
    FolderLock(folder).release()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "run"]


@pytest.mark.parametrize("place", ["pipe", "folder"])
def test_what_cannot_be_locked_is_no_hang(tmp_path: Path, place: str) -> None:
    (os.mkfifo if place == "pipe" else os.mkdir)(tmp_path / NAME)
    FolderLock(tmp_path).release()


def test_where_there_are_no_locks_nothing_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    with monkeypatch.context() as patch:
        patch.setattr(locking.fcntl, "flock", refuse)
        with FolderLock(tmp_path):
            assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(locking, "fcntl", None)
    with FolderLock(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_a_refused_setting_lets_go(tmp_path: Path) -> None:
    fit(small(), out=tmp_path, callbacks=())
    with pytest.raises(ValueError, match="leave it out") as caught:
        Run.reopen(tmp_path, chosen={"seed": 7})
    assert caught.value.__traceback__ is not None  # whose frames would hold it
    assert not (tmp_path / NAME).exists()
    with pytest.raises(ValueError, match="which holds a run"):
        Run.begin(small(), out=tmp_path)
    assert not (tmp_path / NAME).exists()
    assert checkpoint.step_of(tmp_path / "checkpoint.pt") == 6
