"""Critics that the engine takes whole, held against the plain step in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

import fastwgan
from tests import critic_loss_recipe
from tests.conftest import why_not_run
from tests.critic_loss_recipe import assert_step_is_the_plain_one, plain_step
from tests.penalty_recipe import KINDS
from tests.whole_critics import WHOLE, build, labels, samples

NAMES = list(WHOLE)
IMAGES = ["dcgan", "wgan-gp resnet", "stylegan2", "r3gan"]


@pytest.fixture(autouse=True)
def _reference_by_the_math_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's fused attention has no double backward, for the plain step to go through."""

    def by_the_math_kernel(*args: Any, **options: Any) -> Any:
        with sdpa_kernel(SDPBackend.MATH):
            return plain_step(*args, **options)

    monkeypatch.setattr(critic_loss_recipe, "plain_step", by_the_math_kernel)


def step_of(name: str, rows: int, dtype: torch.dtype = torch.float64) -> dict[str, Any]:
    """The critic's own kind of step: penalty, loss, labels; alpha where something is drawn."""
    whole = WHOLE[name]
    options = dict(whole.step)
    if whole.labelled:
        of_real, of_fake = labels(rows)
        options.update(real_args=(of_real,), fake_args=(of_fake,))
    if options.get("penalty", "wgan-gp") == "wgan-gp":
        generator = torch.Generator().manual_seed(4)
        groups = rows // options.get("groups", 1)
        options["alpha"] = torch.rand(groups, generator=generator, dtype=torch.float64).to(dtype)
    return options


def check(name: str, batch: int | None = None, dtype: Any = torch.float64, **more: Any) -> Any:
    pair = samples(name, batch, dtype)
    options = {**step_of(name, len(pair[0]), dtype), **more}
    return assert_step_is_the_plain_one(build(name, dtype), *pair, engine="always", **options)


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_is_by_hand(name: str) -> None:
    real, _ = samples(name)
    others = (labels(len(real))[0],) if WHOLE[name].labelled else ()
    report = fastwgan.explain(build(name), real, *others)
    assert report.way in ("direct", "recorded"), report.reason
    assert report.layers
    assert not [layer.kind for layer in report.layers if not layer.by_hand], str(report)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradients(name: str, dtype: torch.dtype) -> None:
    check(name, dtype=dtype)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_the_samples(name: str) -> None:
    pair = [t.requires_grad_() for t in samples(name)]
    options = step_of(name, len(pair[0]))
    assert_step_is_the_plain_one(build(name), *pair, engine="always", **options)


@pytest.mark.parametrize("name", [name for name in NAMES if "groups" not in WHOLE[name].step])
@pytest.mark.parametrize("batch", [1, 7])
def test_one_sample_and_seven(name: str, batch: int) -> None:
    check(name, batch)


@pytest.mark.parametrize("batch", [10, 70])
def test_one_pack_and_seven(batch: int) -> None:
    check("packed tabular, train", batch)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["wgan-gp resnet", "stylegan2", "r3gan", "transformer", "dcgan"])
def test_every_kind_of_penalty(name: str, kind: str) -> None:
    pair = samples(name)
    shape = {"wgan-gp": (len(pair[0]),), "wgan-lp": (len(pair[0]),), "dragan": pair[0].shape}
    more: dict[str, Any] = {"penalty": kind, "weight": 3.0}
    if kind in shape:
        more["alpha"] = torch.rand(shape[kind], dtype=torch.float64)
    assert_step_is_the_plain_one(
        build(name),
        *pair,
        engine="always",
        **{**step_of(name, len(pair[0])), "alpha": None, **more},
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_penalty_of_packs(kind: str) -> None:
    name, (real, fake) = "packed tabular, eval", samples("packed tabular, eval")
    shape = {"wgan-gp": (3,), "wgan-lp": (3,), "dragan": real.shape}
    more = {"alpha": torch.rand(shape[kind], dtype=torch.float64)} if kind in shape else {}
    options = {"penalty": kind, "groups": 10, **more}
    assert_step_is_the_plain_one(build(name), real, fake, engine="always", **options)


@pytest.mark.parametrize("name", ["sngan resnet", "sngan resnet, ours"])
def test_labels_by_closure(name: str) -> None:
    class Closed(nn.Module):
        """Judges all samples by the labels of the real ones."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.given = build(name), labels(3)[0]

        def forward(self, x: Tensor) -> Tensor:
            return (lambda z: self.body(z, self.given))(x)  # type: ignore[no-any-return]

    alpha = torch.rand(3, dtype=torch.float64)
    assert_step_is_the_plain_one(Closed(), *samples(name), engine="always", alpha=alpha)


@pytest.mark.parametrize("name", NAMES)
def test_nan_in_one_sample_is_seen(name: str) -> None:
    for place in (0, 1):
        pair = [t.clone() for t in samples(name)]
        pair[place].view(-1)[0] = math.nan
        options = step_of(name, len(pair[0]))
        done = fastwgan.critic_loss(build(name), *pair, engine="always", **options)
        assert done.total.isnan()
        scores = (done.real_scores, done.fake_scores)[place]
        other = (done.fake_scores, done.real_scores)[place]
        assert scores.isnan().any()
        assert not other.isnan().any()


@pytest.mark.parametrize("name", IMAGES)
def test_a_critic_without_slope(name: str) -> None:
    """All gradients at the points are zero: the norm's derivative there is zero, not NaN."""
    critic = build(name)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.zero_()
    pair, options = samples(name), step_of(name, WHOLE[name].batch)
    done = fastwgan.critic_loss(critic, *pair, engine="always", **options)
    done.total.backward()
    assert done.gradient_norm == 0
    kinds = options.get("penalty", "wgan-gp")
    assert done.penalty == (10.0 if kinds == "wgan-gp" else 0.0)
    for parameter in critic.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("name", ["wgan-gp resnet", "r3gan", "transformer", "packed tabular, eval"])
def test_gradcheck_through_critic_loss(name: str) -> None:
    """To the parameters, which are handed in."""
    critic = build(name)
    names = [n for n, p in critic.named_parameters() if p.numel() <= 40][:4]
    given = [critic.get_parameter(n).detach().clone().requires_grad_() for n in names]
    pair, options = samples(name), step_of(name, WHOLE[name].batch)

    def total(*values: Tensor) -> Tensor:
        own = dict(zip(names, values, strict=True))
        done = fastwgan.critic_loss(
            lambda x: functional_call(critic, own, (x,)), *pair, engine="always", **options
        )
        return done.total

    assert len(given) >= 3
    assert torch.autograd.gradcheck(total, given, eps=1e-6, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "instruction_set", ["baseline", "avx2", "avx512", "portable256", "portable512"]
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_on_each_instruction_set(instruction_set: str, dtype: torch.dtype) -> None:
    reason = why_not_run(f"cpu-{instruction_set}")
    if reason is not None:
        pytest.skip(reason)
    with fastwgan.backends.use_instruction_set(instruction_set):
        for name in NAMES:
            check(name, dtype=dtype)
