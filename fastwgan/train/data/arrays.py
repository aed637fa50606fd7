"""Arrays of images or rows, in .npy and .npz files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import torch
from torch import Tensor

from fastwgan.train.config import ConfigError
from fastwgan.train.data import numpy_files
from fastwgan.train.data.dataset import Data
from fastwgan.train.data.image_scale import to_unit
from fastwgan.train.data.naming import counted, some
from fastwgan.train.data.numpy_files import UnreadableArrayError
from fastwgan.train.data.splitting import hold_out

if TYPE_CHECKING:
    from fastwgan.train.data.numpy_files import Array

_SAMPLES = ("samples", "images", "values", "data", "x", "X", "x_train", "X_train", "arr_0")
_LABELS = ("labels", "y", "y_train")
_CLASSES = "classes"
_MOST_CLASSES = 1000


def load(path: Path, name: str) -> Data:
    """The samples of a file, and in an .npz their labels.

    Args:
        path: A `.npy`, or an `.npz` that holds the samples as its only array besides labels, or
            under one of the names samples, images, values, data, x, x_train; labels as `labels` or
            `y`, and what they mean as `classes`.
        name: Of the data.

    Raises:
        ConfigError: the file is damaged, or holds anything that can't be trained on.
    """
    try:
        arrays = numpy_files.read(path)
    except UnreadableArrayError as error:
        _refuse(path, f"can't be read: {error}")
    samples, labels, notes = _chosen(path, arrays)
    if samples.ndim not in (2, 3, 4) or 0 in samples.shape:
        _refuse(
            path,
            f"holds an array of shape {list(samples.shape)}; it must be rows [n, features] or "
            "images [n, height, width], [n, height, width, channels] or "
            "[n, channels, height, width]",
        )
    if samples.dtype.kind not in "buif":
        _refuse(path, f"holds values of type {samples.dtype}; they must be numbers")
    classes: tuple[str, ...] = ()
    if labels is not None:
        labels, classes, more = _labels(path, labels, len(samples), arrays.get(_CLASSES))
        notes += more
    finite, more = _finite(path, samples)
    notes += more
    values, more = _values(path, samples[finite])
    kept = None if labels is None else torch.from_numpy(labels[finite])
    return hold_out(Data(name, values, labels=kept, classes=classes, notes=(*notes, *more)))


def _refuse(path: Path, problem: str) -> NoReturn:
    raise ConfigError("data", f"was {path}, which {problem}.")


def _chosen(path: Path, arrays: Mapping[str, Array]) -> tuple[Array, Array | None, list[str]]:
    """The samples, their labels, and a sentence on the arrays that are neither."""
    label = next((name for name in _LABELS if name in arrays), None)
    candidates = [name for name in arrays if name not in (label, _CLASSES)]
    known = [name for name in _SAMPLES if name in candidates]
    if len(candidates) != 1 and not known:
        _refuse(
            path,
            f"holds the arrays {', '.join(arrays) or '(none)'}; the samples must be its only "
            f"array besides {label or 'labels'}, or be named {', '.join(_SAMPLES[:5])}",
        )
    chosen = known[0] if known else candidates[0]
    others = [name for name in candidates if name != chosen]
    notes = []
    if others:
        notes.append(f"The samples are the array {chosen}; left alone was {some(others)}.")
    return arrays[chosen], None if label is None else arrays[label], notes


def _labels(
    path: Path, labels: Array, rows: int, names: Array | None
) -> tuple[Array | None, tuple[str, ...], list[str]]:
    """Labels from 0, what they mean, and why there are none."""
    if labels.shape == (rows, 1):
        labels = labels[:, 0]
    if labels.shape != (rows,):
        _refuse(
            path,
            f"holds labels of shape {list(labels.shape)} for {counted(rows, 'sample')}; "
            f"they must be one number or text each, [{rows}]",
        )
    is_whole = labels.dtype.kind in "biuU" or (
        labels.dtype.kind == "f" and bool(np.isfinite(labels).all() and (labels % 1 == 0).all())
    )
    if labels.dtype.kind == "f" and is_whole:
        labels = labels.astype(np.int64)
    found, index = np.unique(labels, return_inverse=True)
    if not is_whole or len(found) > _MOST_CLASSES:
        what = f"{len(found):,} different values" if is_whole else f"values of {labels.dtype}"
        return None, (), [f"The labels were left out: they are {what}, not classes."]
    if names is not None and names.dtype.kind == "U" and labels.dtype.kind in "iu":
        if names.ndim != 1 or found.min() < 0 or found.max() >= len(names):
            _refuse(path, f"holds {len(names)} classes, but labels up to {found.max()}")
        return labels.astype(np.int64), tuple(names.tolist()), []
    return index.astype(np.int64), tuple(str(value) for value in found.tolist()), []


def _finite(path: Path, samples: Array) -> tuple[Array, list[str]]:
    """Which samples have neither NaN nor Inf in float32, and a sentence on the others."""
    with np.errstate(over="ignore", invalid="ignore"):
        rows = samples.reshape(len(samples), -1).astype(np.float32)
    finite: Array = np.logical_and.reduce(np.isfinite(rows), axis=1)
    wrong = np.flatnonzero(~finite)
    if not len(wrong):
        return finite, []
    problem = f"NaN or Inf in {counted(len(wrong), 'sample')} of {len(samples):,}"
    names = some([str(row) for row in wrong])
    if 2 * len(wrong) > len(samples):
        _refuse(path, f"holds {problem}, at {names}; at least half must be finite")
    return finite, [f"There is {problem}, which were left out: {names}."]


def _values(path: Path, samples: Array) -> tuple[Tensor, list[str]]:
    """float32, rows as they are and images [n, channels, height, width] in [-1, 1]."""
    if samples.ndim == 2:
        rows = torch.from_numpy(samples.astype(np.float32))
        return rows, _remark(rows)
    if samples.ndim == 3:
        samples = samples[:, None]
    else:
        first, last = (samples.shape[axis] in (1, 3) for axis in (1, 3))
        if first == last:
            _refuse(
                path,
                f"holds an array of shape {list(samples.shape)}; either its second or its last "
                "number must be 1 or 3, the channels",
            )
        if last:
            samples = samples.transpose(0, 3, 1, 2)
    return to_unit(path, samples)


def _remark(rows: Tensor) -> list[str]:
    """A sentence on rows so far from the noise's scale that training them would go badly."""
    spread = rows.std(dim=0, correction=0)
    center = rows.mean(dim=0).abs()
    if ((spread > 0.01) & (spread < 100) & (center < 100)).all():
        return []
    return [
        "Rows are trained on as they are, and some feature's mean is beyond 100 or its deviation "
        "not between 0.01 and 100: bring features to a common scale first, or store them as a "
        "table (.csv or .parquet), whose columns are scaled here."
    ]
