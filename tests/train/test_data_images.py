from __future__ import annotations

import contextlib
import io
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fastwgan.train import ConfigError, Data, load
from fastwgan.train.data import image_reading

CACHE = ".fastwgan-cache"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "faces"
    path.mkdir()
    return path


def _noise(mode: str = "RGB", size: tuple[int, int] = (16, 16), seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    return Image.fromarray(values).convert(mode)


def _fill(folder: Path, count: int = 10, mode: str = "RGB") -> None:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        _noise(mode, seed=number).save(folder / f"{number}.png")


def _all(data: Data) -> torch.Tensor:
    """What is trained on and what is held out, [images, channels, height, width]."""
    return data.values if data.held_out is None else torch.cat((data.values, data.held_out))


def _only(image: Image.Image, folder: Path, name: str = "x.png", **options: object) -> torch.Tensor:
    """One image as it is trained on, [channels, height, width], in 0 … 255."""
    for number in range(2):
        image.save(folder / f"{number}-{name}", **options)
    values = load(str(folder), image_size=image.size[0]).values
    assert torch.equal(values[0], values[1])
    return (values[0] + 1) * 127.5


def test_an_image_of_the_right_size_stays_as_it_is(folder: Path) -> None:
    image = _noise()
    pixels = _only(image, folder).permute(1, 2, 0).round().to(torch.uint8)
    assert np.array_equal(pixels.numpy(), np.asarray(image))


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "gif", "tiff", "ppm", "JPEG"])
def test_every_format_is_read(folder: Path, suffix: str) -> None:
    image = Image.new("RGB", (16, 16), (250, 130, 10))
    image.paste((20, 40, 220), (8, 0, 16, 16))
    pixels = _only(image, folder, f"x.{suffix}")
    for column, color in ((2, (250, 130, 10)), (13, (20, 40, 220))):
        assert (pixels[:, 8, column] - torch.tensor(color)).abs().max() < 12


def test_an_animation_is_its_first_image(folder: Path) -> None:
    frames = [Image.new("L", (8, 8), level) for level in (255, 0, 0)]
    pixels = _only(frames[0], folder, "x.gif", save_all=True, append_images=frames[1:])
    assert pixels.mean() == 255


def test_the_camera_held_upright_is_heeded(folder: Path) -> None:
    image = Image.new("L", (8, 8))
    image.paste(255, (0, 0, 8, 4))  # the upper half
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned clockwise by a quarter
    pixels = _only(image, folder, "x.png", exif=turned.tobytes())
    assert pixels[0, :, 4:].min() == 255
    assert pixels[0, :, :4].max() == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_on_white(folder: Path, mode: str) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (4, 0, 8, 8))
    pixels = _only(image.convert(mode), folder)
    assert pixels[:, :, :4].min() == 255
    assert pixels[:, :, 4:].max() == 0


def test_sixteen_bits_become_eight(folder: Path) -> None:
    image = Image.fromarray(np.full((8, 8), 0x8000, np.uint16))
    assert image.mode == "I;16"
    assert _only(image, folder).unique().tolist() == [128]


@pytest.mark.parametrize("mode", ["L", "1", "RGB"])
def test_grey_images_have_one_channel(folder: Path, mode: str) -> None:
    for number in range(3):
        _noise("L", seed=number).convert(mode).save(folder / f"{number}.png")
    assert load(str(folder)).shape == (1, 16, 16)


def test_one_image_in_colour_makes_all_three_channels(folder: Path) -> None:
    _fill(folder, mode="L")
    _noise().save(folder / "colour.png")
    data = load(str(folder))
    assert data.shape == (3, 16, 16)
    values = _all(data)
    same = (values == values[:, :1]).flatten(1).all(1)
    assert same.sum() == 10


def test_the_middle_square_is_kept(folder: Path) -> None:
    image = Image.new("L", (32, 16), 0)
    image.paste(255, (8, 0, 24, 16))
    for name in "ab":
        image.save(folder / f"{name}.png")
    assert load(str(folder), image_size=16).values.unique().tolist() == [1]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_shrinking_averages(folder: Path, suffix: str) -> None:
    """A chessboard of single pixels becomes grey; without antialiasing it would be black."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    for name in "ab":
        Image.fromarray(board).save(folder / f"{name}.{suffix}", quality=95)
    inner = load(str(folder), image_size=16).values[:, :, 2:-2, 2:-2]
    assert inner.abs().max() < 0.05


@pytest.mark.parametrize(("side", "chosen"), [(5, 8), (8, 8), (100, 64), (128, 128), (300, 128)])
def test_the_size_is_the_smallest_images_own(folder: Path, side: int, chosen: int) -> None:
    _noise("L", (side, side + 40)).save(folder / "small.png")
    _noise("L", (400, 400)).save(folder / "large.png")
    data = load(str(folder))
    assert data.shape == (1, chosen, chosen)
    assert data.notes[0] == (
        f"Images are brought to {chosen}x{chosen} pixels, by the smallest, small.png, whose "
        f"shorter side has {side}; image_size chooses another size."
    )


def test_an_unreadable_image_does_not_decide_the_size(folder: Path) -> None:
    for number in range(4):
        _noise(size=(64, 64), seed=number).save(folder / f"{number}.png")
    buffer = io.BytesIO()
    _noise().save(buffer, "PNG")
    (folder / "small.png").write_bytes(buffer.getvalue()[:-300])
    data = load(str(folder))
    assert data.shape == (3, 64, 64)
    assert data.notes[0].startswith("Of 5 images 1 can't be read: small.png (")


@pytest.mark.parametrize("size", [7, 129, True, 16.0, "16"])
def test_an_image_size_that_cannot_be_is_one_sentence(folder: Path, size: object) -> None:
    _fill(folder, 2)
    with pytest.raises(ConfigError, match=r"^image_size was .*; it must be a whole number from 8"):
        load(str(folder), image_size=size)  # type: ignore[arg-type]


def test_subfolders_are_labels(folder: Path) -> None:
    for level, name in ((0, "night"), (255, "day")):
        (folder / name / "deeper").mkdir(parents=True)
        for number in range(5):
            Image.new("L", (8, 8), level).save(folder / name / f"{number}.png")
        Image.new("L", (8, 8), level).save(folder / name / "deeper" / "x.png")
    data = load(str(folder))
    assert data.name == "faces"
    assert data.classes == ("day", "night")
    assert data.labels is not None
    assert torch.equal(data.values[:, 0, 0, 0], 1 - 2.0 * data.labels)
    assert len(data.labels) == 10


def test_images_beside_the_subfolders_leave_all_unlabelled(folder: Path) -> None:
    _fill(folder / "a")
    _fill(folder / "b")
    _noise().save(folder / "beside.png")
    data = load(str(folder), image_size=8)
    assert data.labels is None
    assert data.notes == (
        "There are no labels, since 1 image lies outside of the subfolders: beside.png.",
    )


def test_a_single_subfolder_is_no_label(folder: Path) -> None:
    _fill(folder / "images")
    data = load(str(folder), image_size=8)
    assert (data.labels, data.classes, data.notes) == (None, (), ())


def _truncated() -> bytes:
    buffer = io.BytesIO()
    _noise(size=(64, 64)).save(buffer, "JPEG")
    return buffer.getvalue()[:900]


def _bomb() -> bytes:
    """A PNG of a few bytes that says it has 50,000 x 50,000 pixels."""
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    content[16:24] = (50_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


def _floats() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.float32)).save(buffer, "TIFF")
    return buffer.getvalue()


HOSTILE = {
    "truncated.jpg": (_truncated, "truncated"),
    "text.png": (lambda: b"dear reader", "it is no image, or a damaged one"),
    "empty.gif": (lambda: b"", "it is no image, or a damaged one"),
    "bomb.png": (_bomb, "it has more pixels than Pillow takes for safe"),
    "floats.tiff": (_floats, "its pixels, of mode F, aren't supported"),
    "postscript.png": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "no image"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("size", [None, 16])
def test_a_hostile_file_is_named_and_left_out(folder: Path, name: str, size: int | None) -> None:
    content, reason = HOSTILE[name]
    _fill(folder)
    (folder / name).write_bytes(content())
    data = load(str(folder), image_size=size)
    assert len(_all(data)) == 10
    note = data.notes[0]
    assert note.startswith(f"Of 11 images 1 can't be read: {name} (")
    assert reason in note
    assert load(str(folder), image_size=size).notes == data.notes  # from the cache, too


def test_a_large_image_that_pillow_only_warns_of_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    _fill(folder)
    _noise(size=(20, 20)).save(folder / "large.png")
    note = load(str(folder), image_size=8).notes[0]
    assert "large.png (it has more pixels than Pillow takes for safe)" in note


def test_links_that_loop_or_lead_nowhere_end(folder: Path) -> None:
    _fill(folder / "a")
    _fill(folder / "b")
    (folder / "a" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "b" / "self").symlink_to(folder / "b", target_is_directory=True)
    (folder / "b" / "gone.png").symlink_to(folder / "nowhere.png")
    data = load(str(folder), image_size=8)
    assert len(_all(data)) == 20
    assert data.notes[0] == ("Links to folders that were read already were left out: a/up, b/self.")
    assert data.notes[1].startswith("Of 21 images 1 can't be read: b/gone.png (")


def test_a_linked_folder_is_read(folder: Path, tmp_path: Path) -> None:
    _fill(tmp_path / "elsewhere")
    (folder / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert len(_all(load(str(folder), image_size=8))) == 10


def test_other_files_are_counted(folder: Path) -> None:
    _fill(folder)
    (folder / "labels.txt").write_text("")
    (folder / "._0.png").write_bytes(b"\0\5\x16\7")  # as macOS leaves them
    (folder / ".git").mkdir()
    assert load(str(folder), image_size=8).notes == (
        "3 files without an image's suffix were left alone: ._0.png, .git, labels.txt.",
    )


@pytest.mark.parametrize("size", [None, 16])
def test_more_unreadable_than_readable_is_one_sentence(folder: Path, size: int | None) -> None:
    _fill(folder, 7)
    for number in range(8):
        (folder / f"bad{number}.png").write_text("not an image")
    with pytest.raises(ConfigError) as caught:
        load(str(folder), image_size=size)
    sentence = str(caught.value)
    assert sentence.startswith(f"data was {folder}, where of 15 images 8 can't be read: bad0.png (")
    assert sentence.endswith(") and 3 more; at least half must be readable.")


@pytest.mark.parametrize("content", [(), ("notes.txt",)])
def test_a_folder_without_images_is_one_sentence(folder: Path, content: tuple[str, ...]) -> None:
    for name in content:
        (folder / name).write_text("")
    with pytest.raises(ConfigError, match=r"faces, a folder without images; it must hold files \."):
        load(str(folder))


def test_names_that_are_no_utf8_are_shown_escaped(folder: Path) -> None:
    _fill(folder)
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png")).write_text("no image")
    for _ in range(2):
        note = load(str(folder), image_size=8).notes[0]
        assert "caf\\udce9.png (it is no image" in note
        note.encode("utf-8")


def _forbid_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise AssertionError("an image was read")

    monkeypatch.setattr(image_reading, "read", fail)
    monkeypatch.setattr(image_reading, "shorter_side", fail)


@pytest.mark.parametrize("size", [None, 8])
def test_images_are_read_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, size: int | None
) -> None:
    _fill(folder / "a")
    _fill(folder / "b")
    first = load(str(folder), image_size=size)
    assert os.listdir(folder / CACHE) == [f"images-{size or 'auto'}.npz"]
    _forbid_reading(monkeypatch)
    again = load(str(folder), image_size=size)
    assert again.fingerprint() == first.fingerprint()
    assert again.notes == first.notes
    assert again.classes == ("a", "b")


def _replace(folder: Path) -> None:
    status = (folder / "0.png").stat()
    _noise(seed=99).save(folder / "0.png")
    os.utime(folder / "0.png", ns=(0, status.st_mtime_ns + 1))


CHANGES: dict[str, Callable[[Path], object]] = {
    "added": lambda folder: _noise(seed=77).save(folder / "new.png"),
    "removed": lambda folder: (folder / "0.png").unlink(),
    "renamed": lambda folder: (folder / "0.png").rename(folder / "z.png"),
    "replaced": _replace,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_noticed(folder: Path, tmp_path: Path, change: str) -> None:
    _fill(folder)
    before = load(str(folder), image_size=16)
    CHANGES[change](folder)
    after = load(str(folder), image_size=16)
    assert after.fingerprint() != before.fingerprint()
    fresh = shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns(CACHE))
    assert load(str(fresh), image_size=16).fingerprint() == after.fingerprint()


@pytest.mark.parametrize("content", [b"", b"PK\3\4 torn", b"\x93NUMPY\1\0"])
def test_a_damaged_cache_is_made_again(folder: Path, content: bytes) -> None:
    _fill(folder)
    first = load(str(folder), image_size=16)
    cache = folder / CACHE / "images-16.npz"
    whole = cache.read_bytes()
    cache.write_bytes(content or whole[: len(whole) // 2])
    assert load(str(folder), image_size=16).fingerprint() == first.fingerprint()
    assert len(cache.read_bytes()) == len(whole)


def test_a_folder_that_cannot_be_written_is_cached_elsewhere(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(folder)
    (folder / CACHE).write_text("in the way of a folder")
    first = load(str(folder), image_size=16)
    (cached,) = (tmp_path / "user-cache" / "fastwgan").iterdir()
    assert cached.name.endswith("-images-16.npz")
    _forbid_reading(monkeypatch)
    assert load(str(folder), image_size=16).fingerprint() == first.fingerprint()


def test_without_any_cache_a_note_says_so(folder: Path, tmp_path: Path) -> None:
    _fill(folder)
    for place in (folder / CACHE, tmp_path / "user-cache"):
        place.write_text("in the way of a folder")
    data = load(str(folder), image_size=16)
    assert len(_all(data)) == 10
    assert data.notes[0].startswith("The images couldn't be cached, and are read again next time:")


def _encoded() -> list[bytes]:
    files = []
    for mode, kind in (
        ("RGB", "JPEG"),
        ("P", "PNG"),
        ("RGB", "WEBP"),
        ("L", "GIF"),
        ("RGB", "BMP"),
    ):
        buffer = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 8
        _noise(mode).save(buffer, kind, exif=exif.tobytes())
        files.append(buffer.getvalue())
    return files


@given(
    content=st.sampled_from(_encoded()),
    changes=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=4)), max_size=8),
    length=st.integers(0, 3000),
)
def test_damaged_bytes_are_an_image_or_unreadable(
    tmp_path: Path, content: bytes, changes: list[tuple[int, bytes]], length: int
) -> None:
    damaged = bytearray(content)
    for place, text in changes:
        damaged[place : place + len(text)] = text
    path = tmp_path / "x"
    path.write_bytes(damaged[:length])
    with image_reading.strict(), contextlib.suppress(image_reading.UnreadableImageError):
        assert image_reading.read(path, 8).shape in ((8, 8), (8, 8, 3))
