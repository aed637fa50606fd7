from collections.abc import Sequence

SPECTRAL_NORM_BY_VALUE: int

class SpectralNormPlan:
    def __init__(self, extents: Sequence[int], dtype: int) -> None: ...
    @property
    def table(self) -> bytes: ...
    @property
    def scratch(self) -> int: ...

def driver_version() -> int: ...
def runtime_version() -> int: ...
def device_count() -> int: ...
def upload(table: bytes, to: int, device: int, stream: int) -> None: ...
def multi_tensor_table(lists: Sequence[int], sizes: int, count: int) -> bytes | None: ...
def weight_clip(
    tensors: int,
    sizes: int,
    count: int,
    dtype: int,
    bound: float,
    table: int,
    device: int,
    stream: int,
) -> None: ...
def rmsprop(
    parameters: int,
    gradients: int,
    square_averages: int,
    momentum_buffers: int,
    gradient_averages: int,
    sizes: int,
    count: int,
    dtype: int,
    learning_rate: float,
    alpha: float,
    epsilon: float,
    weight_decay: float,
    momentum: float,
    weight_clip: float,
    centered: bool,
    maximize: bool,
    table: int,
    device: int,
    stream: int,
) -> None: ...
def gradient_penalty_interpolate(
    real: int,
    fake: int,
    alpha: int,
    interpolates: int,
    rows: int,
    size: int,
    groups: int,
    dtype: int,
    device: int,
    stream: int,
) -> None: ...
def gradient_penalty_scratch(rows: int, size: int) -> int: ...
def gradient_penalty_norm(
    gradient: int,
    rows: int,
    size: int,
    dtype: int,
    kind: int,
    target: float,
    weight: float,
    penalty: int,
    norms: int,
    cotangent: int,
    scratch: int,
    device: int,
    stream: int,
) -> None: ...
def bias_activation_forward(
    values: int,
    bias: int,
    rows: int,
    columns: int,
    dtype: int,
    slope: float,
    device: int,
    stream: int,
) -> None: ...
def bias_activation_scratch(rows: int, columns: int, dtype: int) -> int: ...
def bias_activation_backward(
    cotangents: int,
    outputs: int,
    results: int,
    rows: int,
    columns: int,
    dtype: int,
    slope: float,
    summed_rows: int,
    bias_gradient: int,
    scratch: int,
    device: int,
    stream: int,
) -> None: ...
def spectral_norm_forward(
    pointers: int,
    plan: SpectralNormPlan,
    dtype: int,
    iterations: int,
    u_first: bool,
    epsilon: float,
    device_plan: int,
    sigma: int,
    vectors: int,
    scratch: int,
    table: int,
    device: int,
    stream: int,
) -> None: ...
def spectral_norm_backward(
    pointers: int,
    plan: SpectralNormPlan,
    dtype: int,
    device_plan: int,
    sigma: int,
    sigma_cotangents: int,
    vectors: int,
    scratch: int,
    table: int,
    device: int,
    stream: int,
) -> None: ...
