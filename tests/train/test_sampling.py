from __future__ import annotations

import dataclasses
import os
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from fastwgan.train import CheckpointError, ConfigError, DataSpec, TrainConfig, fit, load, plots
from fastwgan.train.data.tables import from_frame
from fastwgan.train.restored import restore
from fastwgan.train.sampling import stream, write_samples
from tests.train.settings import small

LATENT = 4
IMAGES = DataSpec("faces", (3, 6, 5))
GREY = DataSpec("digits", (1, 8, 8))
POINTS = DataSpec("points", (2,))
PEOPLE = pd.DataFrame(
    {
        "age": [18, 30, 44, 95] * 25,
        "city": pd.Categorical(["Rome", "Oslo"] * 50, categories=["Oslo", "Rome", "Paris"]),
        "gap": pd.Series([None, 5, 7, 9] * 25, dtype="Int64"),
        "kind": ["a", "b", "b", "b"] * 25,
        "since": pd.to_datetime(["2020-01-01", "2021-06-30"] * 50),
        "nothing": pd.Series([None] * 100, dtype=object),
    }
)


class _Generator(nn.Module):
    """Noise, and labels where there are any, to samples that tell which label they had."""

    def __init__(self, shape: Sequence[int], classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(LATENT, torch.Size(shape).numel()))
        self.shape = shape
        self.classes = classes

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        samples = (noise @ self.weight).tanh().view(-1, *self.shape)
        assert (labels is None) == (self.classes == 0)
        if labels is not None:
            samples[:, 0] = labels.view(-1, *[1] * (samples.ndim - 2)) / self.classes
        return samples


@dataclass(frozen=True)
class _Source:
    spec: DataSpec
    generator: nn.Module
    label_counts: list[int]
    config: TrainConfig
    device: torch.device


def _source(spec: DataSpec, label_counts: Sequence[int] = ()) -> _Source:
    generator = _Generator(spec.shape, len(label_counts)).eval()
    config = small(latent_size=LATENT)
    return _Source(spec, generator, list(label_counts), config, torch.device("cpu"))


def _labelled(spec: DataSpec, names: Sequence[str] = ("cat", "dog", "eel")) -> _Source:
    return _source(dataclasses.replace(spec, classes=tuple(names)), [30, 10, 0])


def _people(label: str | None = None) -> _Source:
    data = from_frame(PEOPLE, "people", label)
    counts = [] if data.labels is None else data.labels.bincount().tolist()
    return _source(data.spec(), counts)


def _drawn(source: _Source, count: int, seed: int = 0, **options: Any) -> Tensor:
    return torch.cat([samples for samples, _ in stream(source, count, seed, **options)])


def _bytes(samples: Tensor) -> np.ndarray[Any, Any]:
    """Images as uint8 [n, height, width, channels]."""
    scaled = ((samples.double() + 1) * 127.5).round().clamp(0, 255)
    return scaled.permute(0, 2, 3, 1).numpy().astype(np.uint8)


def test_samples_are_those_of_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "draw", lambda *arguments: None)
    PEOPLE.to_parquet(tmp_path / "people.parquet")
    data = str(tmp_path / "people.parquet")
    fit(small(data=data, pack=1), out=tmp_path / "run", callbacks=())
    restored = restore(tmp_path / "run")
    table = restored.spec.table
    assert table is not None
    for count in (1, 511, 512, 1300):
        write_samples(restored, tmp_path / "rows.csv", count, seed=5, overwrite=True)
        expected = table.frame(restored.draw(count, seed=5)[0]).to_csv(index=False)
        assert (tmp_path / "rows.csv").read_text() == expected


@pytest.mark.parametrize("batch", [1, 7, 512])
def test_the_batch_changes_samples_by_rounding_only(batch: int) -> None:
    source = _labelled(POINTS)
    shares = source.label_counts
    whole, parts = (
        [
            torch.cat(each)
            for each in zip(*stream(source, 600, 3, batch=b, shares=shares), strict=True)
        ]
        for b in (512, batch)
    )
    assert torch.equal(parts[1], whole[1])
    torch.testing.assert_close(parts[0], whole[0], rtol=1e-6, atol=1e-6)
    assert (
        max(len(samples) for samples, _ in stream(source, 600, 3, batch=batch, shares=shares))
        <= batch
    )


def test_the_seed_decides_and_more_begin_alike() -> None:
    source = _source(POINTS)
    assert torch.equal(_drawn(source, 700, 1)[:50], _drawn(source, 50, 1))
    assert not torch.equal(_drawn(source, 50, 1), _drawn(source, 50, 2))


def test_labels_are_as_frequent_as_in_the_data() -> None:
    source = _labelled(POINTS)
    (labels,) = [
        torch.cat(
            [l for _, l in stream(source, 4000, 0, shares=source.label_counts) if l is not None]
        )
    ]
    assert (labels.bincount(minlength=3) / 4000 - torch.tensor([0.75, 0.25, 0])).abs().max() < 0.03


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_images_become_an_array_that_can_be_trained_on(tmp_path: Path, suffix: str) -> None:
    source = _source(IMAGES)
    out = tmp_path / f"faces{suffix}"
    assert write_samples(source, out, 600) == ()
    stored = np.load(out) if suffix == ".npy" else np.load(out)["samples"]
    assert stored.dtype == np.uint8
    assert np.array_equal(stored, _bytes(_drawn(source, 600)))
    assert load(str(out)).shape == (3, 6, 5)


def test_labels_stand_in_the_archive(tmp_path: Path) -> None:
    source = _labelled(IMAGES)
    out = tmp_path / "faces.npz"
    assert write_samples(source, out, 600, classes=["dog", "cat"]) == ()
    with np.load(out) as stored:
        assert sorted(stored.files) == ["classes", "labels", "samples"]
        assert stored["classes"].tolist() == ["cat", "dog", "eel"]
        expected = np.round((stored["labels"] / 3 + 1) * 127.5)
        assert np.array_equal(stored["samples"][:, 0, 0, 0], expected)
    data = load(str(out))
    assert data.classes == ("cat", "dog", "eel")


def test_an_array_alone_says_that_it_holds_no_labels(tmp_path: Path) -> None:
    (note,) = write_samples(_labelled(POINTS), tmp_path / "x.npy", 5)
    assert note == "This format holds no labels; an .npz or, for images, a folder does."


@pytest.mark.parametrize("spec", [IMAGES, GREY])
def test_images_become_a_folder(tmp_path: Path, spec: DataSpec) -> None:
    source = _source(spec)
    write_samples(source, tmp_path / "deep" / "faces", 12)
    paths = sorted((tmp_path / "deep" / "faces").iterdir())
    assert [path.name for path in paths] == [f"{number:06}.png" for number in range(12)]
    expected = _bytes(_drawn(source, 12))
    for path, image in zip(paths, expected, strict=True):
        assert np.array_equal(np.asarray(Image.open(path)).reshape(image.shape), image)


def test_labelled_images_become_a_folder_a_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = _labelled(GREY, ("cat", "../up", "eel"))
    write_samples(source, tmp_path / "out" / "faces", 60)
    folder = tmp_path / "out" / "faces"
    assert sorted(os.listdir(folder)) == ["cat", "class-1"]
    assert os.listdir(tmp_path / "out") == ["faces"]
    names = sorted(path.name for path in folder.glob("*/*.png"))
    assert names == [f"{number:06}.png" for number in range(60)]
    data = load(str(folder))
    assert data.classes == ("cat", "class-1")
    assert data.labels is not None
    first = data.values[:, 0, 0, 0]
    assert (first - data.labels / 3).abs().max() < 0.01


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (5, 2, 3), (9, 3, 3)])
def test_images_become_a_grid(tmp_path: Path, count: int, rows: int, columns: int) -> None:
    source = _source(GREY)
    write_samples(source, tmp_path / "grid.png", count)
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    assert grid.shape == (rows * 34 + 2, columns * 34 + 2)  # 8 pixels, four times as large
    for number, image in enumerate(_bytes(_drawn(source, count))):
        top, left = number // columns * 34 + 2, number % columns * 34 + 2
        tile = grid[top : top + 32, left : left + 32]
        assert np.array_equal(tile, np.kron(image[:, :, 0], np.ones((4, 4), np.uint8)))


@pytest.mark.parametrize("label", [None, "kind"])
@pytest.mark.parametrize("count", [3, 17_000])
def test_a_table_becomes_a_table(tmp_path: Path, label: str | None, count: int) -> None:
    source = _people(label)
    notes = write_samples(source, tmp_path / "rows.parquet", count)
    rows = pd.read_parquet(tmp_path / "rows.parquet")
    assert notes == ()
    assert len(rows) == count
    assert rows.dtypes.astype(str).equals(PEOPLE.dtypes.astype(str))
    assert rows["city"].cat.categories.tolist() == ["Oslo", "Rome", "Paris"]
    assert rows["age"].between(18, 95).all()
    if count > 1000:
        assert rows["gap"].isna().any()
        assert rows["gap"].notna().any()
        assert set(rows["kind"]) == {"a", "b"}
    write_samples(source, tmp_path / "rows.csv", count)
    text = pd.read_csv(tmp_path / "rows.csv", parse_dates=["since"])
    assert (text["age"] == rows["age"]).all()
    assert (text["kind"] == rows["kind"]).all()
    assert (text["since"] == rows["since"]).all()
    assert text["gap"].isna().equals(rows["gap"].isna())


def test_labels_of_a_table_are_a_column_again(tmp_path: Path) -> None:
    source = _people("kind")
    write_samples(source, tmp_path / "rows.csv", 400, classes=["a"])
    assert set(pd.read_csv(tmp_path / "rows.csv")["kind"]) == {"a"}


def test_a_label_column_that_was_not_trained_on_is_noted(tmp_path: Path) -> None:
    spec = from_frame(PEOPLE, "people", "kind").spec()
    (note,) = write_samples(_source(spec), tmp_path / "rows.csv", 10)
    assert note == "Column kind is left out, since the run wasn't conditional on it."
    assert "kind" not in pd.read_csv(tmp_path / "rows.csv")


def test_the_same_samples_are_the_same_bytes(tmp_path: Path) -> None:
    for source, name in (
        (_labelled(IMAGES), "x.npz"),
        (_people(), "x.csv"),
        (_people(), "x.parquet"),
    ):
        contents = []
        for folder in (tmp_path / "one", tmp_path / "two"):
            write_samples(source, folder / name, 40, seed=9)
            contents.append((folder / name).read_bytes())
        assert contents[0] == contents[1]


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x"])
def test_progress_is_told(tmp_path: Path, name: str) -> None:
    seen: list[int] = []
    write_samples(_source(GREY), tmp_path / name, 1100, watch=seen.append)
    assert seen == [512, 1024, 1100]


@pytest.mark.parametrize(
    ("spec", "name", "sentence"),
    [
        (
            IMAGES,
            "x.jpg",
            "images are written to a folder (a name without a suffix), .png, .npy or",
        ),
        (
            IMAGES,
            "x.csv",
            "images are written to a folder (a name without a suffix), .png, .npy or",
        ),
        (POINTS, "x.csv", "rows are written to an .npy or .npz."),
        (POINTS, "x", "rows are written to an .npy or .npz."),
        (None, "x.npy", "rows of a table are written to a .csv or .parquet."),
        (None, "x.xlsx", "rows of a table are written to a .csv or .parquet."),
    ],
)
def test_a_wrong_suffix_is_one_sentence(
    tmp_path: Path, spec: DataSpec | None, name: str, sentence: str
) -> None:
    source = _people() if spec is None else _source(spec)
    with pytest.raises(ConfigError) as caught:
        write_samples(source, tmp_path / name, 3)
    assert str(caught.value).startswith(f"out was {tmp_path / name}; {sentence}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"count": 0}, r"^count was 0; it must be a whole number from 1 to "),
        ({"count": 2.5}, r"^count was 2\.5; it must be a whole number"),
        ({"seed": -1}, r"^seed was -1; it must be a whole number from 0 to 4294967295\.$"),
        ({"batch": 513}, r"^batch was 513; it must be a whole number from 1 to 512\.$"),
        ({"classes": ["dgo"]}, r"^class was 'dgo' \(did you mean dog\?\); it must be one of cat, "),
        ({"classes": ["eel"]}, r"^class was 'eel', which no sample trained on belongs to\.$"),
        ({"count": 40_000}, r"^count was 40000; a grid holds at most \d+ of these images; a fold"),
    ],
)
def test_a_wrong_argument_is_one_sentence(
    tmp_path: Path, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        write_samples(_labelled(GREY), tmp_path / "x.png", **{"count": 3, **arguments})
    assert list(tmp_path.iterdir()) == []


def test_a_class_of_a_run_without_labels_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^class was 'cat', but this run isn't conditional on lab"
    ):
        write_samples(_source(GREY), tmp_path / "x.png", 3, classes=["cat"])


def test_nothing_is_overwritten_unless_told(tmp_path: Path) -> None:
    out = tmp_path / "x.npy"
    out.write_text("precious")
    with pytest.raises(
        ConfigError, match=r"^out was .*x\.npy, which exists; choose another name, or --overwrite"
    ):
        write_samples(_source(POINTS), out, 3)
    assert out.read_text() == "precious"
    write_samples(_source(POINTS), out, 3, overwrite=True)
    assert np.load(out).shape == (3, 2)
    assert list(tmp_path.iterdir()) == [out]


def test_a_folder_of_samples_alone_is_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "faces"
    out.mkdir()
    write_samples(_source(GREY), out, 9)  # an empty one is free
    with pytest.raises(ConfigError, match=r"faces, which exists; choose another name"):
        write_samples(_source(GREY), out, 3)
    write_samples(_labelled(GREY), out, 3, overwrite=True)
    write_samples(_source(GREY), out, 3, overwrite=True)
    assert sorted(os.listdir(out)) == ["000000.png", "000001.png", "000002.png"]


@pytest.mark.parametrize("name", ["holiday.png", "sub/deeper/000000.png", "notes.txt"])
def test_a_folder_with_anything_else_is_never_overwritten(tmp_path: Path, name: str) -> None:
    out = tmp_path / "faces"
    write_samples(_source(GREY), out, 2)
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_text("precious")
    with pytest.raises(ConfigError, match=r"isn't overwritten since it holds more than samples: "):
        write_samples(_source(GREY), out, 3, overwrite=True)
    assert (out / name).read_text() == "precious"


def test_a_file_in_place_of_a_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "faces").write_text("")
    with pytest.raises(
        ConfigError, match=r"faces, which is a file already; choose another name\.$"
    ):
        write_samples(_source(GREY), tmp_path / "faces", 3, overwrite=True)


NAMES = {"x.npy": GREY, "x.npz": GREY, "x.png": GREY, "x": GREY, "x.csv": None, "x.parquet": None}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_broken_off_leaves_nothing(tmp_path: Path, name: str) -> None:
    spec = NAMES[name]
    source = _people() if spec is None else _source(spec)

    def interrupt(done: int) -> None:
        if done > 512:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_samples(source, tmp_path / name, 2000, watch=interrupt)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def _full_disk(size: int) -> Iterator[None]:
    """Files can't grow beyond `size` bytes; Python then raises OSError, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.png", "x.csv", "x.parquet"])
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    spec = NAMES[name]
    source = _people() if spec is None else _source(spec)
    with _full_disk(200), pytest.raises(OSError, match="File too large"):
        write_samples(source, tmp_path / name, 1000)
    assert list(tmp_path.iterdir()) == []


def test_a_generator_that_diverged_is_one_sentence(tmp_path: Path) -> None:
    source = _source(POINTS)
    with torch.no_grad():
        next(source.generator.parameters())[:] = torch.nan
    with pytest.raises(
        CheckpointError, match=r"^the generator gives NaN or Inf: its run had diver"
    ):
        write_samples(source, tmp_path / "x.npy", 3)
    assert list(tmp_path.iterdir()) == []
