from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from fastwgan.train import CheckpointError, checkpoint

STATE = {"step": 3, "weights": {"a": torch.arange(5.0)}, "order": [torch.tensor(1), 2.5, "x"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, STATE)
    return path


def test_what_is_saved_is_loaded(path: Path) -> None:
    state = checkpoint.load(path)
    assert state.keys() == STATE.keys() | {"format"}
    assert state["step"] == 3
    assert torch.equal(state["weights"]["a"], torch.arange(5.0))
    assert state["order"][1:] == [2.5, "x"]
    assert os.listdir(path.parent) == [path.name]


class _CrashError(Exception):
    pass


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_crash_while_saving_leaves_the_old_one(
    path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*arguments: object) -> None:
        raise _CrashError

    def write_half(state: object, file: Any) -> None:
        file.write(b"half of a checkpoint")
        raise _CrashError

    if moment == "write":
        monkeypatch.setattr(torch, "save", write_half)
    else:
        monkeypatch.setattr(os, moment, crash)
    with pytest.raises(_CrashError):
        checkpoint.save(path, {"step": 4})
    monkeypatch.undo()
    assert checkpoint.load(path)["step"] == 3
    checkpoint.save(path, {"step": 5})
    assert checkpoint.load(path)["step"] == 5


def test_new_bytes_are_on_the_disk_before_their_name_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)

        def call(*arguments: Any, name: str = name, original: Any = original) -> Any:
            calls.append(name)
            return original(*arguments)

        monkeypatch.setattr(os, name, call)
    checkpoint.save(path, {"step": 4})
    assert calls == ["fsync", "replace", "fsync"]


class _Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path, form: str) -> None:
    path, marker = tmp_path / "evil.pt", tmp_path / "marker"
    if form == "torch":
        torch.save({"state": _Malicious(marker)}, path)
    else:
        path.write_bytes(pickle.dumps(_Malicious(marker)))
    with pytest.raises(CheckpointError, match=r"^[^\n]*evil\.pt[^\n]*\.$"):
        checkpoint.load(path)
    assert not marker.exists()


def test_a_missing_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^there is no checkpoint .*none\.pt\.$"):
        checkpoint.load(tmp_path / "none.pt")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn"])
def test_a_foreign_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"^[^\n]*foreign\.pt is damaged, or no checkpoint"):
        checkpoint.load(path)


@pytest.mark.parametrize("content", [{"model": torch.zeros(2)}, torch.zeros(2), [1, 2]])
def test_another_programs_checkpoint_is_one_sentence(tmp_path: Path, content: object) -> None:
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"other\.pt isn't one of `fastwgan train`\.$"):
        checkpoint.load(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_checkpoint_is_one_sentence(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r"^[^\n]*checkpoint\.pt is damaged"):
        checkpoint.load(path)


def test_a_flipped_bit_of_a_tensor_is_found(path: Path) -> None:
    whole = path.read_bytes()
    place = whole.index(torch.arange(5.0).numpy().tobytes())
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(CheckpointError, match=r"^[^\n]*checkpoint\.pt is damaged"):
        checkpoint.load(path)
