"""How a run over several processes ends before its time: one message, and a checkpoint to go on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from fastwgan.train import Run, checkpoint, fit, plots
from fastwgan.train.locking import FolderLock
from tests.processes import NEUTRAL_FOLDER
from tests.train import processes_recipe as recipe
from tests.train.ranks import SECONDS, Ranks, lines
from tests.train.settings import leaves, small

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
LONG = {"method": "wgan-gp", "steps": 40, "log_every": 2, "checkpoint_every": 4}
OPTIONS = [
    text
    for name, value in small(**LONG).to_dict().items()
    for text in ("--" + name.replace("_", "-"), str(value))
    if name in {*LONG, "batch_size", "critic_steps", "latent_size", "width", "threads"}
]
KILLED_AT = 10


@pytest.fixture(scope="module", autouse=True)
def _double() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setattr(plots, "draw", lambda *arguments: None)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
    patch.undo()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process that nothing stopped."""
    folder = tmp_path_factory.mktemp("whole")
    fit(small(**LONG), recipe.double("digits"), out=folder)
    return folder


def _reached(folder: Path, step: int) -> Callable[[], bool]:
    metrics = folder / "metrics.jsonl"
    return lambda: (
        metrics.exists() and metrics.read_bytes().count(b"\n") >= step // LONG["log_every"]
    )


def _assert_goes_on(folder: Path, said: str, lost: int, whole: Path) -> None:
    """The one message names the checkpoint, from which one process trains what two began."""
    path = folder / "checkpoint.pt"
    found = re.fullmatch(
        rf"fastwgan train: lost process {lost} of 2 \(counted from 0\): .*; the last good "
        rf"checkpoint, of step (\d+), is {path}",
        said,
    )
    assert found, said
    done = checkpoint.load(path)["step"]
    assert KILLED_AT - LONG["checkpoint_every"] <= int(found[1]) == done < LONG["steps"]
    assert Run.reopen(folder, recipe.double("digits")).go().finished
    ours, theirs = (
        dict(leaves(checkpoint.load(each / "checkpoint.pt")["trainer"])) for each in (folder, whole)
    )
    for name, value in theirs.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(ours[name], value, rtol=1e-8, atol=1e-8, msg=name)


def test_a_killed_process_ends_all_under_torchrun(tmp_path: Path, whole: Path) -> None:
    out = tmp_path / "run"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*launcher, "-m", recipe.__name__, "train", "--out", str(out), *OPTIONS]
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=NEUTRAL_FOLDER,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    try:
        until, reached = time.monotonic() + SECONDS, _reached(out, KILLED_AT)
        while not reached():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < until
            time.sleep(0.005)
        os.kill(_rank(process.pid, 1), signal.SIGKILL)
        errors = process.communicate(timeout=SECONDS)[1]
    finally:
        _kill_with_children(process)
    assert process.returncode == 1
    (said,) = lines(errors)
    _assert_goes_on(out, said, 1, whole)


def _children(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def _rank(parent: int, rank: int) -> int:
    """The process of a rank that torchrun, process `parent`, has started."""
    for child in _children(parent):
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return child
    raise AssertionError(f"torchrun has no process of rank {rank}")


def _kill_with_children(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        for child in _children(process.pid):
            os.kill(child, signal.SIGKILL)
        process.kill()
        process.communicate()


def test_a_killed_writer_ends_all(tmp_path: Path, whole: Path) -> None:
    out = tmp_path / "run"
    with Ranks(tmp_path, recipe.command, "train", "--out", str(out), *OPTIONS) as ranks:
        ranks.wait_until(_reached(out, KILLED_AT))
        ranks.signal(0, signal.SIGKILL)
        writer, other = ranks.end()
    assert (writer.status, other.status) == (-signal.SIGKILL, 1)
    assert other.output == ""
    (said,) = lines(writer.errors + other.errors)
    _assert_goes_on(out, said, 0, whole)


REFUSED = {
    "--batch-size 7": "--batch-size was 7; it must be a multiple of 2 (the processes).",
    "--batch-size 8 --accumulate 8": "--batch-size was 8; it must be a multiple of 2 (the "
    "processes) times 8 (accumulate).",
    "--seed RANK": "seed was 1 on process 1; it must be 0, as on process 0.",
    "--data nothing": "--data was 'nothing': there is no such file or folder; it must be one of ",
    "--steps ten": "--steps was 'ten'; it must be a whole number.",
    "--out HELD": "--out was HELD, which holds a run; choose another, or go on by --resume HELD.",
    "--out BUSY": f"BUSY is being trained by another process (PID {os.getpid()}); stop that first.",
    "--resume NOWHERE": "there is no run folder NOWHERE.",
}


@dataclass(frozen=True)
class Commands:
    """What every process said to each of `REFUSED`, and to a last command, stopped by a signal."""

    refused: dict[str, list[tuple[str, int]]]
    stopped: list[tuple[str, int]]
    outputs: list[str]
    out: Path


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Commands:
    folder = tmp_path_factory.mktemp("commands")
    (folder / "HELD").mkdir()
    (folder / "HELD" / "metrics.jsonl").write_text("{}\n")
    (folder / "BUSY").mkdir()
    out = folder / "run"
    all_arguments = [["train", *text.split()] for text in REFUSED]
    all_arguments.append(["train", "--out", str(out), *OPTIONS])
    with (
        FolderLock(folder / "BUSY"),
        Ranks(folder, recipe.commands, folder, all_arguments) as ranks,
    ):
        ranks.wait_until(_reached(out, KILLED_AT))
        ranks.signal(1, signal.SIGTERM)
        ended = ranks.end()
    said = [re.findall(r"(.*?)status (\d+)\n", each.errors, re.DOTALL) for each in ended]
    assert [len(each) for each in said] == 2 * [len(all_arguments)], [e.errors for e in ended]
    by_command = [
        [(text, int(status)) for text, status in pair] for pair in zip(*said, strict=True)
    ]
    refused = dict(zip(REFUSED, by_command, strict=False))
    return Commands(refused, by_command[-1], [each.output for each in ended], out)


@pytest.mark.parametrize("arguments", REFUSED)
def test_one_process_says_what_is_refused(commands: Commands, arguments: str) -> None:
    said = commands.refused[arguments]
    (sentence,) = lines("".join(text for text, _ in said))
    assert sentence.removeprefix("fastwgan train: ").startswith(REFUSED[arguments])
    assert all(status in (1, 2) for _, status in said)


def test_a_signal_to_one_process_stops_all_at_the_same_step(commands: Commands) -> None:
    assert commands.stopped == 2 * [("", 128 + signal.SIGTERM)]
    shown, silent = commands.outputs
    assert silent == ""
    assert shown.splitlines()[-2:] == [
        "stopped by SIGTERM; to go on:",
        f"  torchrun --nproc-per-node=2 -m fastwgan train --resume {commands.out}",
    ]
    done = checkpoint.load(commands.out / "checkpoint.pt")["step"]
    assert KILLED_AT <= done < LONG["steps"]
    assert f"\n{done} generator steps in " in shown
