from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import fastwgan
from fastwgan.train import Data
from fastwgan.train.lipschitz import audit
from fastwgan.train.lipschitz_gradients import Points
from fastwgan.train.lipschitz_points import points
from fastwgan.train.lipschitz_report import Audit
from tests.train.lipschitz_cases import norm, normal


def mlp(*, scale: float = 1.0, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    critic = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 1))
    with torch.no_grad():
        critic[2].weight.mul_(scale)
    return critic


def whole(found: Audit) -> str:
    """Every number of an audit, as text."""
    return json.dumps(found.to_dict(), allow_nan=False)


def state(module: nn.Module) -> dict[str, object]:
    """All that an audit may not change."""
    return {
        "modes": [each.training for each in module.modules()],
        "flags": [p.requires_grad for p in module.parameters()],
        "gradients": [None if p.grad is None else p.grad.clone() for p in module.parameters()],
        "tensors": {name: value.clone() for name, value in module.state_dict().items()},
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in module.modules()],
        "random": torch.get_rng_state(),
    }


def test_a_critic_in_training_is_left_as_it_was() -> None:
    critic = nn.Sequential(
        nn.Linear(3, 8),
        nn.BatchNorm1d(8),
        nn.Dropout(0.5),
        nn.ReLU(),
        nn.Linear(8, 4),
        nn.Linear(4, 1),
    )
    fastwgan.spectral_norm(critic[0])
    nn.utils.spectral_norm(critic[4])
    critic[3].eval()
    critic[4].requires_grad_(False)
    critic(normal(6, 3).float()).sum().backward()
    before = state(critic)
    found = audit(critic, normal(40, 3).float(), samples=16)
    after = state(critic)
    assert before.keys() == after.keys()
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0)
    assert critic.training
    assert not critic[3].training
    assert found.bound.value is not None


def test_a_critic_that_counts_its_calls_is_put_back() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)
            self.register_buffer("calls", torch.zeros(1))
            self.register_buffer("last", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.last = x.detach().sum()
            return self.layer(x)

    critic = Counting()
    last = critic.last
    audit(critic, normal(9, 3).float())
    assert critic.calls.item() == 0
    assert critic.last is last


def test_a_failing_critic_is_put_back_too() -> None:
    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            raise ArithmeticError("on purpose")

    critic = Failing().train()
    before = torch.get_rng_state()
    with pytest.raises(ArithmeticError, match="on purpose"):
        audit(critic, normal(9, 3).float())
    assert critic.training
    assert torch.equal(torch.get_rng_state(), before)
    audit(mlp(), normal(9, 3).float(), samples=4)  # no hook is left behind


def test_a_seed_decides_every_number() -> None:
    data = normal(60, 3).float()
    critic = mlp()
    first = whole(audit(critic, data, samples=20, seed=3))
    torch.rand(5)
    assert whole(audit(critic, data, samples=20, seed=3)) == first
    assert whole(audit(critic, data, samples=20, seed=4)) != first

    def drawing(x: Tensor) -> Tensor:
        return x.sum(1) * (1 + torch.rand(()))

    first = whole(audit(drawing, data, samples=20, seed=3))
    torch.rand(5)
    assert whole(audit(drawing, data, samples=20, seed=3)) == first


def test_the_numbers_are_of_the_samples_given() -> None:
    weight = torch.tensor([[3.0, 4.0, 0.0]])
    critic = nn.Sequential(nn.Flatten(), nn.Linear(3, 1)).requires_grad_(False)
    critic[1].weight.copy_(weight)
    found = audit(critic, normal(50, 3).float(), fake=normal(20, 3).float(), samples=30)
    counts = {kind: at.points for kind, at in found.gradients.at.items()}
    assert counts == {"real": 30, "fake": 20, "interpolated": 20}
    for at in found.gradients.at.values():
        assert list(at.quantiles.values()) == pytest.approx([5.0] * 8)
    assert found.bound.value == pytest.approx(5)
    assert found.notes == ()


def test_interpolated_points_lie_between_real_and_fake() -> None:
    real, fake = torch.tensor([[0.0, 3.0]]).expand(40, 2), torch.tensor([[1.0, 0.0]]).expand(60, 2)
    generator = torch.Generator().manual_seed(0)
    kinds, _ = points(Points(real, None), Points(fake, None), 50, generator, real)
    between = kinds["interpolated"].samples
    assert (len(kinds["real"].samples), len(kinds["fake"].samples), len(between)) == (40, 50, 40)
    torch.testing.assert_close(between[:, 1], 3 * (1 - between[:, 0]))
    share = between[:, 0]
    assert 0 <= float(share.min()) < 0.15 < 0.85 < float(share.max()) <= 1


def test_samples_are_drawn_without_repeating() -> None:
    real = Points(torch.arange(30.0)[:, None], torch.arange(30))
    generator = torch.Generator().manual_seed(0)
    kinds, _ = points(real, None, 20, generator, real.samples)
    drawn = kinds["real"].samples[:, 0]
    assert len(drawn.unique()) == 20
    assert drawn.tolist() != sorted(drawn.tolist())
    assert kinds["real"].labels.tolist() == drawn.tolist()


def test_noise_stands_in_for_generated_samples_and_says_so() -> None:
    seen: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return (x**2).sum(1) / 2

    data = torch.stack((torch.full((400,), 5.0), torch.randn(400) * 2), dim=1)
    found = audit(critic, data, samples=300)
    assert "noise" in found.notes[0]
    fake = found.gradients.at["fake"]
    expected = (25 + float(data[:, 1].square().mean())) ** 0.5
    assert fake.quantiles["50"] == pytest.approx(expected, rel=0.15)
    assert min(fake.quantiles.values()) >= 5
    assert "noise" in str(found)


def test_double_precision_is_kept() -> None:
    critic = mlp().double()
    exact = critic(normal(5, 3))
    assert exact.dtype == torch.float64
    found = audit(critic, normal(30, 3).float(), samples=30)
    inside = audit(critic.float(), normal(30, 3), samples=30)
    assert found.layers[0].sigma == pytest.approx(inside.layers[0].sigma, rel=1e-6)


@pytest.mark.parametrize("count", [1, 2])
def test_few_samples_are_enough(count: int) -> None:
    found = audit(mlp(), normal(count, 3).float())
    assert found.gradients.at["real"].points == count
    assert found.gradients.at["interpolated"].points == count
    assert found.bound.value == pytest.approx(found.bound.product)
    assert "positive at no sample" not in found.verdict


def test_one_row_is_enough_to_see_that_rows_are_mixed() -> None:
    found = audit(lambda x: (x - x.mean(0)).sum(1), normal(1, 3).float())
    assert "mixes the samples" in found.bound.note
    conditional = Conditional()
    labels = torch.zeros(5, dtype=torch.int64)
    mixing = audit(lambda x, y: conditional(x - x.mean(0), y), normal(5, 3).float(), labels=labels)
    assert "mixes the samples" in mixing.bound.note


def test_one_row_of_a_conditional_critic() -> None:
    found = audit(Conditional(), normal(1, 3).float(), labels=torch.tensor([2]))
    assert found.gradients.at["real"].points == 1
    assert found.bound.value is not None


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"data": torch.empty(0, 3)}, ValueError, r"data had shape \(0, 3\); it must be"),
        ({"data": torch.empty(4, 0)}, ValueError, r"data had shape \(4, 0\)"),
        ({"data": torch.ones(4)}, ValueError, r"data had shape \(4,\)"),
        ({"data": torch.ones(4, 3, dtype=torch.int64)}, TypeError, "data was torch.int64"),
        ({"data": [[1.0]]}, TypeError, "data was list; it must be"),
        ({"data": torch.full((2, 3), math.nan)}, ValueError, "data held NaN or Inf"),
        ({"fake": torch.ones(4, 2)}, ValueError, r"fake had samples of shape \(2,\)"),
        ({"fake": torch.empty(0, 3)}, ValueError, "fake had shape"),
        ({"labels": torch.zeros(3)}, ValueError, r"labels had shape \(3,\); it must be \(4,\)"),
        ({"fake_labels": torch.zeros(4)}, ValueError, "fake_labels was given without fake"),
        ({"samples": 0}, ValueError, "samples was 0; it must be"),
        ({"samples": 1.5}, ValueError, "samples was 1.5; it must be"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(
    arguments: dict[str, object], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        audit(mlp(), **{"data": torch.ones(4, 3), **arguments})  # type: ignore[arg-type]


def test_critics_without_scores_are_refused() -> None:
    data = torch.ones(4, 3)
    with pytest.raises(ValueError, match="first dimension must be the batch's, 4"):
        audit(lambda x: x.sum(), data)
    with pytest.raises(ValueError, match="do not depend on its input"):
        audit(lambda x: x.detach().sum(1), data)
    with pytest.raises(TypeError, match="critic returned tuple"):
        audit(lambda x: (x, x), data)


class Conditional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.labels = nn.Linear(3, 4), nn.Embedding(5, 4)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return (self.labels(labels) * torch.relu(self.body(x))).sum(1, keepdim=True)


def test_labels_are_given_or_the_datas_own() -> None:
    values, labels = normal(50, 3).float(), torch.arange(50) % 5
    data = Data("rows", values, labels=labels, classes=tuple("abcde"))
    critic = Conditional()
    own = audit(critic, data, samples=30)
    assert whole(own) == whole(audit(critic, values, labels=labels, samples=30))
    rows = float(critic.labels.weight.detach().norm(dim=1).max())
    assert own.bound.value == pytest.approx(norm(critic.body.weight) * rows, rel=1e-5)
    fixed = audit(critic, data, labels=torch.zeros(50, dtype=torch.int64), samples=30)
    assert whole(fixed) != whole(own)
    unconditional = audit(mlp(), data, samples=30)
    assert unconditional.gradients.at["real"].points == 30


def test_fake_samples_have_labels_of_their_own() -> None:
    critic = Conditional()
    with torch.no_grad():
        critic.labels.weight.copy_(torch.arange(5.0)[:, None].expand(5, 4))
    values, fake = normal(50, 3).float(), normal(50, 3, seed=1).float()
    real_labels = torch.full((50,), 1)
    found = audit(critic, values, fake=fake, labels=real_labels, fake_labels=real_labels * 4)
    steep = {kind: at.quantiles["max"] for kind, at in found.gradients.at.items()}
    assert steep["fake"] > 2 * steep["real"]
    assert steep["interpolated"] < 2 * steep["real"]
    same = audit(critic, values, fake=fake, labels=real_labels)
    assert same.gradients.at["fake"].quantiles["max"] < 2 * steep["real"]


class Holder:
    """A critic that is no module, and holds one."""

    def __init__(self, inside: nn.Module) -> None:
        self.inside = inside

    def __call__(self, x: Tensor) -> Tensor:
        return self.inside(x)

    def score(self, x: Tensor) -> Tensor:
        return self.inside(x)


def test_functions_of_modules_are_seen_through() -> None:
    data = normal(30, 3).float()
    critic = mlp()
    fastwgan.spectral_norm(critic)
    for _ in range(50):
        critic(data)
    expected = audit(critic, data, samples=20)
    assert expected.method == "sn-gan"
    several: list[Callable[..., Tensor]] = [
        lambda x: critic(x),
        functools.partial(lambda inside, x: inside(x), critic),
        functools.partial(critic),
        Holder(critic),
        critic.forward,
        torch.compile(critic, backend="eager"),
    ]
    for function in several:
        found = audit(function, data, samples=20)
        assert found.gradients == expected.gradients
        assert found.weights == expected.weights
        assert found.bound == expected.bound
        assert [layer.norm for layer in found.layers] == [layer.norm for layer in expected.layers]
        assert all(layer.normalised for layer in found.layers)
        assert critic.training


def test_json_has_no_number_that_is_not_finite() -> None:
    critic = mlp()
    with torch.no_grad():
        critic[0].weight[0, 0] = math.nan
    found = audit(critic, normal(80, 3).float())
    values = json.loads(whole(found))
    assert values["status"] == "broken"
    assert values["bound"]["value"] is None
    assert "NaN" in values["bound"]["note"]
    assert values["layers"][0]["norm"] is None
    assert values["layers"][1]["norm"] == pytest.approx(norm(critic[2].weight), rel=1e-6)
    assert values["weights"]["broken"] == ["0.weight"]
    assert values["gradients"]["at"]["real"]["not_finite"] == 80
    assert set(values) == {
        "status",
        "verdict",
        "method",
        "layers",
        "bound",
        "gradients",
        "weights",
        "units",
        "notes",
    }


def test_the_text_holds_what_was_found() -> None:
    critic = mlp()
    found = audit(critic, normal(200, 3).float(), samples=200)
    text = str(found)
    assert text == found.table()
    assert text.startswith(found.verdict)
    for number in (
        found.layers[0].sigma,
        found.bound.value,
        found.gradients.slope,
        found.gradients.climbed,
    ):
        assert f"{number:.3g}" in text
    for word in ("Linear", "16×3", "interpolated", "99 %", "█", "positive at no sample"):
        assert word in text
    assert max(map(len, text.splitlines()[2:])) < 150
