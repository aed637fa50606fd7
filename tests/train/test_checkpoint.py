from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fastwgan.train import CheckpointError, checkpoint

NUMBERS = torch.arange(5.0)
STATE = {
    "config": {"method": "wgan-gp"},
    "data": {"name": "digits"},
    "label_counts": [],
    "step": 3,
    "seconds": 0.5,
    "trainer": {"weights": NUMBERS, "order": [torch.tensor(1), 2.5, "x"]},
}


def _state(step: int) -> dict[str, Any]:
    return {**STATE, "step": step}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, STATE)
    return path


def test_what_is_saved_is_loaded(path: Path) -> None:
    state = checkpoint.load(path)
    assert state.keys() == STATE.keys() | {"format"}
    assert state["step"] == checkpoint.step_of(path) == 3
    assert torch.equal(state["trainer"]["weights"], NUMBERS)
    assert state["trainer"]["order"][1:] == [2.5, "x"]
    assert os.listdir(path.parent) == [path.name]


def test_the_seal_of_a_late_step_is_found_whole(path: Path) -> None:
    checkpoint.save(path, _state(12_345_678_901))
    assert checkpoint.step_of(path) == 12_345_678_901
    assert checkpoint.load(path)["step"] == 12_345_678_901


def test_torch_reads_it_as_any_other(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    assert torch.equal(state["trainer"]["weights"], NUMBERS)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b"fastwgan checkpoint of step 3, SHA-256 ")


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
        checkpoint.save(path, _state(4))
    monkeypatch.undo()
    assert checkpoint.load(path)["step"] == 3
    checkpoint.save(path, _state(5))
    assert checkpoint.load(path)["step"] == 5


def test_new_bytes_are_on_the_disk_before_their_name_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str]] = []
    for name in ("fsync", "link", "replace"):
        original = getattr(os, name)

        def call(*arguments: Any, name: str = name, original: Any = original) -> Any:
            target = arguments[-1]
            calls.append((name, target.name if isinstance(target, Path) else ""))
            return original(*arguments)

        monkeypatch.setattr(os, name, call)
    checkpoint.save(path, _state(4))
    assert calls == [
        ("fsync", ""),
        ("link", "checkpoint-previous.pt.partial"),
        ("replace", "checkpoint-previous.pt"),
        ("replace", "checkpoint.pt"),
        ("fsync", ""),
    ]


def test_the_one_before_is_kept(path: Path) -> None:
    previous = checkpoint.previous_of(path)
    assert previous == path.with_name("checkpoint-previous.pt")
    assert not previous.exists()
    for step in (4, 6):
        checkpoint.save(path, _state(step))
    assert (checkpoint.step_of(path), checkpoint.step_of(previous)) == (6, 4)
    checkpoint.save(path, _state(6))
    assert (checkpoint.step_of(path), checkpoint.step_of(previous)) == (6, 4)
    assert sorted(os.listdir(path.parent)) == [previous.name, path.name]


def test_a_damaged_one_does_not_replace_the_one_before(path: Path) -> None:
    previous = checkpoint.previous_of(path)
    checkpoint.save(path, _state(4))
    path.write_bytes(path.read_bytes()[:-1])
    checkpoint.save(path, _state(5))
    assert (checkpoint.step_of(path), checkpoint.step_of(previous)) == (5, 3)


def test_going_on_from_the_one_before_keeps_it(path: Path) -> None:
    previous = checkpoint.previous_of(path)
    checkpoint.save(path, _state(9))
    checkpoint.save(path, checkpoint.load(previous))
    assert (checkpoint.step_of(path), checkpoint.step_of(previous)) == (3, 3)
    checkpoint.save(path, _state(5))
    assert (checkpoint.step_of(path), checkpoint.step_of(previous)) == (5, 3)


def test_a_file_system_without_links_will_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    checkpoint.save(path, _state(4))
    assert checkpoint.step_of(path) == 4
    assert checkpoint.step_of(checkpoint.previous_of(path)) == 3


def test_a_damaged_checkpoint_names_the_last_good_one(path: Path) -> None:
    previous = checkpoint.previous_of(path)
    checkpoint.save(path, _state(4))
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    hint = f"; the last good one is of step 3: go on with --resume {previous}."
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    assert str(caught.value) == f"checkpoint {path} is damaged, or no checkpoint at all{hint}"
    path.unlink()
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    assert str(caught.value) == f"there is no checkpoint {path}{hint}"
    path.write_bytes(whole)
    previous.write_bytes(whole[:100])
    with pytest.raises(CheckpointError, match=f" of step 4: go on with --resume {path}"):
        checkpoint.load(previous)


def test_a_damaged_one_is_not_called_good(path: Path) -> None:
    previous = checkpoint.previous_of(path)
    checkpoint.save(path, _state(4))
    for file in (path, previous):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"is damaged, or no checkpoint at all\.$"):
        checkpoint.load(path)
    assert checkpoint.last_good(path) == "there is no checkpoint to go on from"


class _Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("form", ["torch", "pickle", "sealed"])
def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path, form: str) -> None:
    path, marker = tmp_path / "evil.pt", tmp_path / "marker"
    if form == "torch":
        torch.save({"state": _Malicious(marker)}, path)
    elif form == "pickle":
        path.write_bytes(pickle.dumps(_Malicious(marker)))
    else:
        checkpoint.save(path, {**STATE, "trainer": {"a": _Malicious(marker)}})
    with pytest.raises(CheckpointError, match=r"^[^\n]*evil\.pt[^\n]*\.$"):
        checkpoint.load(path)
    assert not marker.exists()


def test_a_missing_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^there is no checkpoint .*none\.pt\.$"):
        checkpoint.load(tmp_path / "none.pt")


def test_a_folder_or_file_that_may_not_be_read_is_one_sentence(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt can't be read: Permission denied\."):
        checkpoint.load(path)


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


@pytest.mark.parametrize("version", ["1", "3"])
def test_another_format_is_one_sentence(tmp_path: Path, version: str) -> None:
    path = tmp_path / "old.pt"
    torch.save({**STATE, "format": f"fastwgan training run, version {version}"}, path)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    assert str(caught.value) == (
        f"checkpoint {path} is of format {version}, and this fastwgan reads 2: "
        "go on with the fastwgan that wrote it, or train anew."
    )


def _assert_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert checkpoint.step_of(path) is None
    with pytest.raises(
        CheckpointError, match=r"^[^\n]*checkpoint\.pt (is damaged|isn't|was|is of)"
    ):
        checkpoint.load(path)


def test_a_truncated_checkpoint_is_refused_wherever_it_was_cut(path: Path) -> None:
    whole = path.read_bytes()
    ends = [*range(0, len(whole) - 200, 41), *range(len(whole) - 200, len(whole))]
    for length in ends:
        _assert_refused(path, whole[:length])


def test_a_flipped_bit_is_found_wherever_it_is(path: Path) -> None:
    whole = path.read_bytes()
    for place in [*range(0, len(whole) - 200, 13), *range(len(whole) - 200, len(whole))]:
        flipped = whole[place] ^ (1 << place % 8)
        _assert_refused(path, whole[:place] + bytes([flipped]) + whole[place + 1 :])


def test_a_flipped_bit_in_a_large_checkpoint_is_found(path: Path) -> None:
    """A seal is of all blocks that a file is read in."""
    checkpoint.save(path, _state(4) | {"weights": torch.arange(700_000)})
    assert checkpoint.step_of(path) == 4
    whole = path.read_bytes()
    for place in (1_000, 2_000_000, len(whole) - 300):
        _assert_refused(path, whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])


@pytest.mark.parametrize("behind", [b"\0", b"more"])
def test_bytes_behind_the_seal_are_found(path: Path, behind: bytes) -> None:
    _assert_refused(path, path.read_bytes() + behind)


def _seal(archive: bytes, step: int = 3) -> bytes:
    """An archive with a right seal: what a forger would make, not an accident."""
    comment = f"fastwgan checkpoint of step {step}, SHA-256 ".encode()
    content = archive[:-2] + struct.pack("<H", len(comment) + 64) + comment
    return content + hashlib.sha256(content).hexdigest().encode()


def _archive(
    change: Callable[[str, bytes], tuple[str, bytes]], compression: int = zipfile.ZIP_STORED
) -> bytes:
    """A checkpoint's archive with changed entries."""
    saved, forged = io.BytesIO(), io.BytesIO()
    torch.save({**STATE, "format": "fastwgan training run, version 2"}, saved)
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(forged, "w", compression) as new:
        for name in old.namelist():
            new.writestr(*change(name, old.read(name)))
    return forged.getvalue()


def test_the_forged_ones_below_are_refused_for_what_they_hold(path: Path) -> None:
    path.write_bytes(_seal(_archive(lambda name, content: (name, content))))
    assert torch.equal(checkpoint.load(path)["trainer"]["weights"], NUMBERS)


def _bomb() -> bytes:
    """A thousand times as large when it is unpacked."""

    def grow(name: str, content: bytes) -> tuple[str, bytes]:
        return name, content + bytes(5_000_000 if name.endswith("data/0") else 0)

    return _archive(grow, zipfile.ZIP_DEFLATED)


def _overlapping() -> bytes:
    """Many names for the same bytes: more to read than the file is long."""
    archive = bytearray(_archive(lambda name, content: (name, content + bytes(10_000))))
    end = archive.rindex(b"PK\5\6")
    count, size, start = struct.unpack_from("<HII", archive, end + 10)
    directory = bytes(archive[start : start + size])
    tail = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 9 * count, 9 * count, 9 * size, start, 0)
    return bytes(archive[:start]) + 9 * directory + tail


def _slipping() -> bytes:
    return _archive(lambda name, content: ("../../" + name, content))


def _of_huge_tensor() -> bytes:
    """The five numbers said to be 2**33."""

    def grow(name: str, content: bytes) -> tuple[str, bytes]:
        return name, content.replace(b"K\x05\x85", b"\x8a\x05\x00\x00\x00\x00\x02\x85")

    return _archive(grow)


@pytest.mark.parametrize("forge", [_bomb, _overlapping, _slipping, _of_huge_tensor])
@pytest.mark.parametrize("sealed", [True, False])
def test_a_forged_archive_is_refused(path: Path, forge: Any, sealed: bool) -> None:
    archive = forge()
    path.write_bytes(_seal(archive) if sealed else archive)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of two entries of one name
        with pytest.raises(CheckpointError, match=r"^[^\n]*checkpoint\.pt (is damaged|isn't|was)"):
            checkpoint.load(path)
    assert os.listdir(path.parent) == [path.name]


def _pickles() -> Iterator[bytes]:
    """Bytes of data.pkl changed one at a time, so that torch's reader meets every kind of nonsense.

    Those that come out as a checkpoint after all are as harmless as one.
    """
    random = torch.Generator().manual_seed(0)
    for _ in range(150):
        place, value = torch.randint(1 << 30, (2,), generator=random).tolist()

        def change(
            name: str, content: bytes, place: int = place, value: int = value
        ) -> tuple[str, bytes]:
            if not name.endswith("data.pkl"):
                return name, content
            at = place % len(content)
            return name, content[:at] + bytes([value % 256]) + content[at + 1 :]

        yield _archive(change)


def test_a_forged_pickle_is_never_more_than_a_sentence(path: Path) -> None:
    said = []
    for archive in _pickles():
        path.write_bytes(_seal(archive))
        try:
            assert type(checkpoint.load(path)["step"]) is int
        except CheckpointError as error:
            said.append(str(error))
    assert len(said) > 50
    assert not any("\n" in sentence for sentence in said)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("step", "3", "its step is a str; it must be a int"),
        ("step", True, "its step is a bool; it must be a int"),
        ("config", [], "its config is a list; it must be a dict"),
        ("trainer", torch.zeros(2), "its trainer is a Tensor; it must be a dict"),
        ("seconds", None, "its seconds is a NoneType; it must be a float"),
    ],
)
def test_a_part_of_another_type_is_one_sentence(
    path: Path, name: str, value: object, said: str
) -> None:
    archive = io.BytesIO()
    state = {**STATE, name: value, "format": "fastwgan training run, version 2"}
    torch.save(state, archive)
    path.write_bytes(_seal(archive.getvalue()))
    with pytest.raises(CheckpointError, match=f"isn't one of a run: {said}"):
        checkpoint.load(path)
    del state[name]
    archive = io.BytesIO()
    torch.save(state, archive)
    path.write_bytes(_seal(archive.getvalue()))
    with pytest.raises(CheckpointError, match=f"isn't one of a run: its {name} is missing"):
        checkpoint.load(path)
