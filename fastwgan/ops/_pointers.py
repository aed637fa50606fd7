"""Numbers turned into what the C ABI takes: an int64 table and its address."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor

_data_ptr = Tensor.data_ptr


class Table(NamedTuple):
    """An int64 table and its address; it must outlive the call that reads the address."""

    entries: array[int]
    address: int


def table(values: Iterable[int]) -> Table:
    """The values as an int64 table."""
    entries = array("q", values)
    return Table(entries, entries.buffer_info()[0])


def is_aligned(tensor: Tensor) -> bool:
    """Whether the address is a multiple of an element's size; that of bytes viewed may not be."""
    return tensor.data_ptr() % tensor.element_size() == 0


def packed(tensor: Tensor) -> Tensor:
    """The tensor as a kernel reads it, contiguous, aligned, not negated lazily: or a copy."""
    contiguous = tensor.resolve_neg().contiguous()
    return contiguous if is_aligned(contiguous) else contiguous.clone()


def pointers(tensors: Iterable[Tensor]) -> Table:
    """The tensors' addresses as an int64 table."""
    return table(map(_data_ptr, tensors))
