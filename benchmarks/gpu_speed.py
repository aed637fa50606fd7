"""The jobs of docs/gpu.md timed on a GPU, beside eager PyTorch: `python -m benchmarks.gpu_speed`.

Events on the stream time batches of calls, ours and eager's by turns; the median of a call is
printed, and the share of the bandwidth that a copy reaches in the same run. It refuses to run where
there is no GPU, and prints no number for a job whose results differ.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable

import torch
from torch import Tensor

from fastwgan import backends
from fastwgan.ops.bias_activation import activate_
from fastwgan.ops.gradient_penalty import interpolate
from fastwgan.ops.spectral_norm.autograd import run_forward
from fastwgan.ops.weight_clip import clip_

SHAPES = (
    (64, 3, 3, 3),
    (64, 64, 4, 4),
    (128, 64, 3, 3),
    (128, 128, 4, 4),
    (256, 128, 3, 3),
    (256, 256, 4, 4),
    (512, 256, 3, 3),
    (1, 8192),
)
ROUNDS, CALLS = 30, 20


def main() -> int:
    """Prints one line a job and backend; returns 1 where there is no GPU or results differ."""
    if not torch.cuda.is_available():
        print("there is no GPU: nothing was timed")
        return 1
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}; copy {_copy_rate():.0f} GB/s"
    )
    names = [name for name in backends.GPU_NAMES if backends.why_unavailable(name) is None]
    wrong = 0
    for job, own, eager, moved in _jobs():
        for name in names:
            with backends.use_backend(name):
                wrong += _race(f"{job} ({name})", own, eager, moved)
    return 1 if wrong else 0


def _race(name: str, own: Callable[[], Tensor], eager: Callable[[], Tensor], moved: int) -> bool:
    expected, found = eager().double(), own().double()
    error = ((found - expected).norm() / expected.norm()).item()
    if not error < 1e-4:
        print(f"{name:<36} WRONG: results differ by {error:.1e}")
        return True
    times: dict[str, list[float]] = {"own": [], "eager": []}
    for _ in range(ROUNDS):
        times["own"].append(_microseconds(own))
        times["eager"].append(_microseconds(eager))
    mine, theirs = (statistics.median(times[key]) for key in ("own", "eager"))
    rate = moved / mine / 1e3
    own_time = f"{mine:9.1f} µs   eager {theirs:9.1f} µs   {theirs / mine:5.2f} x"
    print(f"{name:<36} {own_time}   {rate:6.0f} GB/s")
    return False


def _microseconds(call: Callable[[], object]) -> float:
    """Of one call, as the stream sees it: launch costs show where the device waits for them."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    for _ in range(CALLS):
        call()
    end.record()
    end.synchronize()
    return 1e3 * begin.elapsed_time(end) / CALLS


def _copy_rate() -> float:
    source = torch.ones(1 << 28, device="cuda")
    target = torch.empty_like(source)
    best = min(_microseconds(lambda: target.copy_(source)) for _ in range(5))
    return 2 * 4 * source.numel() / best / 1e3


def _jobs() -> list[tuple[str, Callable[[], Tensor], Callable[[], Tensor], int]]:
    weights = [torch.randn(shape, device="cuda") for shape in SHAPES]
    size = sum(weight.numel() for weight in weights)
    u = [torch.nn.functional.normalize(w.flatten(1).sum(1), dim=0) for w in weights]
    v = [torch.nn.functional.normalize(w.flatten(1).sum(0), dim=0) for w in weights]

    def spectral() -> Tensor:
        return run_forward(weights, u, v, [0] * len(weights), 1, 1e-12, "v")[1]

    def eager_spectral() -> Tensor:
        sigmas = []
        for weight, left, right in zip(weights, u, v, strict=True):
            matrix = weight.flatten(1)
            right.copy_(torch.nn.functional.normalize(matrix.t() @ left, dim=0))
            left.copy_(torch.nn.functional.normalize(matrix @ right, dim=0))
            sigma = left @ (matrix @ right)
            weight / sigma
            sigmas.append(sigma)
        return torch.stack(sigmas)

    for _ in range(200):  # until u and v no longer move, so that the two can be compared
        eager_spectral()
    real, fake = torch.rand(2, 64, 3 * 64 * 64, device="cuda")
    alpha = torch.rand(64, device="cuda")
    values, bias = torch.rand(1 << 14, 128, device="cuda"), torch.zeros(128, device="cuda")

    def activate() -> Tensor:
        activate_(values, bias, 0.2)
        return values

    def clip() -> Tensor:
        clip_(weights, 10.0)
        return torch.stack([weight.sum() for weight in weights[:1]])

    def eager_clip() -> Tensor:
        for weight in weights:
            weight.clamp_(-10.0, 10.0)
        return torch.stack([weight.sum() for weight in weights[:1]])

    return [
        ("spectral norm forward, 8 layers", spectral, eager_spectral, 16 * size),
        (
            "interpolation",
            lambda: interpolate(real, fake, alpha),
            lambda: alpha[:, None] * real + (1 - alpha[:, None]) * fake,
            12 * real.numel(),
        ),
        (
            "bias and LeakyReLU",
            activate,
            lambda: torch.nn.functional.leaky_relu_(values.add_(bias), 0.2),
            8 * values.numel(),
        ),
        ("clipping", clip, eager_clip, 8 * size),
    ]


if __name__ == "__main__":
    with torch.no_grad():
        sys.exit(main())
