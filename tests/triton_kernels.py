"""Every Triton kernel with the arguments it is compiled for, and its compilation ahead of time."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

TARGETS = ("sm_80", "sm_90", "sm_100", "sm_120", "gfx942")
TYPES = {"float32": "fp32", "float64": "fp64", "bfloat16": "bf16", "float16": "fp16"}


class Case(NamedTuple):
    """One kernel for one element type."""

    name: str
    kernel: Any
    signature: dict[str, str]
    constants: dict[str, Any]
    aligned: tuple[str, ...]  # arguments that are multiples of 16, as a usual call's are
    widest: int  # bytes of the widest access to the data, promised


def cases() -> Iterator[Case]:
    """All kernels, dtypes and compile-time forms."""
    import triton.language as tl

    for dtype, short in TYPES.items():
        wide = "float64" if dtype == "float64" else "float32"
        types = {"WIDE": getattr(tl, wide), "element": short, "wide": TYPES[wide]}
        matrix = getattr(tl, dtype)
        yield from _elementwise(dtype, {**types, "DTYPE": matrix})
        yield from _bias_activation(dtype, types)
        yield from _gradient_penalty(dtype, types)
        yield from _spectral_norm(dtype, {**types, "MATRIX": matrix})


def _elementwise(dtype: str, types: dict[str, Any]) -> Iterator[Case]:
    from fastwgan.ops.rmsprop.triton import rmsprop_kernel
    from fastwgan.ops.weight_clip.triton import weight_clip_kernel

    sizes = {"BLOCK": 1024, "CHUNK": 4096, "DTYPE": types["DTYPE"], "WIDE": types["WIDE"]}
    tables = {"tensors": "*i64", "chunks": "*i64"}
    yield _case(f"weight_clip {dtype}", weight_clip_kernel, tables, sizes)
    for momentum in (False, True):
        for centered in (False, True):
            forms = {**sizes, "MOMENTUM": momentum, "CENTERED": centered}
            name = f"rmsprop {dtype} momentum={momentum} centered={centered}"
            yield _case(name, rmsprop_kernel, tables, forms)


def _bias_activation(dtype: str, types: dict[str, Any]) -> Iterator[Case]:
    from fastwgan.ops.bias_activation import triton as module

    element, wide = f"*{types['element']}", f"*{types['wide']}"
    ints = {"rows": "i32", "columns": "i32"}
    for columns in (16, 128):
        height, width = module._tile(columns, getattr(torch, dtype))
        tile = {"WIDE": types["WIDE"], "WIDTH": width, "HEIGHT": height}
        for relu in (False, True):
            yield _case(
                f"bias_activation_forward {dtype} width={width} relu={relu}",
                module.bias_activation_forward_kernel,
                {"values": element, "bias": element, **ints},
                {**tile, "BIASED": True, "RELU": relu},
            )
            yield _case(
                f"bias_activation_backward {dtype} width={width} relu={relu}",
                module.bias_activation_backward_kernel,
                {
                    **dict.fromkeys(("cotangents", "outputs", "results"), element),
                    "partial": wide,
                    **ints,
                    "summed_rows": "i32",
                },
                {**tile, "SUMMED": True, "RELU": relu, "STEP": max(64, tile["HEIGHT"])},
            )
        yield _case(
            f"bias_activation_sum {dtype} width={width}",
            module.bias_activation_sum_kernel,
            {"partial": wide, "sums": element, "parts": "i32", "columns": "i32"},
            tile,
            widest=8,
        )


def _gradient_penalty(dtype: str, types: dict[str, Any]) -> Iterator[Case]:
    from fastwgan.ops.gradient_penalty import triton as module

    element, wide = f"*{types['element']}", f"*{types['wide']}"
    for size in (16, 128, 12288):
        height, width = module._tile(size)
        tile = {"WIDE": types["WIDE"], "HEIGHT": height, "WIDTH": width}
        step = width if size <= width else 4096
        parts = max(size // step, 1)
        ints = {"rows": "i32", "size": "i32"}
        yield _case(
            f"interpolate {dtype} width={width}",
            module.interpolate_kernel,
            {
                "real": element,
                "fake": element,
                "alpha": wide,
                "interpolates": element,
                **ints,
                "rows_each": "i32",
            },
            tile,
        )
        tile = {**tile, "STEP": step}
        yield _case(
            f"squares {dtype} width={width}",
            module.squares_kernel,
            {"gradient": element, "squares": wide, **ints, "parts": "i32"},
            tile,
        )
        reduced = 1 << (parts - 1).bit_length()
        for kind in range(3):
            yield _case(
                f"norm_penalty {dtype} width={width} kind={kind}",
                module.norm_penalty_kernel,
                {
                    "gradient": element,
                    **dict.fromkeys(("squares", "penalty", "norms", "cotangent"), wide),
                    **ints,
                    "parts": "i32",
                },
                {**tile, "KIND": kind, "PARTS": reduced, "ROWS": module._REDUCED // reduced},
            )


def _spectral_norm(dtype: str, types: dict[str, Any]) -> Iterator[Case]:
    from fastwgan.ops.spectral_norm import _triton_backward, _triton_division, _triton_forward

    wide = f"*{types['wide']}"
    tables = {"layers": "*i64", "programs": "*i64"}
    forward = {**tables, "scratch": wide, "sums": "*fp64"}
    forms = {"MATRIX": types["MATRIX"], "WIDE": types["WIDE"]}
    for given in (False, True):
        name = f"spectral_norm columns {dtype} given={given}"
        yield _case(name, _triton_forward.columns_kernel, forward, {**forms, "GIVEN": given})
    yield _case(
        f"spectral_norm columns_sum {dtype}",
        _triton_forward.columns_sum_kernel,
        forward,
        {"WIDE": types["WIDE"]},
        widest=4,
    )
    for source, dots in ((0, False), (0, True), (1, False), (2, False)):
        yield _case(
            f"spectral_norm rows {dtype} source={source} dots={dots}",
            _triton_forward.rows_kernel,
            forward,
            {**forms, "SOURCE": source, "DOTS": dots},
        )
    for iterated, u_first in ((False, False), (True, False), (True, True)):
        yield _case(
            f"spectral_norm divide {dtype} iterated={iterated} u_first={u_first}",
            _triton_division.divide_kernel,
            {**forward, "sigma": wide, "vectors": wide},
            {**forms, "ITERATED": iterated, "U_FIRST": u_first},
        )
    dots = {**tables, "dots": "*fp64"}
    yield _case(f"spectral_norm dots {dtype}", _triton_backward.dots_kernel, dots, forms)
    for with_sigma in (False, True):
        yield _case(
            f"spectral_norm gradients {dtype} with_sigma={with_sigma}",
            _triton_backward.gradients_kernel,
            {**dots, "sigma": wide, "vectors": wide, "sigma_cotangents": wide},
            {**forms, "WITH_SIGMA": with_sigma},
        )


def _case(
    name: str, kernel: Any, types: dict[str, str], constants: dict[str, Any], widest: int = 16
) -> Case:
    """The types of the arguments that `types` and `constants` leave out are the kernel's own."""
    signature = {}
    for parameter in kernel.params:
        if parameter.name in constants:
            signature[parameter.name] = "constexpr"
        else:
            signature[parameter.name] = types.get(parameter.name) or parameter.annotation_type
    missing = [argument for argument, kind in signature.items() if not kind]
    assert not missing, f"{name}: no type for {missing}"
    aligned = tuple(a for a in types if a not in ("parts", "summed_rows", "rows", "rows_each"))
    return Case(name, kernel, signature, constants, aligned, widest)


class Compiled(NamedTuple):
    """What is known of a compiled kernel without running it."""

    registers: int
    spilled: int  # bytes stored on NVIDIA; registers on AMD
    shared: int
    widest: int  # bytes of the widest global access


def compiled(case: Case, target: str) -> Compiled:
    """Compiles for a target that need not be here."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    amd = target.startswith("gfx")
    where = GPUTarget("hip", target, 64) if amd else GPUTarget("cuda", int(target[3:]), 32)
    names = list(case.signature)
    hints = {(names.index(name),): [["tt.divisibility", 16]] for name in case.aligned}
    source = ASTSource(case.kernel, case.signature, case.constants, hints)
    found = triton.compile(source, target=where)
    shared = int(found.metadata.shared)
    if amd:
        text = found.asm["amdgcn"]
        vector = int(_first(r"\.vgpr_count:\s*(\d+)", text))
        spilled = sum(map(int, re.findall(r"\.[sv]gpr_spill_count:\s*(\d+)", text)))
        widths = {"": 4, "x2": 8, "x3": 12, "x4": 16}
        accesses = re.findall(r"global_(?:load|store)_dword(x\d|)\b", text)
        return Compiled(vector, spilled, shared, max(map(widths.__getitem__, accesses), default=0))
    usage = _resources(found.asm["cubin"])
    accesses = re.findall(r"(?:ld|st)\.global[.\w:]*?(?:\.v(\d))?\.[busf](\d+)", found.asm["ptx"])
    widest = max(int(count or 1) * int(bits) // 8 for count, bits in accesses)
    has_stack = int(_first(r"STACK:(\d+)", usage)) + int(_first(r"LOCAL:(\d+)", usage)) > 0
    spilled = _spilled(found.asm["ptx"], target) if has_stack else 0
    return Compiled(int(_first(r"REG:(\d+)", usage)), spilled, shared, widest)


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, f"{pattern} is not in {text[:200]!r}"
    return match.group(1)


def _resources(cubin: bytes) -> str:
    """cuobjdump's line of registers and memory; Triton brings cuobjdump along."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(cubin)
        return _said("cuobjdump", "-res-usage", str(file))


def _spilled(ptx: str, target: str) -> int:
    """Bytes that ptxas says it spills; a stack may also be that of a called division."""
    architecture = _first(r"\.target (sm_\w+)", ptx)
    tool = "ptxas-blackwell" if int(target[3:]) >= 100 else "ptxas"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.ptx"
        file.write_text(ptx)
        said = _said(tool, "-v", f"--gpu-name={architecture}", str(file), "-o", f"{folder}/out")
    return int(_first(r"(\d+) bytes spill stores", said))


def _said(tool: str, *arguments: str) -> str:
    import triton

    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / tool
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr
