"""Where the engine may do what is right for a CPU alone."""

from __future__ import annotations

from torch import Tensor

from fastwgan import backends


def is_for_cpu(tensor: Tensor) -> bool:
    """Whether a tensor is in CPU memory, and not only for a GPU's kernels to be emulated there.

    Emulated and interpreted kernels so run in the passes that a GPU's run in.
    """
    return tensor.is_cpu and backends.forced() not in backends.GPU_NAMES
