"""Files as a stranger would make them: what they name is neither run nor written to."""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import EpsImagePlugin, Image, UnidentifiedImageError

from fastwgan import cli
from fastwgan.train import (
    CheckpointError,
    ConfigError,
    OutputError,
    Run,
    TrainConfig,
    checkpoint,
    fit,
    load,
    plots,
    quality,
    restore,
)
from fastwgan.train.animation import animate
from fastwgan.train.metrics import MetricsFile
from fastwgan.train.quality import WriteQuality
from fastwgan.train.report import Report, machine, write_report
from fastwgan.train.writing import write_whole
from tests.train.settings import small
from tests.train.test_report import _Page
from tests.train.watched import lines, made_folder

MINE = "what is mine\n"
TEXTS = [name for name, kind in TrainConfig.__annotations__.items() if "str" in kind]


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plots, "draw", lambda *arguments: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file of the user's, outside of what the stranger made."""
    path = tmp_path / "home" / "mine.txt"
    path.parent.mkdir()
    path.write_text(MINE)
    return path


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is there once a module named `trap` has been imported."""
    path, folder = tmp_path / "marker", tmp_path / "modules"
    folder.mkdir()
    (folder / "trap.py").write_text(
        f"from pathlib import Path\nPath({str(path)!r}).touch()\nclass Critic: pass\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(__import__("sys").modules, "trap", raising=False)
    return path


@pytest.mark.parametrize("name", TEXTS)
def test_no_setting_but_the_critic_imports_what_it_names(
    name: str, tmp_path: Path, marker: Path
) -> None:
    settings = small().to_dict() | {name: "trap:Critic"}
    with pytest.raises(ConfigError, match=r"^[^\n]*trap:Critic[^\n]*\.$"):
        Run.begin(TrainConfig.from_dict(settings), out=tmp_path / "run")
    assert marker.exists() == (name == "critic")


@pytest.mark.parametrize("name", TEXTS)
def test_no_part_of_a_checkpoint_but_the_critic_does(
    name: str, tmp_path: Path, marker: Path
) -> None:
    fit(small(steps=1), load("digits"), out=tmp_path / "run", callbacks=())
    path = tmp_path / "run/checkpoint.pt"
    state = checkpoint.load(path)
    state["config"][name] = state["data"]["name"] = "trap:Critic"
    checkpoint.save(path, state)
    if name in ("data", "label_column"):  # not read again for samples
        assert restore(path).spec.name == "trap:Critic"
    else:
        with pytest.raises((ConfigError, CheckpointError), match=r"trap:Critic"):
            restore(path)
        with pytest.raises((ConfigError, CheckpointError), match=r"trap:Critic"):
            Run.reopen(path)
    assert not marker.exists()


def _with_trap(folder: Path) -> Path:
    fit(small(steps=1), load("digits"), out=folder, callbacks=())
    path = folder / "checkpoint.pt"
    state = checkpoint.load(path)
    state["config"]["critic"] = "trap:Critic"
    checkpoint.save(path, state)
    return path


def test_a_critic_is_run_where_its_reader_names_it_too(tmp_path: Path, marker: Path) -> None:
    path = _with_trap(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"derived from torch\.nn\.Module"):
        restore(path, critic="trap:Critic")
    assert marker.exists()


@pytest.mark.parametrize("command", ["resume", "config", "audit", "sample"])
def test_no_command_runs_what_a_file_names(
    command: str, tmp_path: Path, marker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _with_trap(tmp_path / "run")
    (tmp_path / "config.toml").write_text('critic = "trap:Critic"\n')
    arguments = {
        "resume": ["train", "--resume", str(path), "--steps", "2"],
        "config": [
            "train",
            "--config",
            str(tmp_path / "config.toml"),
            "--out",
            str(tmp_path / "n"),
        ],
        "audit": ["audit", str(path)],
        "sample": ["sample", str(path), "--out", str(tmp_path / "made.npy"), "--count", "3"],
    }[command]
    status = cli.main(arguments)
    said = capsys.readouterr().err
    assert not marker.exists()
    if command == "sample":
        assert (status, said) == (0, "")
    else:
        assert status == 2
        assert re.search(r"--critic was not given, and \S+ names 'trap:Critic', whose code", said)


def test_help_says_what_runs_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("code is run") == 1
    assert (
        "package.module:Class; that module's code is run, and never because a file names it" in said
    )
    assert "no other setting runs code that it names" in said


def _npz(path: Path, names: list[str]) -> None:
    array = io.BytesIO()
    np.save(array, np.random.default_rng(0).normal(size=(20, 2)))
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, array.getvalue())


@pytest.mark.parametrize("name", ["../../home/mine.txt", "/etc/passwd", "..\\mine", "../up.npy"])
def test_names_in_an_npz_are_only_names(name: str, tmp_path: Path, mine: Path) -> None:
    folder = tmp_path / "a/b"
    folder.mkdir(parents=True)
    _npz(folder / "x.npz", ["samples.npy", name])
    before = sorted(tmp_path.rglob("*"))
    assert load(str(folder / "x.npz")).values.shape[1:] == (2,)
    assert mine.read_text() == MINE
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("write", ["whole", "checkpoint"])
def test_a_link_in_the_place_of_what_is_half_written_is_not_followed(
    write: str, tmp_path: Path, mine: Path
) -> None:
    (tmp_path / "x.pt.partial").symlink_to(mine)
    (tmp_path / "x.pt").symlink_to(mine)
    if write == "whole":
        write_whole(tmp_path / "x.pt", b"new")
    else:
        checkpoint.save(tmp_path / "x.pt", {"step": 1})
    assert mine.read_text() == MINE
    assert not (tmp_path / "x.pt").is_symlink()
    assert sorted(path.name for path in tmp_path.glob("x.pt*")) == ["x.pt"]


def test_a_link_in_the_place_of_the_cache_is_not_followed(tmp_path: Path, mine: Path) -> None:
    folder = tmp_path / "images"
    (folder / ".fastwgan-cache").mkdir(parents=True)
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    for name in ("images-8.npz", f"images-8.npz.partial-{os.getpid()}"):
        (folder / ".fastwgan-cache" / name).symlink_to(mine)
    assert len(load(str(folder), image_size=8).values) >= 3
    assert mine.read_text() == MINE
    assert not (folder / ".fastwgan-cache/images-8.npz").is_symlink()


def test_lines_are_not_written_through_a_link(tmp_path: Path, mine: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to(mine)
    with pytest.raises(OutputError, match=r"metrics\.jsonl can't be written: it is a link\.$"):
        MetricsFile(tmp_path / "metrics.jsonl")
    assert mine.read_text() == MINE


def test_going_on_with_a_run_of_links_leaves_what_they_lead_to(
    tmp_path: Path, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality, "evaluate", lambda *arguments: {"modes": 8})
    folder = fit(small(steps=1), load("digits"), out=tmp_path / "run", callbacks=()).folder
    written = [folder.config, folder.quality, folder.report, machine.path(folder)]
    for path in written:
        path.unlink(missing_ok=True)
        path.symlink_to(mine)
        path.with_name(path.name + ".partial").symlink_to(mine)
    Run.reopen(folder.path, chosen={"steps": 2}).go(callbacks=[WriteQuality(), Report()])
    assert mine.read_text() == MINE
    assert not [path for path in written if path.is_symlink()]


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is there once Pillow has started Ghostscript, which PostScript is a program for."""
    marker, program = tmp_path / "started", tmp_path / "bin/gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho >> {marker}\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", str(program))
    return marker


def _postscript(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, "EPS")
    path.write_bytes(buffer.getvalue())


def test_postscript_called_an_image_is_not_run(tmp_path: Path, ghostscript: Path) -> None:
    for number in range(3):
        _postscript(tmp_path / f"images/{number}.png")
    with pytest.raises(ConfigError, match=r"images"):
        load(str(tmp_path / "images"), image_size=8)
    folder = made_folder(tmp_path / "run", lines(2))
    _postscript(folder.grids / "step-000000.png")
    with pytest.raises(UnidentifiedImageError):
        animate(folder, 2)
    for picture in (folder.animation, folder.samples):
        _postscript(picture)
        with pytest.raises(UnidentifiedImageError):
            write_report(folder)
        picture.unlink()
    assert not ghostscript.exists()


FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "@SUM(1)", "-2+3", "=HYPERLINK(0)"]


def test_formulas_in_a_table_are_texts(tmp_path: Path) -> None:
    """They come back letter by letter: whoever opens samples in a spreadsheet has the data's."""
    path = tmp_path / "x.csv"
    frame = pd.DataFrame({"=1+1": range(50), "text": FORMULAS * 10})
    frame.to_csv(path, index=False)
    data = load(str(path))
    assert data.table is not None
    rows = data.table.frame(data.values)
    assert list(rows) == ["=1+1", "text"]
    assert set(rows["text"]) == set(FORMULAS)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("x," + "y" * 200_000 + "\n1,2\n3,4\n", "field larger than field limit"),
        ('x,y\n1,"' + "z" * 5_000_000 + "\n3,4\n", "can't be read as a table"),
    ],
)
def test_a_huge_field_is_one_sentence(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(ConfigError, match=problem) as caught:
        load(str(tmp_path / "x.csv"))
    assert len(str(caught.value)) < 500


SCRIPT = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def test_every_text_of_a_run_stays_text_on_its_page(tmp_path: Path) -> None:
    """Names of columns, classes and files reach the page by its settings and its measures."""
    settings = dict.fromkeys(set(TEXTS) - {"method"}, SCRIPT)
    folder = made_folder(tmp_path, lines(2), **settings)
    for path in (folder.quality, folder.audit_json, machine.path(folder)):
        path.write_text(json.dumps({SCRIPT: {SCRIPT: [SCRIPT]}, "verdict": SCRIPT}))
    page = _Page(write_report(folder))
    assert len(page.all("script")) == 2
    assert page.texts["td"].count(SCRIPT) >= len(settings)
    assert page.all("img")
    assert all((image["src"] or "").startswith("data:") for image in page.all("img"))
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
