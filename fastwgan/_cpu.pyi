from typing import Any

from torch import Tensor

class TensorTable:
    def __init__(self, tensors: list[Tensor]) -> None: ...
    @property
    def count(self) -> int: ...
    @property
    def pointers(self) -> int: ...
    @property
    def sizes(self) -> int: ...
    @property
    def bits(self) -> int: ...
    def same_layout(self, other: TensorTable) -> bool: ...

def pooled_like(tensors: list[Tensor]) -> list[Tensor]: ...
def pooled_empty(elements: int, bits: int) -> Tensor: ...
def pool_use() -> tuple[int, int]: ...
def release_pool() -> int: ...
def plain_memory(tensors: list[Tensor]) -> bytes | None: ...
def plain_rmsprop(
    parameters: list[Tensor],
    state: dict[Tensor, Any],
    learning_rate: float,
    alpha: float,
    epsilon: float,
    weight_decay: float,
    momentum: float,
    weight_clip: float,
    centered: bool,
    maximize: bool,
    threads: int,
) -> list[Tensor] | None: ...
def plain_spectral_norm(
    weights: list[Tensor],
    u: list[Tensor],
    v: list[Tensor],
    dims: list[int],
    iterations: int,
    epsilon: float,
    u_first: bool,
    threads: int,
) -> tuple[list[Tensor], Tensor, Tensor] | None: ...
def plain_spectral_norm_backward(
    cotangents: list[Tensor | None],
    normalised: list[Tensor],
    sigma: Tensor,
    vectors: Tensor,
    dims: list[int],
    sigma_cotangents: Tensor | None,
    threads: int,
) -> list[Tensor] | None: ...
def plain_weight_clip(tensors: list[Tensor], bound: float, threads: int) -> bool: ...
def instruction_sets() -> list[str]: ...
def instruction_set() -> str: ...
def set_instruction_set(name: str) -> None: ...
def openmp_threads() -> int: ...
def weight_clip_f32(tensors: int, sizes: int, count: int, bound: float, threads: int) -> None: ...
def weight_clip_f64(tensors: int, sizes: int, count: int, bound: float, threads: int) -> None: ...
def rmsprop_f32(
    parameters: int,
    gradients: int,
    square_averages: int,
    momentum_buffers: int,
    gradient_averages: int,
    sizes: int,
    count: int,
    learning_rate: float,
    alpha: float,
    epsilon: float,
    weight_decay: float,
    momentum: float,
    weight_clip: float,
    centered: bool,
    maximize: bool,
    threads: int,
) -> None: ...
def rmsprop_f64(
    parameters: int,
    gradients: int,
    square_averages: int,
    momentum_buffers: int,
    gradient_averages: int,
    sizes: int,
    count: int,
    learning_rate: float,
    alpha: float,
    epsilon: float,
    weight_decay: float,
    momentum: float,
    weight_clip: float,
    centered: bool,
    maximize: bool,
    threads: int,
) -> None: ...
def spectral_norm_forward_f32(
    layers: int,
    normalised: int,
    sigma: int,
    vectors: int,
    count: int,
    iterations: int,
    u_first: bool,
    epsilon: float,
    threads: int,
) -> None: ...
def spectral_norm_forward_f64(
    layers: int,
    normalised: int,
    sigma: int,
    vectors: int,
    count: int,
    iterations: int,
    u_first: bool,
    epsilon: float,
    threads: int,
) -> None: ...
def spectral_norm_backward_f32(
    layers: int,
    cotangents: int,
    normalised: int,
    sigma: int,
    sigma_cotangents: int,
    vectors: int,
    gradients: int,
    count: int,
    threads: int,
) -> None: ...
def spectral_norm_backward_f64(
    layers: int,
    cotangents: int,
    normalised: int,
    sigma: int,
    sigma_cotangents: int,
    vectors: int,
    gradients: int,
    count: int,
    threads: int,
) -> None: ...
def gradient_penalty_interpolate_f32(
    real: int,
    fake: int,
    alpha: int,
    interpolates: int,
    rows: int,
    size: int,
    groups: int,
    threads: int,
) -> None: ...
def gradient_penalty_interpolate_f64(
    real: int,
    fake: int,
    alpha: int,
    interpolates: int,
    rows: int,
    size: int,
    groups: int,
    threads: int,
) -> None: ...
def gradient_penalty_norm_f32(
    gradient: int,
    rows: int,
    size: int,
    kind: int,
    target: float,
    weight: float,
    penalty: int,
    norms: int,
    cotangent: int,
    threads: int,
) -> None: ...
def gradient_penalty_norm_f64(
    gradient: int,
    rows: int,
    size: int,
    kind: int,
    target: float,
    weight: float,
    penalty: int,
    norms: int,
    cotangent: int,
    threads: int,
) -> None: ...
def bias_activation_forward_f32(
    values: int, bias: int, rows: int, columns: int, slope: float, threads: int
) -> None: ...
def bias_activation_backward_f32(
    cotangents: int,
    outputs: int,
    results: int,
    rows: int,
    columns: int,
    slope: float,
    summed_rows: int,
    bias_gradient: int,
    threads: int,
) -> None: ...
def bias_activation_forward_f64(
    values: int, bias: int, rows: int, columns: int, slope: float, threads: int
) -> None: ...
def bias_activation_backward_f64(
    cotangents: int,
    outputs: int,
    results: int,
    rows: int,
    columns: int,
    slope: float,
    summed_rows: int,
    bias_gradient: int,
    threads: int,
) -> None: ...

class FeedforwardStep:
    def __init__(
        self,
        layers: int,
        slopes: int,
        count: int,
        rows: int,
        loss_rows: int,
        threads: int,
    ) -> None: ...
    def workspace(self) -> int: ...
    def set_workspace(self, address: int) -> None: ...

def plain_wasserstein_step(
    critic: FeedforwardStep,
    real: Tensor,
    fake: Tensor,
    points: Tensor,
    are_alpha: bool,
    wanted: list[Tensor | None],
    kind: int,
    target: float,
    weight: float,
    groups: int,
    together: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, list[Tensor]] | None: ...
def feedforward_critic_forward_f32(step: FeedforwardStep, samples: int, scores: int) -> None: ...
def feedforward_critic_backward_f32(
    step: FeedforwardStep,
    samples: int,
    seeds: int,
    of_all: bool,
    weight_gradients: int,
    bias_gradients: int,
    gradient: int,
) -> None: ...
def feedforward_critic_tangent_f32(
    step: FeedforwardStep, seeds: int, start: int, adds: bool, weight_gradients: int
) -> None: ...
def feedforward_critic_forward_f64(step: FeedforwardStep, samples: int, scores: int) -> None: ...
def feedforward_critic_backward_f64(
    step: FeedforwardStep,
    samples: int,
    seeds: int,
    of_all: bool,
    weight_gradients: int,
    bias_gradients: int,
    gradient: int,
) -> None: ...
def feedforward_critic_tangent_f64(
    step: FeedforwardStep, seeds: int, start: int, adds: bool, weight_gradients: int
) -> None: ...
