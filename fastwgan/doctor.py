"""`fastwgan doctor`: what is installed, what runs, and whether it computes the right numbers."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fastwgan
import fastwgan._cpu as _cpu
from fastwgan import _gpu, backends
from fastwgan.ops import (
    bias_activation,
    feedforward_critic,
    gradient_penalty,
    rmsprop,
    spectral_norm,
    weight_clip,
)

_GREEN, _RED, _END = "\033[32m", "\033[31m", "\033[0m"
# Of the largest entry: the kernels and torch add up a few thousand float32 terms in other orders.
_TOLERANCE = 1e-5


def main() -> int:
    """Prints the report; returns 0 when every self-test passed, else 1."""
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    _print_versions()
    _print_backends()
    failures = 0
    print("\nself-test against the reference")
    for name, error in _self_tests():
        if isinstance(error, Exception):
            failures += 1
            print(f"  {name:<44} RAISED {type(error).__name__}: {error}")
            continue
        passed = error <= _TOLERANCE  # False for NaN
        failures += not passed
        word = "ok" if passed else "WRONG"
        if colour:
            word = f"{_GREEN if passed else _RED}{word}{_END}"
        print(f"  {name:<44} {word:<6} largest error {error:.1e}")
    print(f"\n{'all right' if failures == 0 else f'{failures} self-tests failed'}")
    return 0 if failures == 0 else 1


def _print_versions() -> None:
    print(f"fastwgan {fastwgan.__version__}   {Path(fastwgan.__file__).parent}")
    print(f"  python   {platform.python_version()} on {platform.platform()}")
    print(f"  torch    {torch.__version__}, {torch.get_num_threads()} threads")
    runtime = openmp_runtime()
    if _cpu.openmp_threads() == 0:
        runtime = "none: built without OpenMP, so the kernels run on one thread"
    print(f"  OpenMP   {runtime}")


def _print_backends() -> None:
    print("\nbackends")
    for name in backends.NAMES:
        reason = backends.why_unavailable(name)
        print(f"  {name:<10} {'available' if reason is None else f'not available: {reason}'}")
    forced = backends.forced()
    print(f"  {'choice':<10} {'automatic' if forced is None else f'{forced}, forced'}")
    if forced is None:
        print(f"  {'':<10} tensors in CPU memory: cpu; on a GPU: {_choice_on_gpu()}")
    print(f"  {'cpu runs':<10} {backends.instruction_set()}, of {backends.instruction_sets()}")


def _choice_on_gpu() -> str:
    """The backend that the automatic choice takes for tensors on a GPU, were there any."""
    usable = [name for name in backends.GPU_NAMES if backends.why_unavailable(name) is None]
    usable = [name for name in usable if _device_of(name).type != "cpu"]
    return usable[0] if usable else "reference, with a warning"


def openmp_runtime() -> str:
    """The OpenMP libraries loaded in this process, which should be one: torch's."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return "not known on this system"
    paths = {line.split()[-1] for line in maps.read_text().splitlines() if "omp" in line}
    runtimes = ("libgomp", "libomp", "libiomp")
    libraries = sorted(path for path in paths if Path(path).name.startswith(runtimes))
    return ", ".join(libraries) or "none loaded"


_ON_CPU_ALONE = ("feedforward_critic",)
Case = Callable[[torch.device], list[Tensor]]


def _self_tests() -> Iterator[tuple[str, float | Exception]]:
    """(name, largest error relative to the largest entry) of every operation and backend.

    A backend that raises, as Triton does without a C compiler, hands its exception instead.
    """
    cases: dict[str, Case] = {
        "spectral_norm": _spectral_norm,
        "gradient_penalty": _gradient_penalty,
        "weight_clip": _weight_clip,
        "rmsprop": _rmsprop,
        "bias_activation": _bias_activation,
        "feedforward_critic": _feedforward_critic,
    }
    cpu = torch.device("cpu")
    for backend in backends.available():
        if backend == "reference":
            continue
        device = _device_of(backend)
        sets = backends.instruction_sets() if backend == "cpu" else [str(device)]
        for where in sets:
            for op, case in cases.items():
                if op in _ON_CPU_ALONE and backend != "cpu":
                    continue
                with backends.use_backend("reference"):
                    expected = case(cpu)
                with ExitStack() as stack:
                    stack.enter_context(backends.use_backend(backend))
                    if backend == "cpu":
                        stack.enter_context(backends.use_instruction_set(where))
                    yield f"{op} on {backend} ({where})", _outcome(case, device, expected)


def _outcome(case: Case, device: torch.device, expected: list[Tensor]) -> float | Exception:
    try:
        return _error(case(device), expected)
    except Exception as error:  # reported, and counted as a failure
        return error


def _device_of(backend: str) -> torch.device:
    """Where a backend's tensors are."""
    if backend == "cpu" or "cpu" in _gpu.device_types(backend):
        return torch.device("cpu")
    return torch.device("cuda" if torch.cuda.is_available() else "xpu")


def _error(actual: list[Tensor], expected: list[Tensor]) -> float:
    errors = [
        ((a.cpu() - e).abs().max() / e.abs().max()).item()
        for a, e in zip(actual, expected, strict=True)
    ]
    return max(errors) if all(error == error for error in errors) else float("nan")


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _spectral_norm(device: torch.device) -> list[Tensor]:
    g = _generator()
    weights = [torch.randn(shape, generator=g).to(device) for shape in ((96, 33), (31, 5, 3, 3))]
    u = [torch.randn(weight.shape[0], generator=g).to(device) for weight in weights]
    v = [torch.randn(weight[0].numel(), generator=g).to(device) for weight in weights]
    for weight in weights:
        weight.requires_grad_()
    normalised, sigma = spectral_norm.spectral_norm(
        weights, u, v, dims=[0, 0], n_power_iterations=2, eps=1e-12, first="v"
    )
    loss = sum((n * n.detach().sin()).sum() for n in normalised) + sigma.sum()
    gradients = torch.autograd.grad(loss, weights)
    return [*(n.detach() for n in normalised), sigma.detach(), *u, *v, *gradients]


def _gradient_penalty(device: torch.device) -> list[Tensor]:
    g = _generator()
    real, fake = torch.randn(2, 9, 77, generator=g).to(device)
    alpha = torch.rand(9, generator=g).to(device)
    points = gradient_penalty.interpolate(real, fake, alpha).requires_grad_()
    penalty, norms = gradient_penalty.norm_penalty(points, kind="wgan-gp", target=1.0, weight=10.0)
    (cotangent,) = torch.autograd.grad(penalty, points)
    return [points.detach(), penalty.detach(), norms.detach(), cotangent]


def _weight_clip(device: torch.device) -> list[Tensor]:
    tensors = [torch.randn(size, generator=_generator()).to(device) for size in (1, 67, 1000)]
    weight_clip.clip_(tensors, 0.5)
    return tensors


def _bias_activation(device: torch.device) -> list[Tensor]:
    g = _generator()
    outputs, cotangents = torch.randn(2, 300, 67, generator=g).to(device)
    bias_activation.activate_(outputs, torch.randn(67, generator=g).to(device), 0.2)
    sums = bias_activation.differentiate(cotangents, outputs, cotangents, 0.2, summed_rows=200)
    assert sums is not None
    return [outputs, cotangents, sums]


def _feedforward_critic(device: torch.device) -> list[Tensor]:
    g = _generator()
    samples = torch.randn(27, 9, 8, 3, generator=g).permute(0, 3, 1, 2)
    keep = torch.rand(27, 33, generator=g).gt(0.5).float()
    layers = [
        _layer(g, (17, 3, 4, 4), slope=0.2, stride=(2, 2), padding=(1, 1)),
        _layer(g, (33, 17, 4, 4), slope=0.2, mask=2 * keep),
        _layer(g, (1, 33, 1, 1), slope=1.0),
    ]
    run = feedforward_critic.score(samples, layers, 18)
    adjoint = run.backward(torch.ones_like(run.scores), [(True, True)] * 3, of_all=False)
    start = adjoint.sin().contiguous(memory_format=torch.channels_last)
    pairs = run.tangent(start)
    return [run.scores, adjoint, *(t for pair in pairs for t in pair if t is not None)]


def _layer(g: torch.Generator, shape: tuple[int, ...], **form: Any) -> feedforward_critic.Layer:
    weight = torch.randn(shape, generator=g)
    weight /= weight[0].numel() ** 0.5
    return feedforward_critic.Layer(weight, torch.randn(shape[0], generator=g), **form)


def _rmsprop(device: torch.device) -> list[Tensor]:
    g = _generator()
    parameters, gradients, square_averages, buffers, means = (
        [torch.rand(size, generator=g).to(device) for size in (1, 67, 1000)] for _ in range(5)
    )
    for mean in means:
        mean.mul_(0.1)  # the variance must stay above zero
    for square_average in square_averages:
        square_average.add_(0.1)
    rmsprop.rmsprop_(
        parameters,
        gradients,
        square_averages,
        buffers,
        means,
        lr=0.01,
        alpha=0.9,
        eps=1e-8,
        weight_decay=0.01,
        momentum=0.9,
        maximize=False,
        weight_clip=0.5,
    )
    return [*parameters, *square_averages, *buffers, *means]
