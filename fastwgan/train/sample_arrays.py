"""Samples as arrays of numpy."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastwgan.train.data import DataSpec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from fastwgan.train.sample_files import Samples


def pixels(images: Tensor) -> npt.NDArray[np.uint8]:
    """Images [n, channels, height, width] in [-1, 1] as uint8 [n, height, width, channels]."""
    scaled = images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).contiguous().numpy()


def write_npy(path: Path, spec: DataSpec, count: int, samples: Samples) -> None:
    """One array: uint8 images, or float32 rows."""
    with path.open("xb") as file:
        _write_array(file, _shape(spec, count), spec.is_image, (each for each, _ in samples))


def write_npz(path: Path, spec: DataSpec, count: int, samples: Samples) -> None:
    """The array `samples`; with labels, also `labels` and what they mean, `classes`."""
    import numpy as np

    labels: list[Tensor] = []

    def remembered() -> Iterator[Tensor]:
        for each, its_labels in samples:
            if its_labels is not None:
                labels.append(its_labels.to(torch.int32))
            yield each

    with zipfile.ZipFile(path, "x") as archive:
        with _member(archive, "samples") as file:
            _write_array(file, _shape(spec, count), spec.is_image, remembered())
        if labels:
            for name, array in (
                ("labels", torch.cat(labels).numpy()),
                ("classes", np.array(spec.classes)),
            ):
                with _member(archive, name) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    return archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True)


def _shape(spec: DataSpec, count: int) -> tuple[int, ...]:
    if not spec.is_image:
        return (count, *spec.shape)
    channels, height, width = spec.shape
    return (count, height, width, channels)


def _write_array(
    file: IO[bytes], shape: tuple[int, ...], is_image: bool, samples: Iterator[Tensor]
) -> None:
    """The format of .npy, its values as they come."""
    # A file mapped into memory would be killed by a signal where a full disk raises OSError here.
    import numpy as np

    kind = np.dtype(np.uint8 if is_image else "<f4")
    header: dict[str, Any] = {
        "descr": np.lib.format.dtype_to_descr(kind),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(file, header)
    for each in samples:
        array = pixels(each) if is_image else each.numpy().astype(kind, copy=False)
        file.write(array.tobytes())
