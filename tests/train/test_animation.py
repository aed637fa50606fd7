from __future__ import annotations

import itertools
from pathlib import Path

import numpy
import pytest
from PIL import Image

from fastwgan.train import RunFolder, animation
from fastwgan.train.animation import animate, evenly
from fastwgan.train.grids import frame


def _folder(path: Path, steps: list[int], size: tuple[int, int] = (300, 200)) -> RunFolder:
    """A run's folder with a grid of noise for each step."""
    folder = RunFolder(path)
    folder.grids.mkdir()
    noise = numpy.random.default_rng(0)
    for step in steps:
        pixels = noise.integers(0, 256, (size[1], size[0], 3), dtype=numpy.uint8)
        Image.fromarray(pixels).save(frame(folder, step))
    return folder


def _film(folder: RunFolder) -> list[Image.Image]:
    with Image.open(folder.animation) as film:
        pictures = []
        for place in range(film.n_frames):
            film.seek(place)
            pictures.append(film.convert("RGB"))
    return pictures


def _durations(folder: RunFolder) -> list[int]:
    with Image.open(folder.animation) as film:
        found = []
        for place in range(film.n_frames):
            film.seek(place)
            film.load()
            found.append(film.info["duration"])
    return found


def test_every_grid_is_a_frame_and_the_last_one_stays(tmp_path: Path) -> None:
    folder = _folder(tmp_path, [0, 500, 1000])
    assert animate(folder, 1000) == folder.animation
    assert [picture.size for picture in _film(folder)] == [(300, 244)] * 3
    assert _durations(folder) == [600, 600, 2000]


def test_a_frame_is_its_grid_with_a_caption(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.grids.mkdir()
    for step, color in ((0, "#c02020"), (600, "#20c020"), (1200, "#2020c0")):
        Image.new("RGB", (400, 100), color).save(frame(folder, step))
    animate(folder, 1200)
    bars = []
    for picture, channel in zip(_film(folder), range(3), strict=True):
        pixels = numpy.asarray(picture, dtype=int)
        assert (pixels[:96].argmax(axis=2) == channel).all()
        caption = pixels[100:]
        assert caption[2].min() > 240  # white paper
        assert caption[:, :120].min() < 80  # dark letters
        middle = caption[22, 150:388]
        bars.append((middle[:, 0] < 120).mean())  # how much of the track the bar has covered
    assert bars == pytest.approx([0, 0.5, 1], abs=0.03)


def test_captions_tell_frames_apart(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.grids.mkdir()
    for step in (1000, 2000):
        Image.new("RGB", (300, 50), "#808080").save(frame(folder, step))
    animate(folder, 10**9)
    one, other = (numpy.asarray(picture)[50:, :140] for picture in _film(folder))
    assert (abs(one.astype(int) - other) > 60).any()


def test_a_long_run_has_no_more_frames_than_a_film_can_hold() -> None:
    drawn = [(step, Path(str(step))) for step in range(0, 5000, 7)]
    kept = evenly(drawn, 100)
    assert len(kept) == 100
    assert kept[0] == drawn[0]
    assert kept[-1] == drawn[-1]
    gaps = {b - a for (a, _), (b, _) in itertools.pairwise(kept)}
    assert max(gaps) - min(gaps) <= 7
    assert evenly(drawn[:3], 100) == drawn[:3]


def test_a_film_has_no_more_bytes_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _folder(tmp_path, list(range(30)), (640, 120))  # noise: the hardest to compress
    monkeypatch.setattr(animation, "_SIZES", ((30, 640), (10, 320), (5, 160)))
    monkeypatch.setattr(animation, "MOST_BYTES", 60_000)
    animate(folder, 30)
    assert folder.animation.stat().st_size <= 60_000
    pictures = _film(folder)
    assert 2 <= len(pictures) < 30
    assert pictures[0].width < 640


def test_without_grids_there_is_no_film(tmp_path: Path) -> None:
    assert animate(RunFolder(tmp_path), 100) is None
    assert list(tmp_path.iterdir()) == []


def test_the_same_grids_give_the_same_film(tmp_path: Path) -> None:
    folder = _folder(tmp_path, [0, 1])
    animate(folder, 1)
    before = folder.animation.read_bytes()
    animate(folder, 1)
    assert folder.animation.read_bytes() == before
