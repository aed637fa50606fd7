"""What a sequence acts on: a critic and its optimizer, ours and torch's, compared after every step.

After each comparison theirs takes over our numbers, so that a bound is one step's and no rounding
grows over a sequence; ours is never touched. Differences that are meant, modelled here and in
`twins.py`:

* an all-zero weight under spectral norm gives zeros and leaves u and v, where torch gives NaN;
* a critic can be deep-copied after a forward under the hook form;
* `critic_loss` moves the vectors of spectral norm on once for all its rows, by its engine;
* a trainable parameter that scores depend on gets zeros where autograd leaves None;
* half precision is computed in float32, u and v included: theirs is float64 throughout.
"""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import fastwgan
from tests.fuzz import recipes
from tests.fuzz.comparison import (
    assert_gradients_near,
    assert_near,
    assert_same_critic,
    assert_same_optimizer,
    nearness,
)
from tests.fuzz.optimizers import Choice, OptimizerPair
from tests.fuzz.recipes import Penalised, Samples
from tests.fuzz.twins import (
    CRITICS,
    ROWS,
    Asked,
    copy_of_theirs,
    layers,
    normalise_ours,
    normalise_theirs,
    original,
    remove_ours,
    remove_theirs,
    twins,
)
from tests.tolerances import Nearness

HALVES = (torch.float16, torch.bfloat16)
HALF_REACH = 3e4  # larger gradients may overflow in float16


class Saved(NamedTuple):
    ours: bytes
    theirs: bytes
    shapes: list[torch.Size]
    kind: str
    clip: float | None


class World:
    """A pair of critics, `kind` of twins.CRITICS, and of their optimizers."""

    def __init__(self, kind: str, seed: int) -> None:
        torch.manual_seed(seed)
        self.shape = CRITICS[kind][1]
        self.ours, self.theirs = twins(kind)
        self.form: str | None = None
        self.dtype = torch.float64
        self.optimizers = OptimizerPair(self.ours, self.theirs, Choice())
        self.cancelled = 0.0  # the size of what cancels in the last call's results
        self.saved: Saved | None = None
        self.left: list[tuple[nn.Module, dict[str, Tensor]]] = []

    def forward(self, *, calls: int, recording: bool, backward: bool, flows: bool) -> None:
        samples = [self._samples(flows) for _ in range(calls)]
        wide = [each.wide() for each in samples]

        def run(critic: nn.Module, given: list[Samples]) -> list[Tensor]:
            with torch.set_grad_enabled(recording):
                return [critic(each.real) for each in given]

        scores, expected = self._both(
            lambda: run(self.ours, samples), lambda: run(self.theirs, wide)
        )
        for got, want in zip(scores, expected, strict=True):
            assert got.requires_grad == want.requires_grad
            self._near(got, want, "scores")
        if backward and scores[0].requires_grad:
            for each in (scores, expected):
                torch.stack([s.square().sum() for s in each]).sum().backward()
            if not self._dropped([t for each in wide for t in each]):
                for mine, other in zip(samples, wide, strict=True):
                    self._check_flows(mine, other)
        self._settle("forward")

    def penalty(self, kind: str, *, groups: int, engine: str, flows: bool) -> None:
        samples = self._samples(flows)
        wide = samples.wide()

        def ours() -> Tensor:
            options: dict[str, Any] = {"kind": kind, "groups": groups, "engine": engine}
            return fastwgan.gradient_penalty(self.ours, *samples, **options)

        def theirs() -> Penalised:
            alpha = recipes.drawn(kind, samples, groups)
            return recipes.penalty(self.theirs, wide, alpha, kind, groups)

        value, expected = self._both(ours, theirs)
        self._note_norms(kind, expected.norms)
        self._near(value, expected.penalty, "penalty")
        self._backward(value, expected.total, samples, wide)
        self._settle(f"penalty {kind}")

    def critic_loss(
        self,
        kind: str | None,
        loss: str,
        *,
        groups: int,
        engine: str,
        flows: bool,
        at_once: bool = False,
    ) -> None:
        samples = self._samples(flows)
        wide = samples.wide()
        at_once = at_once and (flows or bool(self._trainable()))

        def ours() -> fastwgan.CriticLoss:
            options: dict[str, Any] = {"penalty": kind, "groups": groups, "engine": engine}
            options["backward"] = at_once
            return fastwgan.critic_loss(self.ours, *samples, loss=loss, **options)

        def theirs() -> Penalised:
            alpha = None if kind is None else recipes.drawn(kind, samples, groups)
            return recipes.critic_step(
                self.theirs, wide, alpha, kind, loss, groups=groups, apart=engine == "never"
            )

        step, expected = self._both(ours, theirs)
        self._note_norms(kind, expected.norms)
        scores = expected.scores.detach()
        size = float(scores.abs().max())
        if float(scores.max() - scores.min()) <= 1e-9 * size:
            self.cancelled = 1 + size  # all rows are alike: real's part is fake's but for its sign
        real, fake = expected.scores[:ROWS], expected.scores[ROWS : 2 * ROWS]
        self._near(step.total, expected.total, "total")
        self._near(step.penalty, expected.penalty, "penalty")
        self._near(step.wasserstein, real.mean() - fake.mean(), "wasserstein")
        self._near(step.real_scores, real, "real scores")
        self._near(step.fake_scores, fake, "fake scores")
        assert (step.gradient_norm is None) == (expected.norms is None)
        if step.gradient_norm is not None and expected.norms is not None:
            self._near(step.gradient_norm, expected.norms.mean(), "gradient norm")
        self._backward(None if at_once else step.total, expected.total, samples, wide)
        self._settle(f"critic_loss {kind} {loss}")

    def clip(self, bound: float, exclude: str | None) -> None:
        fastwgan.clip_weights_(self.ours, bound, exclude=exclude)
        with torch.no_grad():
            for module in self.theirs.modules():
                if exclude is None or not isinstance(module, nn.LayerNorm):
                    for parameter in module.parameters(recurse=False):
                        parameter.clamp_(-bound, bound)
        self._settle("clip")

    def new_optimizer(self, choice: Choice) -> None:
        self.optimizers = OptimizerPair(self.ours, self.theirs, choice)

    def step(self) -> None:
        if self.dtype in HALVES and self.optimizers.largest_gradient() > 100:
            return  # its square is beyond the halves, in which the state is kept
        self.optimizers.step()
        self._settle("step", *self.optimizers.dtypes())

    def zero_grad(self, *, to_none: bool) -> None:
        self.optimizers.ours.zero_grad(to_none)
        self.optimizers.theirs.zero_grad(to_none)
        self._settle("zero_grad")

    def save(self) -> None:
        files = []
        for critic, optimizer in (
            (self.ours, self.optimizers.ours),
            (self.theirs, self.optimizers.theirs),
        ):
            file = io.BytesIO()
            torch.save([critic.state_dict(), optimizer.state_dict()], file)
            files.append(file.getvalue())
        pair = self.optimizers
        self.saved = Saved(*files, pair.shapes(), pair.choice.kind, pair.clip)

    def load(self, *, from_torch: bool) -> None:
        """What was saved last, where it is of this critic's form, into both."""
        if self.saved is None:
            return
        files = (self.saved.theirs if from_torch else self.saved.ours, self.saved.theirs)
        mine, other = (torch.load(io.BytesIO(each), weights_only=True) for each in files)
        if list(mine[0]) != list(self.ours.state_dict()):
            return
        self.ours.load_state_dict(mine[0])
        self.theirs.load_state_dict(other[0])
        pair = self.optimizers
        if (self.saved.kind, self.saved.shapes) == (pair.choice.kind, pair.shapes()):
            pair.ours.load_state_dict(mine[1])
            pair.theirs.load_state_dict(other[1])
            if pair.choice.kind == "rmsprop" and not from_torch:
                pair.clip = self.saved.clip
        self._settle("load")

    def deepcopy(self) -> None:
        self.left.append((self.ours, _states(self.ours)))
        before = self.optimizers
        parameters = list(self.ours.parameters())
        self.ours, self.theirs = copy.deepcopy(self.ours), copy_of_theirs(self.theirs)
        self.optimizers = OptimizerPair(self.ours, self.theirs, before.choice)
        self.optimizers.clip = before.clip
        if before.shapes() == [p.shape for p in parameters]:
            self.optimizers.ours.load_state_dict(before.ours.state_dict())
            self.optimizers.theirs.load_state_dict(before.theirs.state_dict())
        self._settle("deepcopy")

    def train(self, mode: bool) -> None:
        self.ours.train(mode)
        self.theirs.train(mode)

    def convert(self, dtype: torch.dtype, *, with_state: bool) -> None:
        """Ours to `dtype`, and by the way of its state dict the optimizer's state.

        No LayerNorm to a half: torch's own double backward overflows there at small activations.
        """
        if dtype in HALVES and any(isinstance(m, nn.LayerNorm) for m in self.ours.modules()):
            return
        largest = max(_largest(self.theirs.parameters()), self.optimizers.largest())
        if dtype is torch.float16 and largest > HALF_REACH:
            return
        self.dtype = dtype
        self.ours.to(dtype)
        if with_state:
            self.optimizers.ours.load_state_dict(self.optimizers.ours.state_dict())
        self._settle("convert")

    def toggle(self, index: int) -> None:
        for critic in (self.ours, self.theirs):
            parameters = list(critic.parameters())
            parameter = parameters[index % len(parameters)]
            parameter.requires_grad_(not parameter.requires_grad)

    def normalise(self, form: str) -> None:
        """Theirs meanwhile in our dtype, which the draws of u and v depend on."""
        self.theirs.to(self.dtype)
        self._both(
            lambda: normalise_ours(self.ours, form), lambda: normalise_theirs(self.theirs, form)
        )
        self.theirs.double()
        self.form = form
        for mine, other in zip(layers(self.ours), layers(self.theirs), strict=True):
            if not original(mine).any():  # torch's warm-up leaves u and v of zeros
                for vector, value in zip(other.buffers(), mine.buffers(), strict=True):
                    vector.copy_(value)
        self._settle(f"normalise {form}")
        # A forward in training mode, as everyone begins with: sigma of vectors that were drawn can
        # be next to nothing, and a weight over it anything.
        modes = self.ours.training, self.theirs.training
        self.train(True)
        self.forward(calls=1, recording=False, backward=False, flows=False)
        self.ours.train(modes[0])
        self.theirs.train(modes[1])

    def remove(self) -> None:
        assert self.form is not None
        if self._spread() > 1e3:
            return  # what is left would be anything
        remove_ours(self.ours, self.form)
        remove_theirs(self.theirs, self.form)
        self.form = None
        self._settle("remove")

    @torch.no_grad()
    def zero_weight(self, index: int) -> None:
        for critic in (self.ours, self.theirs):
            original(layers(critic)[index]).zero_()

    def finish(self) -> None:
        """Copies left behind are as they were when they were copied."""
        for critic, states in self.left:
            assert all(torch.equal(value, states[name]) for name, value in _states(critic).items())

    def near(self, *dtypes: torch.dtype) -> Nearness:
        """What the last calls, and further dtypes that went into them, allow to be asked for."""
        near = nearness(self.dtype, *dtypes)
        floor, bound = max(near.floor, self.cancelled), near.bound * max(1.0, self._spread())
        if any(isinstance(module, nn.LayerNorm) for module in self.theirs.modules()):
            bound *= 100  # digits are lost by the ratio of a row's size to its spread
        near = near._replace(floor=floor, bound=bound)
        far = Asked.furthest > near.reach or Asked.most_saturated > near.saturation
        return near._replace(bound=math.inf) if far or Asked.closest < near.kink else near

    @torch.no_grad()
    def _spread(self) -> float:
        """How much larger the terms of some u^T W v are than their sum, sigma: its lost digits."""
        if self.form is None:
            return 1.0
        spreads = [1.0]
        for layer in layers(self.theirs):
            weight = original(layer)
            u, v, *_ = layer.buffers()
            sigma = float(u @ weight.reshape(len(weight), -1) @ v)
            if weight.any():
                spreads.append(float(weight.norm()) / abs(sigma) if sigma else math.inf)
        return max(spreads)

    def _samples(self, flows: bool) -> Samples:
        drawn = torch.randn(2, ROWS, *self.shape, dtype=torch.float64).to(self.dtype)
        return Samples(*(t.clone().requires_grad_(flows) for t in drawn))

    def _both(self, ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[Any, Any]:
        """Both results, each begun with the same random state, which must end the same too."""
        before = torch.get_rng_state()
        got = ours()
        after = torch.get_rng_state()
        torch.set_rng_state(before)
        Asked.forget()
        self.cancelled = 0.0
        want = theirs()
        assert torch.equal(after, torch.get_rng_state()), "the random state differs"
        return got, want

    def _near(self, actual: Tensor, expected: Tensor, where: str) -> None:
        assert_near(actual, expected, self.near(), where)

    def _note_norms(self, kind: str | None, norms: Tensor | None) -> None:
        """A norm near 0 is at a kink of these penalties: rounding decides its gradient's direction.

        Exact zeros come of terms that cancel, as weights that were clipped to equal sizes do, or of
        a weight of zeros, where they are zeros in any precision.
        """
        if norms is None or kind not in ("wgan-gp", "dragan"):
            return
        weights = [original(layer).detach() for layer in layers(self.theirs)]
        # Spectral norm makes each weight's largest factor 1, or about that.
        greatest = math.prod(float(w.norm()) if self.form is None else w.any() for w in weights)
        least = float(norms.detach().min())
        if greatest > 0 and least <= 32 * torch.finfo(self.dtype).eps * greatest:
            Asked.closest = 0.0

    def _trainable(self) -> list[nn.Parameter]:
        return [p for p in self.theirs.parameters() if p.requires_grad]

    def _backward(
        self, ours: Tensor | None, theirs: Tensor, samples: Samples, wide: Samples
    ) -> None:
        """Theirs, and ours unless that is done already."""
        trainable = self._trainable()
        if ours is not None:
            assert ours.requires_grad == bool(trainable or samples.real.requires_grad)
            if not ours.requires_grad:
                return
            ours.backward()
        theirs.backward()
        for parameter in trainable:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if not self._dropped(list(wide)):
            self._check_flows(samples, wide)

    def _dropped(self, wide: list[Tensor]) -> bool:
        """Whether there were gradients beyond float16, which both critics then have none of."""
        if self.dtype is not torch.float16:
            return False
        if _largest([*self.theirs.parameters(), *wide]) <= HALF_REACH:
            return False
        self.ours.zero_grad()
        self.theirs.zero_grad()
        return True

    def _check_flows(self, mine: Samples, other: Samples) -> None:
        """The samples' gradients, which autograd leaves None where nothing flows."""
        got = [("real", _or_zeros(mine.real)), ("fake", _or_zeros(mine.fake))]
        want = [_or_zeros(other.real), _or_zeros(other.fake)]
        assert_gradients_near(got, want, self.near(), "samples")

    @torch.no_grad()
    def _settle(self, where: str, *dtypes: torch.dtype) -> None:
        """Compares everything, then gives theirs our numbers."""
        pair = self.optimizers
        assert_same_critic(self.ours, self.theirs, self.near(*dtypes), where)
        assert_same_optimizer(pair.ours, pair.theirs, self.near(*pair.dtypes()), where)
        mine = self.ours.state_dict()
        for name, value in self.theirs.state_dict().items():
            value.copy_(mine[name])
        for p, q in zip(self.ours.parameters(), self.theirs.parameters(), strict=True):
            q.grad = None if p.grad is None else p.grad.double()
        self.optimizers.take_over()
        Asked.forget()


def _or_zeros(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def _states(critic: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in critic.state_dict().items()}


def _largest(tensors: Iterable[Tensor]) -> float:
    """The largest element of their gradients."""
    gradients = [t.grad for t in tensors if t.grad is not None]
    return max((float(g.abs().max()) for g in gradients), default=0.0)
