"""Which family of networks goes with which samples."""

from __future__ import annotations

from collections.abc import Sequence

from fastwgan.train.config import ConfigError, TrainConfig

_SIDES = range(8, 129, 2)  # pixels a side that convolutions can halve and double again
_SMALLEST_CONVOLVED = 16  # pixels a side; smaller images train faster and better by an MLP
_HALVINGS = 2  # at least, for convolutions to be worth it
_BOTTOM = 4  # pixels a side that are not halved any more


def family_of(config: TrainConfig, shape: Sequence[int]) -> str:
    """`config.model`, or for "auto" the family that suits samples of `shape`.

    Raises:
        ConfigError: the family cannot take such samples.
    """
    if config.model == "auto":
        return _suited(shape)
    if config.model != "mlp":
        _check_convolved(config.model, shape)
    return config.model


def check_size(config: TrainConfig) -> None:
    """Refuses a new run of images of a size that "auto" would silently give to an MLP.

    Raises:
        ConfigError: convolutions can't halve it twice, though images of about its size suit them.
    """
    size = config.image_size
    if config.model != "auto" or size is None or size < _SMALLEST_CONVOLVED:
        return
    if halvings((size, size)) < _HALVINGS:
        below = size // (1 << _HALVINGS) << _HALVINGS
        raise ConfigError(
            "image_size",
            f"was {size}; it must be a multiple of {1 << _HALVINGS} for convolutions: the nearest "
            f"are {below} and {below + (1 << _HALVINGS)}; model mlp takes any.",
        )


def halvings(sides: Sequence[int]) -> int:
    """How often every side can be halved, to no fewer than `_BOTTOM` pixels."""
    smallest, times = min(sides), 0
    while smallest >> times + 1 >= _BOTTOM and not any(side % (2 << times) for side in sides):
        times += 1
    return times


def _suited(shape: Sequence[int]) -> str:
    if len(shape) != 3:
        return "mlp"
    if max(shape[1:]) > _SIDES[-1]:
        raise ConfigError(
            "model",
            f"was 'auto', which goes up to {_SIDES[-1]} pixels a side; for samples of "
            f"{_sized(shape)} set a smaller image_size, or the model to mlp.",
        )
    is_large = min(shape[1:]) >= _SMALLEST_CONVOLVED
    return "dcgan" if is_large and halvings(shape[1:]) >= _HALVINGS else "mlp"


def _check_convolved(model: str, shape: Sequence[int]) -> None:
    if len(shape) != 3 or any(side not in _SIDES for side in shape[1:]):
        raise ConfigError(
            "model",
            f"was {model!r}, which takes images with sides of an even number of pixels from "
            f"{_SIDES[0]} to {_SIDES[-1]}; samples of {_sized(shape)} it does not, but mlp does.",
        )


def _sized(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) if len(shape) > 1 else f"{shape[0]} numbers"
