"""Bad input: one sentence that names the argument, before anything is drawn, run or written."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fastwgan import gradient_penalty

REAL = torch.randn(6, 3, 2, 2)
FAKE = torch.randn(6, 3, 2, 2)
GOOD: dict[str, Any] = {"real": REAL, "fake": FAKE}

BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "critic None": ({"critic": None}, TypeError, "critic was None; it must be callable"),
    "critic tensor": ({"critic": REAL}, TypeError, "critic was of type Tensor"),
    "kind unknown": ({"kind": "wgan"}, ValueError, "kind was 'wgan'; it must be one of"),
    "kind None": ({"kind": None}, ValueError, "kind was None"),
    "kind list": ({"kind": ["r1"]}, ValueError, "kind was"),
    "real None": ({"real": None}, TypeError, "real was None"),
    "real array": ({"real": REAL.numpy()}, TypeError, "real was of type ndarray"),
    "real list": ({"real": [1.0]}, TypeError, "real was of type list"),
    "real integers": ({"real": REAL.long()}, TypeError, "real was torch.int64"),
    "real bool": ({"real": REAL > 0}, TypeError, "real was torch.bool"),
    "real complex": ({"real": REAL.cfloat()}, TypeError, "real was torch.complex64"),
    "real float8": ({"real": REAL.to(torch.float8_e4m3fn)}, TypeError, "real was torch.float8"),
    "real sparse": ({"real": REAL.to_sparse()}, TypeError, "real was a torch.sparse_coo tensor"),
    "real csr": (
        {"real": REAL.flatten(1), "csr": True},
        TypeError,
        "real was a torch.sparse_csr tensor",
    ),
    "real meta": ({"real": REAL.to("meta")}, ValueError, "real was a meta tensor"),
    "real expanded": ({"real": REAL[:1].expand(6, 3, 2, 2)}, ValueError, "real was expanded"),
    "real expanded inside": (
        {"real": REAL[:, :1].expand(6, 3, 2, 2)},
        ValueError,
        "real was expanded",
    ),
    "real scalar": ({"real": torch.tensor(1.0)}, ValueError, r"real had shape \(\)"),
    "real empty": ({"real": REAL[:0]}, ValueError, r"real had shape \(0, 3, 2, 2\)"),
    "real nested": (
        {"real": "nested"},
        TypeError,
        "real was a nested tensor",
    ),
    "fake missing": ({"fake": None}, ValueError, "fake was None; kind 'wgan-gp' must have fake"),
    "fake missing, r2": ({"fake": None, "kind": "r2"}, ValueError, "fake was None; kind 'r2'"),
    "fake shape": ({"fake": FAKE[:5]}, ValueError, r"fake had shape \(5, 3, 2, 2\)"),
    "fake broadcast": ({"fake": FAKE[:, :1]}, ValueError, r"fake had shape \(6, 1, 2, 2\)"),
    "fake dtype": ({"fake": FAKE.double()}, TypeError, "fake was torch.float64"),
    "fake integers": ({"fake": FAKE.int()}, TypeError, "fake was torch.int32"),
    "fake meta": ({"fake": FAKE.to("meta")}, ValueError, "fake was a meta tensor"),
    "fake sparse": ({"fake": FAKE.to_sparse()}, TypeError, "fake was a torch.sparse_coo"),
    "fake expanded": ({"fake": FAKE[:1].expand(6, 3, 2, 2)}, ValueError, "fake was expanded"),
    "fake unused but bad": ({"fake": FAKE[:5], "kind": "r1"}, ValueError, "fake had shape"),
    "fake of type": ({"fake": "noise"}, TypeError, "fake was of type str"),
    "weight negative": ({"weight": -1}, ValueError, "weight was -1; it must be finite and not"),
    "weight NaN": ({"weight": float("nan")}, ValueError, "weight was nan"),
    "weight infinite": ({"weight": float("inf")}, ValueError, "weight was inf"),
    "weight text": ({"weight": "10"}, TypeError, "weight was of type str; it must be a number"),
    "weight None": ({"weight": None}, TypeError, "weight was None"),
    "weight bool": ({"weight": True}, TypeError, "weight was of type bool"),
    "weight tensor": ({"weight": torch.tensor(3.0)}, TypeError, "weight was of type Tensor"),
    "weight complex": ({"weight": 1j}, TypeError, "weight was of type complex"),
    "weight huge": ({"weight": 10**400}, ValueError, "weight was 1000000"),
    "target negative": ({"target": -0.5}, ValueError, "target was -0.5"),
    "target NaN": ({"target": float("nan")}, ValueError, "target was nan"),
    "target text": ({"target": "one"}, TypeError, "target was of type str"),
    "target for r1": (
        {"target": 1.0, "kind": "r1"},
        ValueError,
        "target was 1.0; kind 'r1' has none",
    ),
    "target for r2": ({"target": 0, "kind": "r2"}, ValueError, "target was 0; kind 'r2' has none"),
    "groups zero": ({"groups": 0}, ValueError, "groups was 0; it must be at least 1"),
    "groups negative": ({"groups": -2}, ValueError, "groups was -2"),
    "groups uneven": ({"groups": 4}, ValueError, "groups was 4; .* divide the batch of 6"),
    "groups too many": ({"groups": 7}, ValueError, "groups was 7"),
    "groups float": ({"groups": 2.0}, TypeError, "groups was of type float; it must be an int"),
    "groups bool": ({"groups": True}, TypeError, "groups was of type bool"),
    "groups None": ({"groups": None}, TypeError, "groups was None"),
    "alpha list": ({"alpha": [0.5] * 6}, TypeError, "alpha was of type list"),
    "alpha number": ({"alpha": 0.5}, TypeError, "alpha was of type float"),
    "alpha integers": ({"alpha": torch.ones(6).long()}, TypeError, "alpha was torch.int64"),
    "alpha sparse": ({"alpha": torch.ones(6).to_sparse()}, TypeError, "alpha was .*sparse"),
    "alpha meta": ({"alpha": torch.ones(6, device="meta")}, ValueError, "alpha was on meta"),
    "alpha length": ({"alpha": torch.ones(5)}, ValueError, r"alpha had shape \(5,\)"),
    "alpha scalar": ({"alpha": torch.tensor(0.5)}, ValueError, r"alpha had shape \(\)"),
    "alpha whole": (
        {"alpha": torch.rand(6, 3, 2, 2)},
        ValueError,
        r"alpha had shape \(6, 3, 2, 2\)",
    ),
    "alpha front": ({"alpha": torch.rand(1, 6)}, ValueError, r"alpha had shape \(1, 6\)"),
    "alpha grouped": ({"alpha": torch.rand(6), "groups": 2}, ValueError, r"it must be \(3,\)"),
    "alpha moving": (
        {"alpha": torch.rand(6, requires_grad=True)},
        ValueError,
        "alpha required grad",
    ),
    "alpha for r1": (
        {"alpha": torch.rand(6), "kind": "r1"},
        ValueError,
        "alpha was given; kind 'r1'",
    ),
    "alpha for dragan": (
        {"alpha": torch.rand(6), "kind": "dragan"},
        ValueError,
        r"alpha had shape \(6,\); it must be \(6, 3, 2, 2\)",
    ),
    "generator seed": ({"generator": 3}, TypeError, "generator was of type int"),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta:UserWarning")
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("name", BAD)
def test_bad_argument(name: str) -> None:
    changed, kind, message = BAD[name]
    arguments = GOOD | changed
    if arguments.pop("csr", False):
        arguments["real"] = arguments["real"].to_sparse_csr()
    if isinstance(arguments["real"], str):
        arguments["real"] = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    calls: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        calls.append(x)
        return x.flatten(1).sum(1)

    state = torch.get_rng_state()
    versions = [t._version for t in (REAL, FAKE)]
    with pytest.raises(kind, match=message) as caught:
        gradient_penalty(arguments.pop("critic", critic), **arguments)
    assert type(caught.value) is kind
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert "must" in text
    assert not calls
    assert torch.equal(torch.get_rng_state(), state)
    assert versions == [t._version for t in (REAL, FAKE)]


class Wrapped(nn.Module):
    def __init__(self, body: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 1)
        self.body = body

    def forward(self, x: Tensor) -> Any:
        return self.body(self.layer, x.flatten(1))


BAD_CRITICS: dict[str, tuple[Any, type[Exception], str]] = {
    "None": (lambda layer, x: None, TypeError, "critic returned NoneType"),
    "tuple": (lambda layer, x: (layer(x), x), TypeError, "critic returned tuple"),
    "dict": (lambda layer, x: {"score": layer(x)}, TypeError, "critic returned dict"),
    "number": (lambda layer, x: layer(x).sum().item(), TypeError, "critic returned float"),
    "detached": (lambda layer, x: layer(x).detach(), ValueError, "critic returned scores that do"),
    "constant": (lambda layer, x: torch.ones(6), ValueError, "critic returned scores that do not"),
    "of its weights alone": (
        lambda layer, x: layer.weight,
        ValueError,
        "do not depend on its input",
    ),
    "of a detached input": (lambda layer, x: layer(x.detach()), ValueError, "do not depend on its"),
    "without grad": (lambda layer, x: torch.no_grad()(layer)(x), ValueError, "do not depend on"),
    "integers": (lambda layer, x: layer(x).argmax(1), ValueError, "do not depend on its input"),
    "complex": (lambda layer, x: torch.fft.fft(layer(x)), ValueError, "critic returned .*complex"),
    "another leaf": (
        lambda layer, x: torch.ones(3, requires_grad=True),
        ValueError,
        "do not depend on its input",
    ),
}


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("name", BAD_CRITICS)
def test_bad_critic(name: str, grad: bool) -> None:
    body, kind, message = BAD_CRITICS[name]
    critic = Wrapped(body)
    with torch.set_grad_enabled(grad), pytest.raises(kind, match=message) as caught:
        gradient_penalty(critic, REAL, FAKE)
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert all(p.grad is None for p in critic.parameters())
    assert torch._C._len_torch_function_stack() == 0


@pytest.mark.parametrize(
    "options",
    [
        {"weight": np.float32(3)},
        {"weight": 3},
        {"weight": np.int64(3)},
        {"target": np.float64(1)},
        {"alpha": torch.rand(6, dtype=torch.float64)},
        {"alpha": torch.rand(6).half()},
        {"alpha": torch.rand(6).bfloat16()},
        {"groups": 3, "alpha": torch.rand(2, 1, 1)},
        {"real": REAL.transpose(0, 1).contiguous().transpose(0, 1)},
        {"real": torch.randn(12, 3, 2, 2)[::2]},
        {"real": nn.Parameter(REAL)},
        {"real": torch.randn(6 * 12 + 1)[1:].view(6, 3, 2, 2)},
        {"kind": "dragan", "alpha": torch.rand(6, 3, 2, 2)},
    ],
)
def test_odd_but_good_arguments(options: dict[str, Any]) -> None:
    value = gradient_penalty(lambda x: x.square().flatten(1).sum(1), **(GOOD | options))
    assert torch.isfinite(value)
    assert value > 0


def test_expansion_of_one_sample_or_a_dimension_of_one_is_no_overlap() -> None:
    one = torch.randn(1, 3).expand(1, 3)
    assert gradient_penalty(lambda x: x.square().sum(1), one, one.clone()) >= 0
    flat = torch.randn(4, 3)[:, None].expand(4, 1, 3)
    assert gradient_penalty(lambda x: x.square().sum((1, 2)), flat, flat.clone()) >= 0


@pytest.mark.parametrize(("kind", "expected"), [("wgan-gp", 10), ("wgan-lp", 0), ("r1", 0)])
def test_samples_without_elements_have_norm_zero(kind: str, expected: float) -> None:
    nothing = torch.empty(4, 0)
    assert gradient_penalty(lambda x: x.sum(1), nothing, nothing, kind=kind) == expected


def test_arguments_after_fake_are_named() -> None:
    with pytest.raises(TypeError, match="positional"):
        gradient_penalty(lambda x: x.sum(1), REAL, FAKE, "r1")  # type: ignore[misc]


def test_signature_is_the_documented_one() -> None:
    parameters = inspect.signature(gradient_penalty).parameters
    defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    assert defaults == {
        "fake": None,
        "kind": "wgan-gp",
        "weight": 10.0,
        "target": None,
        "alpha": None,
        "groups": 1,
        "generator": None,
        "engine": "auto",
        "return_scores": False,
    }
    assert list(parameters)[:3] == ["critic", "real", "fake"]
