"""Triton's interpreter made fit for the suite, and its launches counted.

Four changes: it turns float32 into bfloat16 by cutting off, where every GPU rounds to the nearest,
and mistakes subnormal numbers; it cannot read the bound of a loop with a numpy that makes no number
of an array of one element; it takes the outcome of a comparison for a number when it spreads it
over a block; and it prepares triton.language anew for every call of a device function, which is
half of its time.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch

from fastwgan.ops import _triton

LAUNCHES: Counter[str] = Counter()


def prepare() -> None:
    """To be called once, in a process started with TRITON_INTERPRET=1."""
    _round_to_nearest()
    _keep_truth_values()
    _prepare_the_language_once()
    _count_launches()


def _round_to_nearest() -> None:
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    cast = InterpreterBuilder.cast_impl

    def cast_impl(self: Any, src: Any, dst_type: Any) -> Any:
        pair = (src.dtype.scalar, dst_type.scalar)
        data = np.ascontiguousarray(src.data)
        if pair == (tl.float32, tl.bfloat16):
            bits = torch.from_numpy(data).to(torch.bfloat16).view(torch.uint16).numpy()
            return TensorHandle(bits.reshape(src.data.shape), tl.bfloat16)
        if pair == (tl.bfloat16, tl.float32):
            return TensorHandle((data.astype(np.uint32) << 16).view(np.float32), tl.float32)
        return cast(self, src, dst_type)

    InterpreterBuilder.cast_impl = cast_impl


def _keep_truth_values() -> None:
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder

    original = InterpreterBuilder.binary_op

    def binary_op(self: Any, lhs: Any, rhs: Any, op: Any) -> Any:
        result = original(self, lhs, rhs, op)
        if result.data.dtype == np.bool_:
            result.dtype = tl.int1
        return result

    InterpreterBuilder.binary_op = binary_op


def _prepare_the_language_once() -> None:
    import triton.language as tl
    from triton.runtime import interpreter

    class Lasting:
        def restore(self) -> None:
            pass

    prepare, prepared = interpreter._patch_lang, set()

    def prepare_once(fn: Any) -> Lasting:
        if id(fn.__globals__) not in prepared:
            prepared.add(id(fn.__globals__))
            prepare(fn)
            tl.tensor.__index__ = lambda tensor: int(tensor.handle.data.item())
        return Lasting()

    interpreter._patch_lang = prepare_once


def _count_launches() -> None:
    launch = _triton.launch

    def counting(kernel: Any, programs: int, *arguments: Any, **others: Any) -> None:
        LAUNCHES[kernel.__name__] += programs > 0
        launch(kernel, programs, *arguments, **others)

    _triton.launch = counting
