"""What is known of the CUDA kernels without a GPU: `python -m benchmarks.gpu_static`.

Writes docs/gpu.md: what ptxas says of every kernel, launches counted by the tests' emulator beside
the operations that eager PyTorch dispatches, and bounds from bytes and bandwidth. Needs nvcc and a
C++ compiler; times nothing.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.gpu_accesses import disassembler, widths_in_ptx, widths_in_sass
from benchmarks.gpu_jobs import JOBS, Measured, measure
from benchmarks.gpu_steps import STEPS, Counted, count

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/gpu.md"
KERNELS = sorted((ROOT / "csrc/cuda").glob("*.cu"))
ARCHITECTURES = (80, 90, 100, 120)
FIRST_LINE = "No timing on this page was measured on a GPU: there was none."
THREADS = 256
DTYPES = {"float": "f32", "double": "f64", "__nv_bfloat16": "bf16", "__half": "f16"}


class Device(NamedTuple):
    """What limits a multiprocessor's blocks (CUDA C++ programming guide, compute capabilities)."""

    warps: int
    blocks: int
    shared: int  # bytes; a block costs 1,024 on top of its own


DEVICES = {
    80: Device(64, 32, 164 * 1024),
    90: Device(64, 32, 228 * 1024),
    100: Device(64, 32, 228 * 1024),
    120: Device(48, 24, 100 * 1024),
}
REGISTERS = 65536  # of a multiprocessor, handed out in 256 a warp
# GB/s, of the makers' data sheets: A100 80 GB SXM, H100 SXM, GeForce RTX 4090.
BANDWIDTHS = {"A100": 2039, "H100": 3350, "RTX 4090": 1008}


class Kernel(NamedTuple):
    name: str
    architecture: int
    registers: int
    spills: int  # bytes
    shared: int  # bytes
    in_ptx: int  # bytes of the widest access to global memory
    in_sass: int | None  # likewise; None where nothing disassembles here

    def occupancy(self) -> float:
        """Share of the warps that a multiprocessor can hold."""
        device = DEVICES[self.architecture]
        warps = THREADS // 32
        by_registers = REGISTERS // (-(-self.registers // 8) * 8 * 32) // warps
        by_shared = device.shared // (self.shared + 1024)
        blocks = min(device.blocks, device.warps // warps, by_registers, by_shared)
        return blocks * warps / device.warps


def main() -> int:
    """Compiles, counts, writes the page; returns 1 where a kernel spills."""
    kernels = compiled()
    PAGE.write_text(page(kernels, [measure(job) for job in JOBS], [count(step) for step in STEPS]))
    spilling = [kernel for kernel in kernels if kernel.spills]
    for kernel in spilling:
        print(f"{kernel.name} spills {kernel.spills} bytes on sm_{kernel.architecture}")
    return 1 if spilling else 0


def compiled() -> list[Kernel]:
    """Every kernel for every architecture, compiled by nvcc."""
    pairs = [(source, number) for source in KERNELS for number in ARCHITECTURES]
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda pair: list(_kernels_of(*pair)), pairs)
    return sorted(kernel for some in found for kernel in some)


def _kernels_of(source: Path, architecture: int) -> Iterator[Kernel]:
    with TemporaryDirectory() as folder:
        command = ["nvcc", "-std=c++17", "-O3", f"-I{ROOT / 'csrc/include'}", "-Xptxas=-v"]
        command += [f"-gencode=arch=compute_{architecture},code=sm_{architecture}", "-cubin"]
        command += ["--keep", f"--keep-dir={folder}", "-o", f"{folder}/out.cubin", str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(done.stderr)
        (ptx,) = Path(folder).glob("*.ptx")
        in_ptx = widths_in_ptx(ptx.read_text())
        in_sass = widths_in_sass(Path(folder) / "out.cubin")
    pattern = (
        r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads"
        r".*?Used (\d+) registers([^\n]*)"
    )
    for mangled, stores, loads, registers, rest in re.findall(pattern, done.stderr, re.DOTALL):
        shared = re.search(r"(\d+) bytes smem", rest)
        yield Kernel(
            _readable(mangled),
            architecture,
            int(registers),
            int(stores) + int(loads),
            int(shared.group(1)) if shared else 0,
            in_ptx[mangled],
            in_sass.get(mangled),
        )


def _readable(mangled: str) -> str:
    """`clip f32 x4` of a mangled name: the kernel, its dtype, elements an access, its switches."""
    demangled = subprocess.run(
        ["c++filt", mangled], capture_output=True, text=True, check=True
    ).stdout
    match = re.search(r"::(\w+_kernel)(?:<([^(]*?)>)?\(", demangled)
    if match is None:
        raise ValueError(f"no kernel's name: {demangled}")
    name = match.group(1).removesuffix("_kernel")
    words = [word.strip() for word in (match.group(2) or "").split(",") if word.strip()]
    shown = []
    for word in words:
        number = re.sub(r"^\((\w+)\)", "", word)
        if word in DTYPES:
            shown.append(DTYPES[word])
        elif word.startswith("(bool)") or word in ("true", "false"):
            shown.append("yes" if number in ("1", "true") else "no")
        else:
            shown.append(f"x{number}")
    return " ".join([name, *shown])


def page(
    kernels: Sequence[Kernel], measured: Sequence[Measured], counted: Sequence[Counted]
) -> str:
    """The page's text."""
    read = "the PTX" if disassembler() is None else "the PTX and from the SASS"
    lines = [
        FIRST_LINE,
        "",
        "# The CUDA kernels, as far as they are known without one",
        "",
        *_paragraph(
            f"""Written by `python -m benchmarks.gpu_static`. The kernels run in the tests on an
            emulator (`tests/cuda_emulator`) that counts launches; registers, spills and shared
            memory are what ptxas reports; occupancy is what these allow of a multiprocessor's
            warps, 256 threads a block; the widest access to global memory is read from {read}.
            `scripts/gpu_check.sh` runs everything on a machine that has a GPU."""
        ),
        *_jobs_section(measured),
        *_steps_section(counted),
        *_kernels_section(kernels),
    ]
    return "\n".join(lines) + "\n"


def _paragraph(text: str) -> list[str]:
    return [*textwrap.wrap(" ".join(text.split()), 100), ""]


def _jobs_section(measured: Sequence[Measured]) -> list[str]:
    bounds = " | ".join(f"{name} bound" for name in BANDWIDTHS)
    rates = ", ".join(f"{name} {rate} GB/s" for name, rate in BANDWIDTHS.items())
    lines = [
        "## Launches, bytes and bounds",
        "",
        *_paragraph(
            f"""Launches are counted on a call whose plan is known already. Eager's are the
            operations that PyTorch dispatches for the same job, views aside. Bytes are of
            numbers read and written in the operation's tensors, float32: the least that the job
            needs, and what the kernels ask for, which caches may serve. A bound is the least
            bytes over the memory bandwidth of the data sheet ({rates}): no measurement, and no
            kernel reaches it."""
        ),
        f"| job | launches | eager's operations | least MB | asked for | {bounds} |",
        f"|---|---|---|---|---|{'---|' * len(BANDWIDTHS)}",
    ]
    for job in measured:
        times = [f"{job.least / rate / 1e3:.1f} µs" for rate in BANDWIDTHS.values()]
        lines.append(
            f"| {job.name} | {job.launches} | {job.eager} | {job.least / 1e6:.1f} | "
            f"{job.asked / job.least:.2f} × | {' | '.join(times)} |"
        )
    return [*lines, ""]


def _steps_section(counted: Sequence[Counted]) -> list[str]:
    lines = [
        "## Whole steps",
        "",
        *_paragraph(
            """A critic step is `critic_loss(...).total.backward()`: Wasserstein loss, gradient
            penalty and all gradients. Its kernels of ours are counted by the emulator, torch's
            operations beside them as eager's are, of the recipe with a backward through a
            backward (`benchmarks/bench_critic_step.py`). An operation is one kernel or more.
            Channels-last, the activation kernels of ours take images too; in torch's usual layout
            torch's own do. The tests see that no step waits for the device
            (`tests/cuda_emulator/test_critic_step.py`)."""
        ),
        "| critic step | launches of ours | torch's operations beside them | eager's operations |",
        "|---|---|---|---|",
    ]
    for step in counted:
        lines.append(f"| {step.name} | {step.launches} | {step.operations} | {step.eager} |")
    return [*lines, ""]


def _kernels_section(kernels: Sequence[Kernel]) -> list[str]:
    heads = " | ".join(f"sm_{number}" for number in ARCHITECTURES)
    lines = [
        "## Kernels",
        "",
        *_paragraph(
            """Registers / occupancy for each architecture; spills, shared memory and the widest
            access are the largest, largest and smallest of them. A kernel's name is followed by
            its dtype, by how many elements an access moves where a kernel has a form for
            aligned and one for any memory, and by its switches (RMSprop: momentum, centered)."""
        ),
        f"| kernel | {heads} | spills | shared bytes | widest in PTX | widest in SASS |",
        f"|---|{'---|' * len(ARCHITECTURES)}---|---|---|---|",
    ]
    for name in sorted({kernel.name for kernel in kernels}):
        own = {kernel.architecture: kernel for kernel in kernels if kernel.name == name}
        cells = [f"{own[n].registers} / {own[n].occupancy():.0%}" for n in ARCHITECTURES]
        spills = max(kernel.spills for kernel in own.values())
        shared = max(kernel.shared for kernel in own.values())
        in_ptx = min(kernel.in_ptx for kernel in own.values())
        in_sass = [kernel.in_sass for kernel in own.values() if kernel.in_sass is not None]
        last = f"{min(in_sass)} bytes" if in_sass else "not read"
        cells += [str(spills), str(shared), f"{in_ptx} bytes", last]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
