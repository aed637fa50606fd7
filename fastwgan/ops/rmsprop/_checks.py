"""Gradients and state must fit their parameters: a kernel would write past a short one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fastwgan.ops._checks import check_dense_real, check_writable


def check_lists(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    square_averages: Sequence[Tensor],
    momentum_buffers: Sequence[Tensor],
    gradient_averages: Sequence[Tensor],
) -> None:
    """Raises unless every list that is given has one fitting tensor for each parameter.

    Raises:
        TypeError: An entry is no tensor, or is sparse, complex or integer.
        ValueError: A list's length, or a tensor's shape or device, is not its parameter's; or a
            tensor that is written is expanded.
    """
    check_writable(parameters, "parameters")
    _check_fit(gradients, parameters, "gradients")
    for name, tensors, required in (
        ("square_averages", square_averages, True),
        ("momentum_buffers", momentum_buffers, False),
        ("gradient_averages", gradient_averages, False),
    ):
        if tensors or required:
            _check_fit(tensors, parameters, name)
            check_writable(tensors, name)


def _check_fit(tensors: Sequence[Tensor], parameters: Sequence[Tensor], name: str) -> None:
    if len(tensors) != len(parameters):
        raise ValueError(
            f"{name} had {len(tensors)} tensors; it must have one for each of the "
            f"{len(parameters)} parameters."
        )
    for index, (tensor, parameter) in enumerate(zip(tensors, parameters, strict=True)):
        check_dense_real(tensor, f"{name}[{index}]")
        if tensor.shape != parameter.shape or tensor.device != parameter.device:
            raise ValueError(
                f"{name}[{index}] had shape {tuple(tensor.shape)} on {tensor.device}; it must have "
                f"its parameter's, {tuple(parameter.shape)} on {parameter.device}."
            )
