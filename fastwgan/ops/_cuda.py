"""What every call of a CUDA kernel needs: dtype, stream, memory layout, tables in device memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from fastwgan import _gpu
from fastwgan.ops._pointers import Table

DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}  # fw_dtype

_MOST_TABLES = 64


def place(tensor: Tensor) -> tuple[int, int]:
    """Device index and the current stream's address for the tensor's device; (-1, 0) on a CPU."""
    device = tensor.device
    if device.type != "cuda":
        return -1, 0
    return device.index, torch.cuda.current_stream(device).cuda_stream


# Tables uploaded for a stream, the latest last. A captured graph reads its tables at every replay,
# so those that a capture has used stay for good.
_tables: OrderedDict[tuple[bytes, int, int], Tensor] = OrderedDict()
_kept: list[Tensor] = []


def device_table(table: bytes, like: Tensor) -> Tensor:
    """The bytes in the memory of `like`'s device: [len(table)] uint8, uploaded at most once.

    The upload is a kernel on the current stream, and the table is kept for that stream: whatever
    reads it later is ordered behind. Nothing waits. Under capture a table that is not there yet is
    uploaded by the graph itself, at every replay, and is not kept for others.
    """
    device, stream = place(like)
    key = (table, device, stream)
    capturing = device >= 0 and torch.cuda.is_current_stream_capturing()
    found = _tables.get(key)
    if found is not None:
        _tables.move_to_end(key)
        if capturing:
            _kept.append(found)
        return found
    memory = torch.empty(len(table), dtype=torch.uint8, device=like.device)
    _gpu.cuda_module().upload(table, memory.data_ptr(), device, stream)
    if not capturing:
        _tables[key] = memory
        if len(_tables) > _MOST_TABLES:
            _tables.popitem(last=False)
    return memory


def uploaded_table(addresses: Sequence[int], sizes: Table, like: Tensor) -> Tensor | None:
    """What a call on so many tensors reads its pointers from; None where they travel by value."""
    table = _gpu.cuda_module().multi_tensor_table(addresses, sizes.address, len(sizes.entries))
    return None if table is None else device_table(table, like)


def scratch(size: int, like: Tensor) -> Tensor:
    """Uninitialised memory of `size` bytes or more on `like`'s device, freed in stream order."""
    return torch.empty(max(size, 16), dtype=torch.uint8, device=like.device)


def is_dense(tensor: Tensor) -> bool:
    """True for memory without gaps in one of torch's formats, and with the sign it shows."""
    if tensor.is_neg():
        return False
    return (
        tensor.is_contiguous()
        or (tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last))
        or (tensor.dim() == 5 and tensor.is_contiguous(memory_format=torch.channels_last_3d))
    )


def packed(tensor: Tensor) -> Tensor:
    """The tensor as contiguous memory of the sign it shows; itself where it is that."""
    return tensor.detach().resolve_neg().contiguous()
