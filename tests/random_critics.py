"""Critics put together at random from the layers and the wiring that the engine has rules for.

A critic is a list of moves. Each takes one or two of the tensors made so far and adds one; which
ones, and with what sizes, the numbers of the move decide, so that every list is a critic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOST = 48  # features or pixels of one tensor, so that critics stay small


class Move(NamedTuple):
    """What is done, and numbers that say to what and how."""

    name: str
    first: int
    second: int
    how: int


class Made:
    """The tensors of one call, and which of them may still be written.

    A tensor may be written while no operation has saved it for its backward and no view of it
    lives: autograd would refuse the rest, in the plain step too.
    """

    def __init__(self, x: Tensor) -> None:
        self.tensors = [x]
        self.writable = [False]

    def pick(self, number: int, *, saves: bool = True) -> Tensor:
        index = len(self.tensors) - 1 - number % min(len(self.tensors), 4)
        if saves:
            self.writable[index] = False
        return self.tensors[index]

    def put(self, tensor: Tensor, *, writable: bool = False) -> None:
        self.tensors.append(tensor)
        self.writable.append(writable)

    def like(self, x: Tensor, number: int, *, saves: bool, dim: int | None = None) -> Tensor:
        """Another tensor of x's shape, but for `dim`; x itself, where there is none."""

        def fits(t: Tensor) -> bool:
            free = 0 if dim is None else dim
            return t.dim() == x.dim() and all(
                i == free or t.shape[i] == size for i, size in enumerate(x.shape)
            )

        fitting = [i for i, t in enumerate(self.tensors) if fits(t)]
        index = fitting[number % len(fitting)]
        if saves:
            self.writable[index] = False
        return self.tensors[index]


class RandomCritic(nn.Module):
    """Runs its moves; one call at the start makes the layers."""

    def __init__(self, moves: Sequence[Move], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.moves = list(moves)
        self.layers = nn.ModuleDict()
        torch.manual_seed(6)
        self.double()
        with torch.no_grad():
            self(torch.randn(4, *shape, dtype=torch.float64))
            for module in self.modules():
                for name, parameter in module.named_parameters(recurse=False):
                    if name == "weight" and parameter.dim() > 1:
                        parameter.mul_(1.5)
                    elif name == "bias":  # else a norm behind a norm has a mean of zero
                        parameter.normal_(0, 0.3)

    def layer(self, name: str, make: Callable[[], nn.Module]) -> nn.Module:
        if name not in self.layers:
            self.layers[name] = make().double()
        return self.layers[name]

    def forward(self, x: Tensor) -> Tensor:
        made = Made(x)
        for index, move in enumerate(self.moves):
            MOVES[move.name](self, made, f"{index}", move)
        scores = self._score("input", x)
        for index in range(max(1, len(made.tensors) - 3), len(made.tensors)):
            scores = scores + self._score(f"score{index}", made.tensors[index])
        return scores

    def _score(self, name: str, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        return self.layer(name, lambda: nn.Linear(flat.shape[1], 1))(flat)  # type: ignore[no-any-return]


MOVES: dict[str, Callable[[RandomCritic, Made, str, Move], None]] = {}


def _move(function: Any) -> Any:
    MOVES[function.__name__.strip("_")] = function
    return function


@_move
def _linear(critic: RandomCritic, made: Made, name: str, move: Move) -> None:
    x = made.pick(move.first)
    size = 2 + move.how % 5
    layer = critic.layer(name, lambda: nn.Linear(x.shape[-1], size, bias=move.second % 3 > 0))
    made.put(layer(x), writable=True)


@_move
def _convolution(critic: RandomCritic, made: Made, name: str, move: Move) -> None:
    x = made.pick(move.first)
    if x.dim() != 4:
        x = x.unflatten(-1, (-1, 1)) if x.dim() == 3 else x.view(-1, 1, x.shape[-1], 1)
    groups = 2 if x.shape[1] % 2 == 0 and move.how % 2 else 1
    kind = nn.ConvTranspose2d if move.second % 5 == 4 and x[0, 0].numel() < 10 else nn.Conv2d
    stride = 1 + move.second % 2
    channels = groups * (1 + move.how % 3)
    layer = critic.layer(name, lambda: kind(x.shape[1], channels, 3, stride, 1, groups=groups))
    made.put(layer(x), writable=True)


ACTIVATIONS: list[Callable[[Tensor], Tensor]] = [
    F.relu,
    lambda x: F.leaky_relu(x, 0.2),
    torch.tanh,
    F.silu,
    F.gelu,
    lambda x: F.gelu(x, approximate="tanh"),
    F.softplus,
    Tensor.sigmoid,
    F.elu,
    lambda x: x.clamp(-1, 1),
    lambda x: torch.abs(x) + 0.1,
    lambda x: x.softmax(-1),
    lambda x: (x.square() + 0.5).sqrt(),
    lambda x: (x * 0.3) ** 3,
]

IN_PLACE: list[Callable[[Tensor], Tensor]] = [
    F.relu_,
    lambda x: F.leaky_relu(x, 0.2, inplace=True),
    lambda x: F.elu(x, inplace=True),
    lambda x: x.mul_(0.7),
    lambda x: x.add_(0.2),
    lambda x: x.tanh_(),
]


@_move
def _activation(critic: RandomCritic, made: Made, name: str, move: Move) -> None:
    made.put(ACTIVATIONS[move.how % len(ACTIVATIONS)](made.pick(move.first)))


@_move
def _activation_in_place(critic: RandomCritic, made: Made, name: str, move: Move) -> None:
    """Where a tensor may be written: a shortcut that is added later has been activated too."""
    places = [i for i, writable in enumerate(made.writable) if writable]
    if places:
        index = places[-1 - move.first % min(2, len(places))]
        made.tensors[index] = IN_PLACE[move.how % len(IN_PLACE)](made.tensors[index])
        made.writable[index] = False


@_move
def _prelu(critic: RandomCritic, made: Made, name: str, move: Move) -> None:
    x = made.pick(move.first)
    made.put(critic.layer(name, lambda: nn.PReLU(x.shape[1] if move.how % 2 else 1))(x))


@_move
def _sum(critic: RandomCritic, made: Made, name: str, move: Move) -> None:
    x = made.pick(move.first, saves=False)
    y = made.like(x, move.second, saves=False)
    made.put([x + y, x - 2 * y, torch.add(x, y, alpha=0.5), (x + y) / 2**0.5][move.how % 4])
    made.writable[-1] = True


@_move
def _sum_in_place(critic: RandomCritic, made: Made, name: str, move: Move) -> None:
    x = made.pick(move.first, saves=False)
    h = x * 1
    h += made.like(x, move.second, saves=False)
    made.put(h, writable=True)


@_move
def _product(critic: RandomCritic, made: Made, name: str, move: Move) -> None:
    x = made.pick(move.first)
    made.put(x * torch.tanh(made.like(x, move.second, saves=True)))


@_move
def _matmul(critic: RandomCritic, made: Made, name: str, move: Move) -> None:
    x = made.pick(move.first)
    if x.dim() > 2 and x.shape[1] * x.shape[-2] * x.shape[-2] <= MOST:
        made.put(torch.tanh(x) @ x.transpose(-1, -2) / x.shape[-1])


@_move
def _cat(critic: RandomCritic, made: Made, name: str, move: Move) -> None:
    x = made.pick(move.first, saves=False)
    dim = 1 + move.how % (x.dim() - 1)
    y = made.like(x, move.second, saves=False, dim=dim)
    if x[0].numel() + y[0].numel() <= MOST:
        made.put(torch.cat([x, y], dim))


@_move
def _norm(critic: RandomCritic, made: Made, name: str, move: Move) -> None:
    x = made.pick(move.first)
    if x[0].numel() < 4:
        return
    choice, channels = move.how % 4, x.shape[1]
    if x.dim() == 2 or choice == 0 or x[0, 0].numel() < 4:
        shape = list(x.shape[1:])
        made.put(critic.layer(name, lambda: nn.LayerNorm(shape, eps=0.1))(x))
    elif choice == 1:
        made.put(critic.layer(name, lambda: nn.GroupNorm(1, channels, eps=0.1))(x))
    elif choice == 2:
        made.put(F.instance_norm(x, eps=0.1) + 0.2)
    else:
        kind = nn.BatchNorm2d if x.dim() == 4 else nn.BatchNorm1d
        made.put(critic.layer(name, lambda: kind(channels, eps=0.1))(x))


@_move
def _pool(critic: RandomCritic, made: Made, name: str, move: Move) -> None:
    x = made.pick(move.first)
    if x.dim() != 4:
        return
    size = min(x.shape[2:])
    even = x.shape[2] % 2 == 0 and x.shape[3] % 2 == 0
    if move.how % 6 == 0 and size > 1:
        made.put(F.avg_pool2d(x, 2))
    elif move.how % 6 == 1 and size > 1:
        made.put(F.max_pool2d(x, 2))
    elif move.how % 6 == 2 and even:
        made.put((x[:, :, ::2, ::2] + x[:, :, 1::2, 1::2]) / 2)
    elif move.how % 6 == 3 and x[0].numel() * 4 <= MOST:
        made.put(F.interpolate(x, scale_factor=2, mode=["nearest", "bilinear"][move.second % 2]))
    elif move.how % 6 == 4 and even:
        made.put(F.pixel_unshuffle(x, 2))
    else:
        made.put(F.adaptive_avg_pool2d(x, 1))


@_move
def _shape(critic: RandomCritic, made: Made, name: str, move: Move) -> None:
    x = made.pick(move.first)
    choice = move.how % 6
    if choice == 0:
        made.put(x.flatten(1))
    elif choice == 1 and x.dim() > 2:
        made.put(x.transpose(1, -1))
    elif choice == 2 and x.shape[-1] > 1:
        made.put(x[..., move.second % 2 :: 2])
    elif choice == 3 and x.shape[-1] % 2 == 0:
        made.put(x.chunk(2, -1)[move.second % 2])
    elif choice == 4:
        made.put(x.reshape(x.shape[0], -1, x.shape[1]).permute(0, 2, 1))
    else:
        made.put(x.unsqueeze(1) if x.dim() < 4 else x.squeeze(-1))


@_move
def _reduce(critic: RandomCritic, made: Made, name: str, move: Move) -> None:
    x = made.pick(move.first)
    dim = 1 + move.second % (x.dim() - 1)
    keep = x.dim() == 2
    found = [x.mean, x.sum, x.amax, x.logsumexp][move.how % 4](dim, keepdim=keep)
    made.put(found)


@_move
def _scale(critic: RandomCritic, made: Made, name: str, move: Move) -> None:
    x = made.pick(move.first)
    scale = critic.layer(name, lambda: nn.ParameterList([torch.rand(x.shape[-1]) + 0.5]))[0]  # type: ignore[index]
    made.put([x * scale, x / scale, scale - x, 1 - 0.5 * x][move.how % 4])


@_move
def _deviation(critic: RandomCritic, made: Made, name: str, move: Move) -> None:
    """Of the minibatch, as one more channel."""
    x = made.pick(move.first)
    deviation = (x.var(0, unbiased=False) + 0.1).sqrt().mean()
    shape = list(x.shape)
    shape[1] = 1
    made.put(torch.cat([x, deviation.expand(shape)], 1))
