from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

import fastwgan
from fastwgan.train import ConfigError, Data, TrainConfig, Trainer
from fastwgan.train.config import LOSSES, METHODS
from tests.compare import relative_error
from tests.train.settings import assert_same_state, leaves, load, small


def _weights(trainer: Trainer) -> Tensor:
    parts = (trainer.generator, trainer.average, trainer.critic)
    return torch.cat([p.detach().flatten() for part in parts for p in part.parameters()])


def _trained(config: TrainConfig, data: Data) -> Trainer:
    trainer = Trainer(config, data)
    for _ in range(config.steps):
        trainer.train_step()
    return trainer


@pytest.mark.parametrize("data", ["digits", "8gaussians"])
@pytest.mark.parametrize("method", METHODS)
def test_every_part_learns(method: str, data: str) -> None:
    config, values = small(method, data), load(data)
    before, trainer = Trainer(config, values), _trained(config, values)
    assert trainer.step == config.steps
    for part in ("generator", "average", "critic"):
        old, new = (getattr(t, part).state_dict() for t in (before, trainer))
        assert all(torch.isfinite(tensor).all() for tensor in new.values())
        weights = [name for name in old if old[name].dim() > 1]
        assert weights
        assert all(not torch.equal(old[name], new[name]) for name in weights), part
    assert all(torch.isfinite(torch.tensor(list(trainer.meter.read().values()))))


def test_convolutions_learn_where_images_are_large() -> None:
    trainer = _trained(small("sn-gan", "mnist", steps=2), load("mnist"))
    assert any(isinstance(layer, nn.Conv2d) for layer in trainer.critic)
    assert trainer.sample(torch.zeros(3, 4)).shape == (3, 1, 28, 28)
    assert trainer.score(torch.zeros(3, 1, 28, 28)).shape == (3, 1)


@pytest.mark.parametrize("method", METHODS)
def test_equal_seeds_give_equal_runs(method: str) -> None:
    data = load("digits")
    one, same = (_trained(small(method, seed=3), data) for _ in range(2))
    assert_same_state(one.state_dict(), same.state_dict())
    other = _trained(small(method, seed=4), data)
    assert not torch.equal(_weights(one), _weights(other))


@pytest.mark.parametrize("data", ["digits", "mnist", "swissroll"])
@pytest.mark.parametrize("method", METHODS)
def test_no_critic_mixes_its_samples(method: str, data: str) -> None:
    trainer = Trainer(small(method, data), load(data))
    samples = load(data).values[:4].requires_grad_()
    (gradient,) = torch.autograd.grad(trainer.critic(samples)[1].sum(), samples)
    reached = gradient.flatten(1).norm(dim=1) > 0
    assert reached.tolist() == [False, True, False, False]


def test_wgan_keeps_every_critic_weight_within_the_bound() -> None:
    trainer = _trained(small("wgan", weight_clip=0.02, critic_lr=0.1), load("digits"))
    assert max(float(p.detach().abs().max()) for p in trainer.critic.parameters()) == (
        pytest.approx(0.02)
    )
    assert max(float(p.detach().abs().max()) for p in trainer.generator.parameters()) > 0.02


def test_sn_gan_holds_every_layer_at_norm_one() -> None:
    trainer = _trained(small("sn-gan", steps=60, critic_lr=1e-6), load("digits"))
    trainer.score(load("digits").values[:2])
    norms = [
        float(torch.linalg.matrix_norm(layer.weight.detach(), ord=2))
        for layer in trainer.critic
        if isinstance(layer, nn.Linear)
    ]
    assert norms == pytest.approx([1.0] * len(norms), rel=0.02)
    assert trainer.critic.state_dict().keys() >= {"1.weight_orig", "1.weight_u", "1.weight_v"}


def _critic_scores(trainer: Trainer) -> tuple[Tensor, Tensor]:
    """What the next critic step will score, from a trainer of the same state."""
    real, _ = trainer._batches.next()
    fake = trainer.generator(trainer._latent())
    return trainer.critic(real), trainer.critic(fake)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_critics_loss_is_the_named_one(loss: str) -> None:
    config, data = small("wgan", loss=loss), load("digits")
    real, fake = _critic_scores(Trainer(config, data))
    expected = {
        "wasserstein": fake.mean() - real.mean(),
        "hinge": (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean(),
        "logistic": softplus(-real).mean() + softplus(fake).mean(),
        "relativistic": softplus(fake - real).mean(),
    }[loss]
    measured = Trainer(config, data).critic_step()
    torch.testing.assert_close(measured["critic_loss"], expected)
    torch.testing.assert_close(measured["wasserstein"], real.mean() - fake.mean())
    assert "penalty" not in measured


def test_the_penalty_is_part_of_the_loss() -> None:
    measured = Trainer(small(penalty_weight=3.0), load("digits")).critic_step()
    torch.testing.assert_close(
        measured["critic_loss"], measured["penalty"] - measured["wasserstein"]
    )
    heavier = Trainer(small(penalty_weight=6.0), load("digits")).critic_step()
    torch.testing.assert_close(heavier["penalty"], 2 * measured["penalty"])


@pytest.mark.parametrize("loss", LOSSES)
def test_the_generators_loss_is_the_named_one(loss: str) -> None:
    config, data = small("wgan", loss=loss), load("digits")
    trainer, same = (Trainer(config, data) for _ in range(2))
    for one in (trainer, same):
        one.critic_step()
    real, fake = same.critic(same.last_batch[0]), same.critic(same.generator(same._latent()))
    expected = {
        "wasserstein": -fake.mean(),
        "hinge": -fake.mean(),
        "logistic": softplus(-fake).mean(),
        "relativistic": softplus(real - fake).mean(),
    }[loss]
    torch.testing.assert_close(trainer.generator_step(), expected.detach())


@pytest.mark.parametrize("method", ["r1+r2", "sn+gp", "wgan-lp", "clip+r1"])
def test_every_penalty_of_a_method_is_asked_for(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[tuple[str, float]]] = []
    original = fastwgan.critic_loss

    def noted(*arguments: Any, **options: Any) -> Any:
        asked.append(options["penalty"])
        return original(*arguments, **options)

    monkeypatch.setattr(fastwgan, "critic_loss", noted)
    config = small(method, penalty_weight=3.0, critic_steps=1)
    _trained(config, load("digits"))
    assert asked == config.steps * [[(kind, 3.0) for kind in config.penalties]]


def test_a_lazy_penalty_comes_every_few_critic_steps_with_its_weight_times_as_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    original = fastwgan.critic_loss

    def noted(*arguments: Any, **options: Any) -> Any:
        asked.append(options["penalty"])
        return original(*arguments, **options)

    monkeypatch.setattr(fastwgan, "critic_loss", noted)
    config = small(penalty_weight=2.0, penalty_every=4, critic_steps=3, steps=4)
    trainer = _trained(config, load("digits"))
    assert asked == [[("wgan-gp", 8.0)] if number % 4 == 0 else None for number in range(12)]
    assert trainer.meter.read()["penalty"] > 0


def test_a_lazy_penalty_is_shown_with_its_own_weight_until_the_next() -> None:
    lazy, usual = (
        Trainer(small(penalty_weight=2.0, penalty_every=every), load("digits")) for every in (4, 1)
    )
    first = usual.critic_step(0)["penalty"]
    torch.testing.assert_close(lazy.critic_step(0)["penalty"], first)
    torch.testing.assert_close(lazy.critic_step(1)["penalty"], first)
    assert not torch.isclose(usual.critic_step(1)["penalty"], first, rtol=1e-3)


def test_every_row_of_a_batch_has_a_place_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[Tensor] = []
    original = fastwgan.critic_loss

    def noted(*arguments: Any, **options: Any) -> Any:
        places.append(options["alpha"])
        return original(*arguments, **options)

    monkeypatch.setattr(fastwgan, "critic_loss", noted)
    trainer = Trainer(small(), load("digits"))
    for _ in range(2):
        trainer.critic_step()
    drawn = torch.cat(places)
    assert drawn.shape == (2 * trainer.config.batch_size,)
    assert len(drawn.unique()) == len(drawn)


def _gradient(trainer: Trainer) -> Tensor:
    gradients = [p.grad for p in trainer.critic.parameters()]
    return torch.cat([each.flatten() for each in gradients if each is not None])


@pytest.mark.usefixtures("_double")
@pytest.mark.parametrize("method", ["wgan-gp", "wgan", "r1+r2"])
def test_parts_of_a_batch_give_the_gradients_of_the_whole(method: str) -> None:
    values = Data("8gaussians", load("8gaussians").values.double())
    whole, parts = (
        Trainer(small(method, "8gaussians", accumulate=count), values) for count in (1, 4)
    )
    for trainer in (whole, parts):
        trainer.critic_step()
    assert relative_error(_gradient(parts), _gradient(whole)) < 1e-12


def test_learning_rates_fall_to_zero_where_asked() -> None:
    config = small(steps=4, lr_decay="linear", critic_lr=0.4, generator_lr=0.2)
    trainer, seen = Trainer(config, load("digits")), []
    for _ in range(config.steps):
        trainer.train_step()
        optimizers = (trainer.critic_optimizer, trainer.generator_optimizer)
        seen.append([optimizer.param_groups[0]["lr"] for optimizer in optimizers])
    assert seen == [pytest.approx([0.4 * left, 0.2 * left]) for left in (1.0, 0.75, 0.5, 0.25)]


@pytest.mark.parametrize("method", ["wgan-gp", "wgan", "sn+gp"])
def test_half_precision_passes_leave_float32_weights(method: str) -> None:
    trainer = _trained(small(method, precision="bf16"), load("digits"))
    for part in (trainer.generator, trainer.critic, trainer.average):
        assert {tensor.dtype for tensor in part.parameters()} == {torch.float32}
    whole = _trained(small(method), load("digits"))
    assert not torch.equal(_weights(trainer), _weights(whole))
    assert trainer.meter.read()["critic_loss"] == pytest.approx(
        whole.meter.read()["critic_loss"], rel=0.1, abs=0.1
    )


def test_a_draw_is_the_seeds_whatever_its_length() -> None:
    trainer = Trainer(small(), load("digits"))
    short, long = (trainer.draw(count, seed=3)[0] for count in (5, 700))
    assert long.shape == (700, 1, 8, 8)
    torch.testing.assert_close(long[:5], short)
    assert not torch.equal(trainer.draw(5, seed=4)[0], short)
    assert trainer.draw(0)[0].shape == (0, 1, 8, 8)


def test_a_generator_step_leaves_the_critic_alone() -> None:
    trainer = Trainer(small(), load("digits"))
    trainer.critic_step()
    before = {name: tensor.clone() for name, tensor in trainer.critic.state_dict().items()}
    gradients = [p.grad.clone() for p in trainer.critic.parameters() if p.grad is not None]
    trainer.generator_step()
    assert_same_state(trainer.critic.state_dict(), before)
    assert_same_state([p.grad for p in trainer.critic.parameters()], gradients)


def test_the_average_lags_behind_the_generator() -> None:
    data = load("digits")
    config = small(ema_decay=0.9, steps=1)
    trainer = Trainer(config, data)
    average, steps = [p.clone() for p in trainer.average.parameters()], 12
    for step in range(steps):
        trainer.train_step()
        decay = min(0.9, (1 + step) / (10 + step))
        now = [p.detach() for p in trainer.generator.parameters()]
        average = [decay * a + (1 - decay) * p for a, p in zip(average, now, strict=True)]
    for actual, expected in zip(trainer.average.parameters(), average, strict=True):
        torch.testing.assert_close(actual, expected)
    none = _trained(small(ema_decay=0.0), data)
    for actual, expected in zip(
        none.average.parameters(), none.generator.parameters(), strict=True
    ):
        assert torch.equal(actual, expected)


@pytest.mark.parametrize("method", METHODS)
def test_looking_at_a_trainer_changes_nothing(method: str) -> None:
    looked, plain = (Trainer(small(method), load("digits")) for _ in range(2))
    for _ in range(3):
        for trainer in (looked, plain):
            trainer.train_step()
        looked.gradient_norm()
        looked.sample(torch.zeros(2, 4))
        looked.score(torch.zeros(2, 1, 8, 8))
        looked.state_dict()
    assert_same_state(looked.state_dict(), plain.state_dict())


def test_the_gradient_norm_is_that_of_the_critic_at_real_samples() -> None:
    trainer = Trainer(small(), load("digits"))
    trainer.critic_step()
    trainer.critic = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    weight = trainer.critic[1].weight
    assert float(trainer.gradient_norm()) == pytest.approx(float(weight.detach().norm()))


@pytest.mark.parametrize("done", [0, 1, 5])
@pytest.mark.parametrize("method", METHODS)
def test_a_trainer_goes_on_from_its_state_bit_for_bit(method: str, done: int) -> None:
    data = load("digits")
    trainer = (
        _trained(small(method, steps=done or 1), data) if done else Trainer(small(method), data)
    )
    state = {name: _copied(part) for name, part in trainer.state_dict().items()}
    resumed = Trainer(small(method, seed=0), data)
    resumed.load_state_dict(state)
    torch.rand(17)  # the global generator moves between two parts of a run
    torch.set_rng_state(state["random"]["global"])
    for one in (trainer, resumed):
        for _ in range(4):
            one.train_step()
    assert_same_state(
        {k: v for k, v in resumed.state_dict().items() if k != "random"},
        {k: v for k, v in trainer.state_dict().items() if k != "random"},
    )
    assert torch.equal(resumed._noise.get_state(), trainer._noise.get_state())


def _copied(state: object) -> object:
    if isinstance(state, Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {key: _copied(part) for key, part in state.items()}
    if isinstance(state, list | tuple):
        return [_copied(part) for part in state]
    return state


@pytest.fixture
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_double")
@pytest.mark.parametrize("data", ["digits", "25gaussians"])
@pytest.mark.parametrize("method", METHODS)
def test_twenty_steps_equal_the_references(method: str, data: str) -> None:
    """In float64, where rounding has no room to grow into another trajectory."""
    values = Data(data, load(data).values.double())
    config = small(method, data, steps=20)
    trainer = _trained(config, values)
    with fastwgan.use_backend("reference"):
        reference = _trained(config, values)
    assert relative_error(_weights(trainer), _weights(reference)) < 1e-9
    ours, theirs = (t.meter.read() for t in (trainer, reference))
    assert ours == pytest.approx(theirs, rel=1e-9)


def test_every_tensor_of_the_models_is_in_the_state() -> None:
    trainer = _trained(small("sn-gan"), load("digits"))
    saved = {
        value.untyped_storage().data_ptr()
        for _, value in leaves(trainer.state_dict())
        if isinstance(value, Tensor)
    }
    for module in (trainer.generator, trainer.average, trainer.critic):
        for tensor in (*module.parameters(), *module.buffers()):
            assert tensor.untyped_storage().data_ptr() in saved


def test_packed_rows_are_judged_together() -> None:
    data = Data("rows", torch.randn(100, 3))
    config = small(data="swissroll", pack=4)
    trainer = _trained(config, data)
    assert trainer.critic(torch.zeros(5, 12)).shape == (5, 1)
    assert trainer.score(torch.zeros(20, 3)).shape == (5, 1)
    assert float(trainer.gradient_norm()) > 0
    values = data.values[:8]
    torch.testing.assert_close(
        trainer.score(values), trainer.critic(torch.stack((values[:4], values[4:])).flatten(1))
    )
    with pytest.raises(ConfigError, match=r"^pack was 4; it must be 1 for samples"):
        Trainer(small(pack=4), load("digits"))
