"""The kernels of an installed wheel on plain memory, for a Python that no torch is there for.

python -W error tests/kernels_alone.py: says what ran; fails where a result is wrong.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.machinery
import importlib.util
import math
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

VALUES = [0.5, -2.0, 3.0, -0.25, 0.0, 1e30]


def extension() -> ModuleType:
    """fastwgan._cpu, without the package, which imports torch."""
    (path,) = Path(sysconfig.get_path("platlib")).glob("fastwgan/_cpu*.so")
    loader = importlib.machinery.ExtensionFileLoader("fastwgan._cpu", str(path))
    spec = importlib.util.spec_from_file_location(loader.name, path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def _clip(cpu: ModuleType, bits: int) -> None:
    kind = ctypes.c_float if bits == 32 else ctypes.c_double
    memory = (kind * 7)(*VALUES, math.nan)
    pointers, sizes = (ctypes.c_void_p * 1)(ctypes.addressof(memory)), (ctypes.c_int64 * 1)(7)
    clip = getattr(cpu, f"weight_clip_f{bits}")
    clip(ctypes.addressof(pointers), ctypes.addressof(sizes), 1, 0.5, 1)
    assert list(memory)[:6] == [max(-0.5, min(0.5, value)) for value in VALUES]
    assert math.isnan(memory[6])


def _activate(cpu: ModuleType, bits: int) -> None:
    kind = ctypes.c_float if bits == 32 else ctypes.c_double
    memory, bias = (kind * 6)(*VALUES), (kind * 3)(1.0, 0.5, -0.5)
    forward = getattr(cpu, f"bias_activation_forward_f{bits}")
    forward(ctypes.addressof(memory), ctypes.addressof(bias), 2, 3, 0.25, 1)
    for place, value in enumerate(VALUES):
        total = kind(value + bias[place % 3]).value
        assert memory[place] == (total if total > 0 else 0.25 * total)


def _refuse(cpu: ModuleType) -> None:
    with contextlib.suppress(ValueError):
        cpu.weight_clip_f32(0, 0, 1, 0.5, 1)
        raise AssertionError("a missing address was taken")


def main() -> None:
    cpu = extension()
    chosen = cpu.instruction_sets()
    for name in chosen:
        cpu.set_instruction_set(name)
        for bits in (32, 64):
            _clip(cpu, bits)
            _activate(cpu, bits)
    _refuse(cpu)
    print(f"Python {sys.version.split()[0]}: {', '.join(chosen)}")


if __name__ == "__main__":
    main()
