"""Numbers turned into what the C ABI takes: an int64 table and its address."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from torch import Tensor

_data_ptr = Tensor.data_ptr


def table(values: Iterable[int]) -> tuple[array[int], int]:
    """An int64 table and its address; the table must outlive the call that reads the address."""
    entries = array("q", values)
    return entries, entries.buffer_info()[0]


def pointers(tensors: Iterable[Tensor]) -> tuple[array[int], int]:
    """The tensors' addresses as an int64 table, and the table's own address."""
    return table(map(_data_ptr, tensors))
