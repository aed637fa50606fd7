from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from fastwgan.train import ConfigError, Data, load

Array = npt.NDArray[Any]
RANDOM = np.random.default_rng(0)
BYTES = RANDOM.integers(0, 256, (10, 12, 9, 3), np.uint8)  # [n, height, width, channels]


def _load(folder: Path, array: Array) -> Data:
    np.save(folder / "faces.npy", array)
    return load(str(folder / "faces.npy"))


def _load_npz(folder: Path, **arrays: Any) -> Data:
    np.savez(folder / "faces.npz", **arrays)
    return load(str(folder / "faces.npz"))


def _all(data: Data) -> torch.Tensor:
    """What is trained on and held out, in the order of the first value."""
    values = data.values if data.held_out is None else torch.cat((data.values, data.held_out))
    return values[values.flatten(1)[:, 0].argsort()]


def _expected(array: Array) -> torch.Tensor:
    """uint8 [n, height, width, channels] as trained on, in the order of the first value."""
    values = torch.from_numpy(array.transpose(0, 3, 1, 2).astype(np.float64) / 127.5 - 1).float()
    return values[values.flatten(1)[:, 0].argsort()]


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(BYTES, id="NHWC"),
        pytest.param(BYTES.transpose(0, 3, 1, 2), id="NCHW"),
        pytest.param(BYTES.astype(np.int64), id="int64"),
        pytest.param(np.asfortranarray(BYTES), id="fortran"),
        pytest.param(BYTES.astype(np.float32), id="floats to 255"),
        pytest.param(BYTES / 255, id="floats to 1"),
        pytest.param(BYTES / 127.5 - 1, id="floats from -1"),
        pytest.param((BYTES / 127.5 - 1).astype(">f4"), id="big-endian"),
    ],
)
def test_images_of_every_convention_fill_minus_one_to_one(tmp_path: Path, array: Array) -> None:
    data = _load(tmp_path, array)
    assert data.name == "faces"
    assert data.shape == (3, 12, 9)
    torch.testing.assert_close(_all(data), _expected(BYTES), atol=1e-6, rtol=0)
    floating = array.dtype.kind == "f"
    assert len(data.notes) == floating
    assert all("Pixels are floats from" in note for note in data.notes)


@pytest.mark.parametrize("shape", [(10, 12, 9), (10, 12, 9, 1), (10, 1, 12, 9)])
def test_grey_images_have_one_channel(tmp_path: Path, shape: tuple[int, ...]) -> None:
    grey = BYTES[:, :, :, :1]
    data = _load(tmp_path, grey.reshape(shape))
    torch.testing.assert_close(_all(data), _expected(grey), atol=1e-6, rtol=0)


def test_truth_values_are_black_and_white(tmp_path: Path) -> None:
    assert _load(tmp_path, BYTES[..., 0] > 99).values.unique().tolist() == [-1, 1]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int32, np.uint8])
def test_rows_are_as_they_are(tmp_path: Path, kind: type) -> None:
    rows = RANDOM.integers(0, 9, (20, 4)).astype(kind)
    data = _load(tmp_path, rows)
    assert (data.is_image, data.notes) == (False, ())
    both = sorted(_all(data).tolist())
    assert both == sorted(rows.astype(float).tolist())


def test_rows_far_from_unit_scale_are_remarked_on(tmp_path: Path) -> None:
    assert (
        "Rows are trained on as they are" in _load(tmp_path, RANDOM.normal(0, 1e4, (9, 2))).notes[0]
    )


@pytest.mark.parametrize("names", [("samples", "labels"), ("images", "y"), ("anything", "labels")])
@pytest.mark.parametrize("shape", [(10,), (10, 1)])
def test_labels_stand_beside_the_samples(
    tmp_path: Path, names: tuple[str, str], shape: tuple[int, ...]
) -> None:
    labels = np.array([7, 3] * 5)
    images = BYTES.copy()
    images[:, 0, 0, 0] = labels
    data = _load_npz(tmp_path, **{names[0]: images, names[1]: labels.reshape(shape)})
    assert data.classes == ("3", "7")
    assert data.labels is not None
    first = ((data.values[:, 0, 0, 0] + 1) * 127.5).round()
    assert torch.equal(first, 3.0 + 4 * data.labels)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.array(["cat", "dog"] * 5), ("cat", "dog")),
        (np.array([True, False] * 5), ("False", "True")),
        (np.array([2.0, 5.0] * 5), ("2", "5")),
        (np.array([0, 2**63 - 1] * 5), ("0", str(2**63 - 1))),
    ],
)
def test_labels_may_be_of_any_type(tmp_path: Path, labels: Array, classes: tuple[str, ...]) -> None:
    data = _load_npz(tmp_path, x=BYTES, y=labels)
    assert data.classes == classes
    assert data.labels is not None
    assert data.labels.unique().tolist() == [0, 1]


def test_classes_name_the_labels(tmp_path: Path) -> None:
    names = np.array(["cat", "dog", "unseen"])
    data = _load_npz(tmp_path, samples=BYTES, labels=np.array([0, 1] * 5), classes=names)
    assert data.classes == ("cat", "dog", "unseen")


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (RANDOM.random(10), "values of float64, not classes"),
        (np.array([np.nan, 1.0] * 5), "values of float64, not classes"),
        (np.array([b"cat", b"dog"] * 5), "values of |S3, not classes"),
    ],
)
def test_labels_that_are_no_classes_are_left_out(
    tmp_path: Path, labels: Array, reason: str
) -> None:
    data = _load_npz(tmp_path, x=BYTES, y=labels)
    assert data.labels is None
    assert data.notes == (f"The labels were left out: they are {reason}.",)


def test_a_thousand_classes_are_the_most(tmp_path: Path) -> None:
    rows = RANDOM.normal(size=(1001, 2))
    data = _load_npz(tmp_path, x=rows, y=np.arange(1001))
    assert data.labels is None
    assert "1,001 different values, not classes" in data.notes[0]


def test_arrays_left_alone_are_named(tmp_path: Path) -> None:
    data = _load_npz(tmp_path, x_train=BYTES, x_test=BYTES, y_train=np.arange(10) % 2, y_test=[0])
    assert data.classes == ("0", "1")
    assert data.notes == ("The samples are the array x_train; left alone was x_test, y_test.",)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_rows_that_are_not_finite_are_counted_and_left_out(tmp_path: Path, bad: float) -> None:
    rows = RANDOM.normal(size=(20, 3))
    labels = np.arange(20) % 2
    rows[:, 0] = labels
    rows[4, 1] = rows[11, 2] = bad
    data = _load_npz(tmp_path, x=rows, labels=labels)
    assert data.notes == ("There is NaN or Inf in 2 samples of 20, which were left out: 4, 11.",)
    assert len(_all(data)) == 18
    assert data.labels is not None
    assert torch.equal(data.values[:, 0], data.labels.float())


def _damaged(folder: Path, name: str) -> Path:
    path = folder / name
    np.savez(path, x=BYTES) if name.endswith("npz") else np.save(path, BYTES)
    path.write_bytes(path.read_bytes()[:300])
    return path


@pytest.mark.parametrize("name", ["torn.npy", "torn.npz"])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^data was .*{name}, which can't be read: [^\n]*\.$"):
        load(str(_damaged(tmp_path, name)))


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_file_that_is_not_numpys_is_one_sentence(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    path.write_text("dear reader")
    with pytest.raises(
        ConfigError, match=r"x\.np., which can't be read: it holds Python objects, o"
    ):
        load(str(path))


class _Trap:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("a pickle was run",))


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_objects_are_refused_and_never_run(tmp_path: Path, name: str) -> None:
    array = np.array([_Trap()] * 4, dtype=object)
    with (tmp_path / name).open("wb") as file:
        np.savez(file, x=array) if name == "x.npz" else np.save(file, array, allow_pickle=True)
    with pytest.raises(ConfigError, match=r"which can't be read: it holds Python objects, or"):
        load(str(tmp_path / name))


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.zeros(10), "holds an array of shape [10]; it must be rows [n, features] or images"),
        (np.zeros(()), "holds an array of shape []; it must be rows"),
        (np.zeros((4, 1, 1, 1, 1)), "holds an array of shape [4, 1, 1, 1, 1]; it must be rows"),
        (np.zeros((0, 3)), "holds an array of shape [0, 3]; it must be rows"),
        (np.zeros((10, 8, 8, 4)), "its last number must be 1 or 3, the channels"),
        (np.zeros((10, 3, 8, 3)), "its last number must be 1 or 3, the channels"),
        (np.zeros((10, 2), np.complex64), "holds values of type complex64; they must be numbers"),
        (np.full((10, 2), "a"), "holds values of type <U1; they must be numbers"),
        (
            np.full((10, 8, 8), 256),
            "whose pixels range from 256 to 256; they must be from 0 to 255.",
        ),
        (np.full((10, 8, 8), -2.0), "they must be from 0 to 255, or floats in [0, 1] or [-1, 1]."),
        (np.full((10, 2), np.nan), "NaN or Inf in 10 samples of 10, at 0, 1, 2, 3, 4 and 5 more"),
        (np.zeros((1, 2)), "holds 1 sample; it must hold at least two."),
    ],
)
def test_an_array_that_cannot_be_trained_on_is_one_sentence(
    tmp_path: Path, array: Array, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, array)
    assert str(caught.value).startswith("data was ")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        ({"p": BYTES, "q": BYTES}, "holds the arrays p, q; the samples must be its only array"),
        ({"labels": np.zeros(10)}, "holds the arrays labels; the samples must be its only array"),
        ({"x": BYTES, "y": np.zeros(9)}, "labels of shape [9] for 10 samples; they must be one n"),
        ({"x": BYTES, "y": np.eye(10)}, "labels of shape [10, 10] for 10 samples; they must be"),
        (
            {"x": BYTES, "y": np.arange(10), "classes": np.array(["a", "b"])},
            "holds 2 classes, but labels up to 9",
        ),
    ],
)
def test_arrays_that_do_not_belong_together_are_one_sentence(
    tmp_path: Path, arrays: dict[str, Array], problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        _load_npz(tmp_path, **arrays)
    assert problem in str(caught.value)
