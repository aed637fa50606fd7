"""The reason for Wasserstein GANs, in numbers: exact ones, and what trained critics find."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.image import imread
from scipy import integrate, stats

from fastwgan.train import ConfigError
from fastwgan.train.divergences import Comparison, critics, demo, demo_divergences, exact, main
from fastwgan.train.divergences.examples import EXAMPLES, Example, moved
from tests.documents import text_of

LINES, GAUSSIANS = EXAMPLES
METHODS = {method.name: method for method in critics.METHODS}
PENALTIES = ("wgan-gp", "wgan-lp")
FAR = (-1.0, 0.75)  # at both the Gaussians are disjoint too

_EDGE = exact.REACH / exact.SIGMA


def _gaussian(theta: float) -> Any:
    """scipy's truncated Gaussian round θ."""
    return stats.truncnorm(-_EDGE, _EDGE, loc=theta, scale=exact.SIGMA)


def _integral(height: Callable[[float], float], theta: float) -> float:
    """Over both supports, in pieces between the places where a density jumps."""
    ends = sorted({place + side * exact.REACH for place in (0.0, theta) for side in (-1, 1)})
    pieces = itertools.pairwise(ends)
    return sum(integrate.quad(height, a, b, epsabs=1e-13, limit=200)[0] for a, b in pieces)


def _js(theta: float) -> float:
    """By its definition, with densities of scipy."""
    p, q = _gaussian(0).pdf, _gaussian(theta).pdf

    def height(x: float) -> float:
        m = (p(x) + q(x)) / 2
        return sum(d * math.log(d / m) / 2 for d in (p(x), q(x)) if d > 0)

    return _integral(height, theta)


OVERLAPPING = (-0.4, -0.1, 0.05, 0.2, 0.45)
DISJOINT = (-1.0, -0.5, 0.49, 1.0)


@pytest.mark.parametrize("theta", [*OVERLAPPING, *DISJOINT])
def test_exact_values_of_gaussians_are_the_integrals(theta: float) -> None:
    real, fake = _gaussian(0), _gaussian(theta)
    found = GAUSSIANS.exact(theta)
    assert found.js.value == pytest.approx(_js(theta), abs=1e-9)
    tv = _integral(lambda x: abs(real.pdf(x) - fake.pdf(x)) / 2, theta)
    assert found.tv.value == pytest.approx(tv, abs=1e-6)  # quad meets a kink
    wasserstein = _integral(lambda x: abs(real.cdf(x) - fake.cdf(x)), theta)
    assert found.wasserstein.value == pytest.approx(wasserstein, abs=1e-9)
    alone = real.cdf(theta - exact.REACH) + real.sf(theta + exact.REACH)
    assert alone > 0  # P has mass where Q has none
    assert found.kl == exact.Quantity(math.inf, None)


@pytest.mark.parametrize("theta", OVERLAPPING)
def test_exact_gradients_of_gaussians_are_the_slopes(theta: float) -> None:
    found, step = GAUSSIANS.exact(theta), 1e-4
    assert found.js.gradient == pytest.approx(
        (_js(theta + step) - _js(theta - step)) / (2 * step), rel=1e-4
    )
    slope = (GAUSSIANS.exact(theta + step).tv.value - GAUSSIANS.exact(theta - step).tv.value) / (
        2 * step
    )
    assert found.tv.gradient == pytest.approx(slope, rel=1e-4)
    assert found.wasserstein.gradient == math.copysign(1, theta)


@pytest.mark.parametrize(
    ("example", "thetas"), [(LINES, (-1.0, -1e-3, 1e-9, 0.5)), (GAUSSIANS, DISJOINT)]
)
def test_disjoint_distributions_saturate_all_but_wasserstein(
    example: Example, thetas: tuple[float, ...]
) -> None:
    for theta in thetas:
        found = example.exact(theta)
        assert found.kl == exact.Quantity(math.inf, None)
        assert found.js == exact.Quantity(math.log(2), 0.0)
        assert found.tv == exact.Quantity(1.0, 0.0)
        assert found.wasserstein == exact.Quantity(abs(theta), math.copysign(1, theta))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_equal_distributions_differ_in_nothing(example: Example) -> None:
    found = example.exact(0.0)
    for quantity in (found.kl, found.js, found.tv, found.wasserstein):
        assert quantity.value == pytest.approx(0, abs=1e-12)
        assert quantity.gradient is None


def test_whole_gaussians_have_a_finite_kullback_leibler() -> None:
    p, q = stats.norm(0, exact.SIGMA), stats.norm(0.2, exact.SIGMA)
    kl = integrate.quad(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), -1, 1)[0]
    assert exact.kl_of_whole_gaussians(0.2) == pytest.approx(kl, rel=1e-6)


def test_samples_are_of_the_distributions() -> None:
    draws = torch.Generator().manual_seed(0)
    line, gaussian = (example.draw(4000, draws).double().numpy() for example in EXAMPLES)
    assert (line[:, 0] == 0).all()
    assert stats.kstest(line[:, 1], "uniform").pvalue > 0.01
    for axis in (0, 1):
        assert stats.kstest(gaussian[:, axis], _gaussian(0).cdf).pvalue > 0.01
    assert abs(gaussian).max() <= exact.REACH
    assert abs(stats.pearsonr(*gaussian.T).statistic) < 0.05


@pytest.fixture(scope="module", params=EXAMPLES, ids=lambda example: example.name)
def far(request: pytest.FixtureRequest) -> Comparison:
    """Critics of disjoint distributions, as trained by --quick."""
    return demo.compare(request.param, FAR, steps=demo.QUICK_STEPS, seed=0)


def _assert_penalties_find_wasserstein(found: Comparison) -> None:
    """Within 5 % as promised, and nearer still to what a weight of λ must give."""
    for point in found.points:
        distance = abs(point.theta)
        for name in PENALTIES if distance else ():
            critic = point.found[name]
            assert critic.value == pytest.approx(distance, rel=0.05), (name, point.theta)
            assert critic.gradient == pytest.approx(math.copysign(1, point.theta), rel=0.05)
            biased = distance * (1 + distance / (2 * critics.PENALTY_WEIGHT))
            assert critic.value == pytest.approx(biased, rel=0.01), (name, point.theta)


def _assert_spectral_norm_is_a_lower_bound(found: Comparison) -> None:
    for point in found.points:
        critic = point.found["sn-gan"]
        assert critic.lipschitz <= 1.001  # σ is found by power iteration, so hardly too small
        assert critic.value <= 1.001 * abs(point.theta) + 1e-4
        if point.theta:
            assert critic.value > 0


WIDE = 0.75  # θ at which supports are a quarter apart, or more


def _assert_clipping_is_proportional(found: Comparison) -> None:
    """A constant times |θ| on either side of 0, to a factor of 1.6 between the largest and least.

    The sides mirror each other but for the first weights, and each has a constant of its own.
    """
    points = [point for point in found.points if point.theta]
    for sign in (-1, 1):
        values = [
            point.found["wgan"].value / abs(point.theta)
            for point in points
            if point.theta * sign > 0
        ]
        assert 0 < max(values) <= 1.6 * min(values)
        assert max(values) < 0.5  # which is not Wasserstein-1
    for point in points:
        clipped = point.found["wgan"]
        assert clipped.value <= 1.001 * clipped.lipschitz * abs(point.theta)
        assert clipped.scaled().value == pytest.approx(abs(point.theta), rel=0.25)
        assert math.copysign(1, clipped.gradient) == math.copysign(1, point.theta)


def _assert_discriminators_saturate(found: Comparison, apart: float) -> None:
    """From `apart` on at log 2; without a gradient where the gap is as wide as a network's step.

    The Gaussians at 0.5 are 0.02 apart. A step that steep has a slope beside it.
    """
    for point in found.points:
        critic = point.found["gan"]
        assert critic.value <= point.exact.js.value + 0.01  # a lower bound, but for the samples
        if abs(point.theta) >= apart:
            assert critic.value == pytest.approx(math.log(2), rel=0.01)
            assert abs(critic.gradient) < (0.02 if abs(point.theta) >= WIDE else 0.05)


def test_penalties_find_wasserstein(far: Comparison) -> None:
    _assert_penalties_find_wasserstein(far)
    assert far.penalty_error() <= 0.05


def test_spectral_norm_is_a_lower_bound(far: Comparison) -> None:
    _assert_spectral_norm_is_a_lower_bound(far)


def test_clipping_is_proportional_to_wasserstein(far: Comparison) -> None:
    _assert_clipping_is_proportional(far)


def test_discriminators_saturate_and_tell_no_way(far: Comparison) -> None:
    _assert_discriminators_saturate(far, apart=WIDE)


def test_a_discriminator_finds_jensen_shannon_of_what_overlaps() -> None:
    critic = critics.train(GAUSSIANS, 0.25, METHODS["gan"], demo.STEPS, seed=0)
    found, true = critics.measure(critic, GAUSSIANS, 0.25, METHODS["gan"]), GAUSSIANS.exact(0.25)
    assert found.value == pytest.approx(true.js.value, rel=0.05)
    assert found.gradient == pytest.approx(true.js.gradient, rel=0.1)


@pytest.mark.parametrize("name", ["wgan-gp", "gan"])
def test_the_gradient_is_the_slope_with_the_critic_held(name: str) -> None:
    method, theta, step = METHODS[name], 0.3, 1e-2
    critic = critics.train(LINES, theta, method, 10, seed=0)
    below, above = (critics.measure(critic, LINES, theta + d, method).value for d in (-step, step))
    slope = critics.measure(critic, LINES, theta, method).gradient
    assert abs(slope) > 0.01
    assert slope == pytest.approx((above - below) / (2 * step), rel=0.01)


def test_clipped_weights_are_within_their_bound() -> None:
    critic = critics.train(LINES, 1.0, METHODS["wgan"], 5, seed=0)
    largest = max(float(weights.detach().abs().max()) for weights in critic.parameters())
    assert largest == pytest.approx(critics.WEIGHT_CLIP)


def test_scores_are_relative_to_halfway_and_a_discriminators_are_probabilities() -> None:
    theta = 0.6
    critic = critics.train(GAUSSIANS, theta, METHODS["wgan-gp"], 2, seed=0)
    scores = critics.scores_along(critic, GAUSSIANS, theta, METHODS["wgan-gp"])
    places = critics.places(theta)
    assert (places[0], places[-1]) == (-0.5, pytest.approx(1.1))
    assert float(scores[len(scores) // 2]) == pytest.approx(0, abs=1e-6)
    shown = critics.scores_along(critic, GAUSSIANS, theta, METHODS["gan"])
    assert ((shown > 0) & (shown < 1)).all()


def test_a_critic_that_says_nothing_is_scaled_to_nothing() -> None:
    assert critics.Found(0.0, 0.0, 0.0).scaled() == critics.Found(0.0, 0.0, 0.0)
    assert critics.Found(1.0, -2.0, 4.0).scaled() == critics.Found(0.25, -0.5, 1.0)


def test_the_generator_moves_its_samples() -> None:
    assert moved(torch.zeros(2, 2), -0.5).tolist() == [[-0.5, 0.0]] * 2


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three distances: 30 critics."""
    monkeypatch.setattr(demo, "QUICK_THETAS", (-1.0, 0.0, 0.5))


@pytest.mark.usefixtures("few")
def test_the_demo_writes_its_numbers_and_its_picture(tmp_path: Path) -> None:
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    seen: list[tuple[int, int]] = []
    out = tmp_path / "new" / "demo"
    found = demo_divergences(
        out, steps=1, quick=True, watch=lambda done, total: seen.append((done, total))
    )
    assert seen == [(done, 30) for done in range(31)]
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads
    assert sorted(path.name for path in out.iterdir()) == ["divergences.json", "divergences.png"]
    numbers = json.loads((out / "divergences.json").read_text(encoding="utf-8"))
    assert numbers == json.loads(json.dumps(found.to_dict()))
    _assert_format(numbers)
    picture = imread(out / "divergences.png")
    assert picture.shape[:2] == (1000, 1800)
    assert picture.std() > 0.02
    before = (out / "divergences.json").read_bytes()
    demo_divergences(out, steps=1, quick=True)
    assert (out / "divergences.json").read_bytes() == before
    demo_divergences(out, steps=1, quick=True, seed=1)
    assert (out / "divergences.json").read_bytes() != before


def _assert_format(numbers: dict[str, Any]) -> None:
    assert numbers.keys() == {"seed", "steps", "comparisons", "settings"}
    assert [each["name"] for each in numbers["comparisons"]] == ["lines", "gaussians"]
    for comparison in numbers["comparisons"]:
        for point in comparison["points"]:
            assert point["exact"]["kl"] == {
                "value": "infinity" if point["theta"] else 0,
                "gradient": None,
            }
            assert point["exact"]["wasserstein"]["value"] == abs(point["theta"])
            assert point["found"].keys() == METHODS.keys()
            for found in point["found"].values():
                assert found.keys() == {"value", "gradient", "lipschitz"}
        profile = comparison["profile"]
        assert profile["theta"] == comparison["points"][-1]["theta"]
        assert {len(row) for row in profile["scores"].values()} == {len(profile["places"])}


@pytest.mark.usefixtures("few")
def test_the_command_says_what_to_see(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tmp_path, steps=1, quick=True) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines()[:-2])) <= 80
    assert "…" not in shown
    assert "What to see: once the two distributions are disjoint" in shown
    assert shown.splitlines()[-2:] == [
        str(tmp_path / "divergences.png"),
        str(tmp_path / "divergences.json"),
    ]


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"steps": 0}, "steps was 0; it must be a whole number of at least 1."),
        ({"steps": True}, "steps was True; it must be a whole number of at least 1."),
        ({"seed": -1}, "seed was -1; it must be a whole number from 0 to 4294967295."),
        ({"seed": 1.5}, "seed was 1.5; it must be a whole number from 0 to 4294967295."),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_makes_nothing(
    tmp_path: Path, chosen: dict[str, Any], sentence: str
) -> None:
    out = tmp_path / "demo"
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        demo_divergences(out, **chosen)
    assert not out.exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    out = tmp_path / "file"
    out.write_text("mine")
    with pytest.raises(ConfigError, match=r"^out was .*file, which is a file; it must be a folder"):
        demo_divergences(out)
    with pytest.raises(ConfigError, match=r"^out was .*demo, which can't be made: .*\.$"):
        demo_divergences(out / "demo")
    assert out.read_text() == "mine"


ROWS = re.compile(r"^ (?P<name>\S.*?)  +(?P<numbers>[-–∞\d].*)$", re.MULTILINE)


def _documented() -> list[dict[str, list[str]]]:
    """The two tables of docs/divergences.md: rows by name."""
    (block,) = re.findall(r"^```text\n(.*?)^```$", text_of("docs/divergences.md"), re.M | re.S)
    tables = block.split(GAUSSIANS.title)
    return [
        {row["name"].strip(): row["numbers"].split() for row in ROWS.finditer(table)}
        for table in tables
    ]


@pytest.mark.parametrize("number", [0, 1])
def test_the_page_shows_exact_numbers_and_penalties_within_five_percent(number: int) -> None:
    rows, example = _documented()[number], EXAMPLES[number]
    thetas = [float(text) for text in rows["θ"]]
    count = len(thetas) // 2
    assert thetas == [theta for theta in demo.THETAS if theta > 0] * 2
    for name, label in (
        ("kl", "Kullback–Leibler"),
        ("js", "Jensen–Shannon"),
        ("tv", "total variation"),
        ("wasserstein", "Wasserstein-1"),
    ):
        quantities = [getattr(example.exact(theta), name) for theta in thetas[:count]]
        expected = [_shown(each.value) for each in quantities]
        assert rows[label] == expected + [_shown(each.gradient) for each in quantities]
    for label in ("gradient penalty", "one-sided penalty"):
        found = list(map(float, rows[label]))
        assert found[:count] == pytest.approx(thetas[:count], rel=0.05)
        assert found[count:] == pytest.approx([1.0] * count, rel=0.05)


def _shown(number: float | None) -> str:
    if number is None:
        return "–"
    return "∞" if math.isinf(number) else f"{number:.3f}"


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_whole_grid(tmp_path: Path, seed: int) -> None:
    found = demo_divergences(tmp_path, seed=seed)
    assert found.penalty_error() <= 0.05
    for comparison, apart in zip(found.comparisons, (0.25, 0.5), strict=True):
        assert [point.theta for point in comparison.points] == list(demo.THETAS)
        _assert_penalties_find_wasserstein(comparison)
        _assert_spectral_norm_is_a_lower_bound(comparison)
        _assert_clipping_is_proportional(comparison)
        _assert_discriminators_saturate(comparison, apart)
    if seed == 0:
        for rows, comparison in zip(_documented(), found.comparisons, strict=True):
            apart_points = [point for point in comparison.points if point.theta > 0]
            for method in critics.METHODS:
                values = [point.found[method.name].value for point in apart_points]
                documented = list(map(float, rows[method.title]))[: len(values)]
                assert documented == pytest.approx(values, rel=0.05, abs=0.01), method.name
