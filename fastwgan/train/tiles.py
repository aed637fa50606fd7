"""Images side by side in one picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fastwgan.train.extras import require
from fastwgan.train.figures import figure

_MOST, _LEAST = 10, 4  # images a side
_PIXELS = 56  # a tile's larger side, where the image isn't larger itself
_WIDEST = 960  # dots of a picture, as far as `_LEAST` tiles allow
_GAP = 6
_FRAME = -0.55  # between the tiles, in the units of the images
_MARGIN = 24


def columns(shape: Sequence[int]) -> int:
    """How many images [channels, height, width] a side a square picture has room for."""
    side = max(_PIXELS, *shape[1:])
    return max(_LEAST, min(_MOST, _WIDEST // (side + _GAP)))


def tile(images: Tensor) -> Tensor:
    """Images [n, channels, height, width] in [-1, 1] as one picture [rows, columns, 3] in [0, 1].

    Small ones are enlarged by bicubic interpolation, so that 8x8 pixels read as the strokes they
    sample; large ones keep their pixels. Neither grey nor RGB, the mean of the channels is shown.
    """
    if images.shape[1] not in (1, 3):
        images = images.mean(dim=1, keepdim=True)
    scale = max(1.0, _PIXELS / max(images.shape[2:]))
    size = [round(side * scale) for side in images.shape[2:]]
    enlarged = functional.interpolate(images, size=size, mode="bicubic").clamp(-1, 1)
    framed = functional.pad(enlarged, (_GAP, 0, _GAP, 0), value=_FRAME)
    across = columns(images.shape[1:])
    framed = functional.pad(framed, (0, 0) * 3 + (0, -len(framed) % across), value=_FRAME)
    rows = [torch.cat(list(row), dim=2) for row in torch.split(framed, across)]
    picture = functional.pad(torch.cat(rows, dim=1), (0, _GAP, 0, _GAP), value=_FRAME)
    return (picture.expand(3, -1, -1).permute(1, 2, 0) + 1) / 2


def picture_png(picture: Tensor) -> bytes:
    """A picture of `tile` as the bytes of a PNG, one pixel each."""
    image = require("PIL.Image", "drawing samples/*.png")
    pixels = (picture * 255).round().to(torch.uint8).contiguous()
    buffer = io.BytesIO()
    image.fromarray(pixels.numpy()).save(buffer, format="PNG")
    return buffer.getvalue()


def pair_figure(fake: Tensor, real: Tensor, title: str) -> Any:
    """Two pictures of `tile` side by side, one dot of the file a pixel of the picture."""
    height, width = fake.shape[:2]
    whole = (2 * width + 3 * _MARGIN, height + 4 * _MARGIN)
    drawn = figure(*whole, layout="none")
    drawn.text(0.5, 1 - 0.8 * _MARGIN / whole[1], title, ha="center", va="center", fontsize=13)
    for column, (name, picture) in enumerate((("generated", fake), ("real", real))):
        corner = (_MARGIN + column * (width + _MARGIN), _MARGIN)
        place = (corner[0] / whole[0], corner[1] / whole[1], width / whole[0], height / whole[1])
        axes = drawn.add_axes(place)
        axes.imshow(picture.numpy(), interpolation="none")
        axes.set_title(name, fontsize=12)
        axes.set_axis_off()
    return drawn
