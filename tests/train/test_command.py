from __future__ import annotations

import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastwgan import cli, train
from fastwgan.train import Callback, Run, checkpoint, fit, metrics
from tests.processes import NEUTRAL_FOLDER
from tests.train.settings import SMALL, assert_same_run, small

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
LONG = {"steps": 90, "log_every": 3, "checkpoint_every": 7}


def _options(**chosen: object) -> list[str]:
    settings = {**SMALL, **chosen}
    return [text for name, value in settings.items() for text in (_option(name), str(value))]


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fastwgan", "train", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        cwd=NEUTRAL_FOLDER,
    )


def _wait_for_step(process: subprocess.Popen[str], folder: Path, step: int) -> None:
    """Returns as soon as metrics.jsonl is past `step`."""
    deadline = time.monotonic() + 60
    lines = step // LONG["log_every"]
    path = folder / "metrics.jsonl"
    while not path.exists() or path.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs that nothing stopped, by method."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("wgan-gp", "sn-gan")}
    for method, folder in folders.items():
        fit(small(method, **LONG), out=folder)
    return folders


@pytest.mark.parametrize("method", ["wgan-gp", "sn-gan"])
def test_a_killed_run_goes_on_bit_for_bit(
    tmp_path: Path, whole: dict[str, Path], method: str
) -> None:
    killed = tmp_path / "killed"
    process = _start("--method", method, "--out", str(killed), *_options(**LONG))
    step = random.SystemRandom().randrange(10, 60)
    _wait_for_step(process, killed, step)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    done = checkpoint.load(killed / "checkpoint.pt")["trainer"]["step"]
    assert step - 10 <= done < LONG["steps"], step
    process = _start("--resume", str(killed))
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 0, errors
    assert_same_run(killed, whole[method])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(
    tmp_path: Path, whole: dict[str, Path], number: signal.Signals
) -> None:
    stopped = tmp_path / "stopped run"
    process = _start("--out", str(stopped), *_options(**LONG))
    _wait_for_step(process, stopped, 30)
    process.send_signal(number)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number, errors
    assert f"stopped by {number.name}; to go on:\n" in output
    again = {signal.SIGINT: "Ctrl-C again", signal.SIGTERM: "a second signal"}[number]
    said = rf"stopping after this step; {again} stops at once and loses what follows step \d+\n"
    assert re.fullmatch(said, errors)
    assert 30 <= checkpoint.load(stopped / "checkpoint.pt")["trainer"]["step"] < LONG["steps"]
    command = output.splitlines()[-1].strip()
    assert shlex.split(command) == [
        *(sys.executable, "-m", "fastwgan"),
        *("train", "--resume", str(stopped)),
    ]
    if number == signal.SIGINT:
        again = subprocess.run(
            command,
            shell=True,
            env=ENVIRONMENT,
            cwd=NEUTRAL_FOLDER,
            capture_output=True,
            check=True,
        )
        assert again.returncode == 0
    else:
        Run.reopen(stopped).go()
    assert_same_run(stopped, whole["wgan-gp"])


class _Signals(Callback):
    """Sends this process so many signals behind each other in a step."""

    def __init__(self, step: int, count: int) -> None:
        self.step, self.count = step, count

    def after_step(self, run: Run) -> None:
        for _ in range(self.count * (run.step == self.step)):
            signal.raise_signal(signal.SIGINT)


def _with(monkeypatch: pytest.MonkeyPatch, callback: Callback) -> None:
    """Gives the command's runs this callback alone."""
    monkeypatch.setattr(train, "standard_callbacks", lambda config: [callback])


def test_a_second_signal_names_the_checkpoint_and_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    _with(monkeypatch, _Signals(4, 2))
    assert cli.main(["train", "--out", str(run), *_options()]) == 130
    said = capfd.readouterr()
    assert said.err == (
        "stopping after this step; Ctrl-C again stops at once and loses what follows step 3\n"
        f"fastwgan train: interrupted; the last good checkpoint, of step 3, is "
        f"{run / 'checkpoint.pt'}\n"
    )
    assert said.out.splitlines()[-2] == "to go on:"
    assert said.out.splitlines()[-1].endswith(f" train --resume {run}")
    fit(small(), out=whole)
    Run.reopen(run).go()
    assert_same_run(run, whole)


def test_a_signal_after_the_last_step_says_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    _with(monkeypatch, _Signals(6, 1))
    assert cli.main(["train", "--out", str(tmp_path), *_options()]) == 0
    assert capfd.readouterr().err == (
        "every step is done, and the run's files are being written; Ctrl-C again stops that\n"
    )


class _Spoils(Callback):
    """Breaks a line of metrics.jsonl, as a second process that wrote to it once did."""

    def after_step(self, run: Run) -> None:
        if run.step == 5:
            lines = run.folder.metrics.read_bytes().splitlines(keepends=True)
            lines[0] = lines[0].replace(b",", b"\n", 1)
            run.folder.metrics.write_bytes(b"".join(lines))


class _Fails(Callback):
    def end(self, run: Run) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("left", [_Spoils(), _Fails()])
def test_pictures_that_cannot_be_drawn_hide_no_checkpoint(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    left: Callback,
) -> None:
    _with(monkeypatch, left)
    arguments = ["train", "--out", str(tmp_path), *_options()]
    if isinstance(left, _Spoils):
        assert cli.main(arguments) == 1
    else:
        with pytest.raises(ZeroDivisionError):
            cli.main(arguments)
    said = capsys.readouterr()
    assert said.out.splitlines()[-2] == "to go on:"
    assert said.out.splitlines()[-1].endswith(f" train --resume {tmp_path}")
    if isinstance(left, _Spoils):
        assert said.err == (
            f"fastwgan train: {tmp_path / 'metrics.jsonl'} is damaged: its line 1 is none of a "
            "run's metrics; the last good checkpoint, of step 6, is "
            f"{tmp_path / 'checkpoint.pt'}\n"
        )
    _with(monkeypatch, Callback())
    assert cli.main(["train", "--resume", str(tmp_path)]) == 0


def test_a_run_names_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert cli.main(["train", "--out", str(out), *_options()]) == 0
    output = capsys.readouterr().out
    assert output.splitlines()[:2] == [
        f"training on digits by wgan-gp into {out}",
        "1,443 images, 8×8×1, 10 classes (not used: --conditional would), 354 more held out · "
        f"mlp, 6 steps on 1 thread · pictures at the end, in {out}/",
    ]
    for name in ("samples.png", "curves.png", "metrics.jsonl", "checkpoint.pt", "config.toml"):
        assert f"  {out / name}  " in output
    assert re.search(
        r"^step 6 of 6, [\d.]+ steps/s, Wasserstein estimate -?[\d.]+, penalty [\d.]+$",
        output,
        re.MULTILINE,
    )
    assert metrics.read(out / "metrics.jsonl")


def test_the_two_ways_in_are_one(tmp_path: Path) -> None:
    chosen = {"method": "sn-gan", "data": "8gaussians", "seed": 3, "loss": "wasserstein"}
    assert cli.main(["train", "--out", str(tmp_path / "a"), *_options(**chosen)]) == 0
    fit(small(**chosen), out=tmp_path / "b")
    assert_same_run(tmp_path / "a", tmp_path / "b")


def _failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    """The exit status and the one sentence of a command that fails."""
    status: object
    try:
        status = cli.main(["train", *arguments])
    except SystemExit as ended:
        status = ended.code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("\n")
    assert captured.err.count("\n") == 1
    return status, captured.err.strip()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--steps", "ten"], "--steps was 'ten'; it must be a whole number."),
        (["--critic-lr", "fast"], "--critic-lr was 'fast'; it must be a number."),
        (["--steps", "0"], "--steps was 0; it must be a whole number of at least 1."),
        (["--method", "gan"], "--method was 'gan'; it must be one of wgan, wgan-gp, wgan-lp, "),
        (
            ["--data", "cats"],
            "--data was 'cats': there is no such file or folder; it must be one of digits, mnist, ",
        ),
        (["--critic-lr", "nan"], "--critic-lr was nan; it must be a number above 0."),
        (
            ["--batch-size", "2000"],
            "--batch-size was 2000; it must be at most 1443, the training samples.",
        ),
        (
            ["--device", "cuda:99"],
            "--device was 'cuda:99', which this machine or this torch lacks.",
        ),
        (["--weight-clip", "1"], "--weight-clip was 1.0, but method wgan-gp has none; it belongs"),
        (["--colour", "red"], "unrecognized arguments: --colour red"),
        (["--resume", "nowhere"], "there is no run folder nowhere."),
        (["--resume", "nowhere/checkpoint.pt"], "there is no checkpoint nowhere/checkpoint.pt."),
        (["--stpes", "5"], "unrecognized arguments: --stpes 5 (did you mean --steps?)"),
        (["--critic-steps", "2", "--critc-lr=1"], "unrecognized arguments: --critc-lr=1 (did you "),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_writes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, said = _failure(capsys, *arguments)
    assert status == 2
    assert said.removeprefix("fastwgan train: ").startswith(sentence)
    assert os.listdir(tmp_path) == []


def test_a_wrong_command_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["trian", "--steps", "5"])
    assert ended.value.code == 2
    assert capsys.readouterr() == (
        "",
        "fastwgan: there is no command trian (did you mean train?); it must be one of train, "
        "sample, audit, demo, report, doctor.\n",
    )


def test_a_wrong_option_before_the_command_is_one_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--verson"])
    assert ended.value.code == 2
    said = "fastwgan: unrecognized arguments: --verson (did you mean --version?)\n"
    assert capsys.readouterr().err == said


def test_a_path_that_is_nearly_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for given, meant in (("photso/", "photos"), (f"{tmp_path}/phtos", f"{tmp_path}/photos")):
        said = f"--data was '{given}': there is no such file or folder (did you mean {meant}?); it "
        assert _failure(capsys, "--data", given)[1].startswith(f"fastwgan train: {said}")
    said = _failure(capsys, "--data", "none/rows.csv")[1]
    assert "--data was 'none/rows.csv': there is no such file or folder; it must be" in said


def test_samples_are_said_to_be_there_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "x.npy"
    fit(small(steps=1), out=run, callbacks=())
    arguments = ["sample", str(run), "--out", str(out), "--count", "3"]
    assert cli.main(arguments) == 0
    assert capsys.readouterr() == (f"3 samples of step 1 are in {out}\n", "")
    assert cli.main(arguments) == 2
    said = f"--out was {out}, which exists; choose another name, or --overwrite it."
    assert capsys.readouterr().err == f"fastwgan sample: {said}\n"
    assert cli.main([*arguments, "--overwrite"]) == 0


def test_a_missing_progress_bar_is_one_sentence_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert _failure(capsys) == (
        2,
        "fastwgan train: the progress bar needs rich, which isn't installed: "
        "run `pip install 'fastwgan[train]'`.",
    )
    assert os.listdir(tmp_path) == []


def test_resuming_elsewhere_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(small(), out=tmp_path / "run")
    run, other = str(tmp_path / "run"), str(tmp_path / "other")
    status, said = _failure(capsys, "--resume", run, "--out", other)
    assert (status, said) == (
        2,
        f"fastwgan train: --out was {other}, but --resume goes on in {run}: leave it out.",
    )
    assert not (tmp_path / "other").exists()
    assert cli.main(["train", "--resume", run, "--out", run]) == 0


def test_divergence_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--out", str(tmp_path / "run"), *_options(critic_lr=1e30)]
    assert cli.main(["train", *arguments]) == 1
    captured = capsys.readouterr()
    assert re.match(
        r"^fastwgan train: training stopped, since .* at step \d+: try a smaller critic_lr "
        r"\(it was 1e\+30\) or .*checkpoint\.pt\n$",
        captured.err,
    )


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for name in small().to_dict():
        assert f"{_option(name)} " in text


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("fastwgan ")


def test_no_command_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "train" in capsys.readouterr().err


TALKING = """
import sys
from fastwgan import cli, doctor
doctor.main = lambda: [print("ok") for _ in range(100_000)] and 0
sys.exit(cli.main(["doctor"]))
"""


def test_a_reader_that_leaves_ends_the_command_quietly() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", TALKING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        cwd=NEUTRAL_FOLDER,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "ok\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 128 + signal.SIGPIPE
    process.stderr.close()
