"""The sentences that say whether a critic is 1-Lipschitz, and what to change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastwgan.train.config import TrainConfig
from fastwgan.train.lipschitz_gradients import Gradients
from fastwgan.train.lipschitz_layers import Bound, Layer
from fastwgan.train.lipschitz_weights import Units, Weights

BROKEN, FLAT, PROVEN, UNREFUTED, NEARLY, AVERAGE, REFUTED = (
    "broken",
    "flat",
    "proven",
    "unrefuted",
    "nearly",
    "average",
    "refuted",
)
_TOLERANCE = 1.01
_NEARLY = 1.2  # a gradient penalty aims at 1 from both sides
_OFF = 0.15  # of 1, a mean norm that a penalty doesn't hold there
_MANY_OFF = 1.5  # the norm that one in a hundred exceeds where it is too weak
_STEEP = 1.05  # a layer; spectral norm's one iteration a step leaves a little less
_FLAT = 1e-3
_SLACK = 0.3
_MANY_AT_CLIP = 0.25
_MANY_UNITS = 0.5
_ENOUGH = 64  # points, to say of a unit that it does nothing


@dataclass(frozen=True)
class Findings:
    """What the verdict is on.

    Attributes:
        layers: One by one,
        bound: and together.
        gradients: Lower bounds.
        weights: All of them.
        units: Of the rectifiers.
        parts: Of the method, as `fastwgan.train.methods.PARTS` names them; empty where unknown.
        config: The run's settings, if there was a run.
    """

    layers: Sequence[Layer]
    bound: Bound
    gradients: Gradients
    weights: Weights
    units: Sequence[Units]
    parts: Sequence[str]
    config: TrainConfig | None

    def was(self, name: str) -> str:
        """The name of a setting, and what it was."""
        value = getattr(self.config, name, None)
        return name if value is None else f"{name} (it was {value:g})"


def verdict(found: Findings) -> tuple[str, str]:
    """One of this module's constants, and what it means in one to four sentences."""
    status, sentence = _main(found)
    if status == BROKEN:
        return status, sentence
    return status, " ".join([sentence, *_clipping(found), *_idle(found)])


def _main(found: Findings) -> tuple[str, str]:
    weights, gradients = found.weights, found.gradients
    if weights.not_finite:
        return BROKEN, (
            f"Broken: {weights.not_finite:,} of {weights.count:,} weights are NaN or infinite, "
            f"first in {weights.broken[0]}. Go back to a checkpoint before that, with a smaller "
            f"{found.was('critic_lr')}."
        )
    not_finite = sum(each.not_finite for each in gradients.at.values())
    if not_finite:
        points = sum(each.points for each in gradients.at.values())
        return BROKEN, (
            f"Broken: the gradient is NaN or infinite at {not_finite:,} of {points:,} points, "
            "though every weight is finite. Look in the critic for what has no slope at zero: "
            "sqrt, norm, log, a division."
        )
    if gradients.largest < _FLAT:
        return FLAT, _flat(found)
    bound = found.bound.value
    if bound is not None and bound <= _TOLERANCE:
        return PROVEN, (
            f"1-Lipschitz everywhere: its layers bound every slope by {bound:.3g}, and gradient "
            f"norms reach {gradients.largest:.3g}.{_slack(found)}"
        )
    if gradients.largest <= _TOLERANCE:
        return UNREFUTED, _unrefuted(found)
    return _refuted(found)


def _flat(found: Findings) -> str:
    sentence = (
        f"Flat: gradient norms reach only {found.gradients.largest:.2g}, so the generator "
        "learns next to nothing."
    )
    if found.weights.clip is not None:
        return f"{sentence} Raise weight_clip (it is {found.weights.clip:g}), or take wgan-gp."
    return f"{sentence} Lower {found.was('critic_lr')}, and start anew."


def _slack(found: Findings) -> str:
    highest = found.gradients.percentile(99)
    if highest >= _SLACK:
        return ""
    if (found.weights.at_clip or 0.0) >= _MANY_AT_CLIP:
        advice = ""  # that of `_clipping` follows
    elif "clip" in found.parts:
        advice = f"Raise {found.was('weight_clip')}."
    elif {"gp", "lp", "dragan"}.intersection(found.parts):
        advice = f"Train longer, or raise {found.was('critic_lr')}."
    elif "sn" in found.parts:
        advice = "A gradient penalty beside the spectral norm (sn+gp) steepens it."
    else:
        advice = "A gradient penalty (wgan-gp) steepens it."
    return (
        f" It is flatter than it may be: 99 % of gradient norms are below {highest:.2g}, so its "
        f"scores understate the Wasserstein distance. {advice}"
    ).rstrip()


def _unrefuted(found: Findings) -> str:
    bound = found.bound
    beyond = (
        f"no bound holds everywhere, since {bound.note.removeprefix('no bound is known: ')}"
        if bound.value is None
        else f"the bound that holds everywhere is {bound.value:.3g}"
    )
    culprit = _culprit(found) if "sn" in found.parts else ""
    return (
        f"No slope above 1 was met: gradient norms reach {found.gradients.largest:.3g} on and "
        f"between the samples; {beyond}.{culprit}{_slack(found)}"
    )


def _refuted(found: Findings) -> tuple[str, str]:
    gradients, parts = found.gradients, found.parts
    highest = gradients.percentile(99)
    seen = f"slopes reach {gradients.largest:.3g} (99 % of gradient norms are below {highest:.3g})"
    penalised = {"gp", "lp", "dragan"}.intersection(parts)
    if (penalised or not parts) and highest <= _NEARLY:
        return NEARLY, (
            f"Nearly 1-Lipschitz where the samples lie: {seen}. A gradient penalty holds norms "
            "about 1, not below it: there is nothing to change."
        )
    raising = (
        f"Raise {found.was('penalty_weight')}, or {found.was('critic_steps')} so that the critic "
        "can follow."
    )
    if penalised and (held := _held(found)):
        sentences = [
            f"1-Lipschitz on average, as a gradient penalty holds it, but not everywhere: {held}, "
            f"and {seen}."
        ]
        if highest > _MANY_OFF:
            sentences.append(f"So many steep points are more than it should leave. {raising}")
        if "sn" not in parts:
            sentences.append("For a bound that holds everywhere take spectral norm (sn-gan).")
        return AVERAGE, " ".join(sentences)
    if penalised:
        advice = raising
    elif "clip" in parts:
        limit = found.bound.value
        within = "" if limit is None else f" (between that and {limit:.3g})"
        advice = (
            f"Clipping promises no more than some bound{within}, by which the distance is "
            "overstated: compare estimates of one run only, lower weight_clip, or take wgan-gp."
        )
    elif {"r1", "r2"}.intersection(parts) and "sn" not in parts:
        advice = (
            "R1 and R2 flatten the critic at the samples and promise no bound: its scores are no "
            "Wasserstein distance. For that take wgan-gp."
        )
    else:
        advice = _culprit(found).strip() or "Train it with a gradient penalty (wgan-gp)."
    return REFUTED, f"Not 1-Lipschitz: {seen}. {advice}"


def _held(found: Findings) -> str:
    """Where the penalty holds norms near 1 on average; "" where it doesn't."""
    place, where = "interpolated", "between real and fake samples"
    if not {"gp", "lp"}.intersection(found.parts):
        place, where = "real", "at real samples"
    mean = found.gradients.at[place].mean
    least = 0.0 if "lp" in found.parts else 1 - _OFF  # lp asks nothing of norms below 1
    within = least <= mean <= 1 + _OFF
    return f"gradient norms {where} have a mean of {mean:.3g}" if within else ""


def _culprit(found: Findings) -> str:
    """The layer with the largest constant, and what to do about it; "" where all are near 1."""
    steep = [each for each in found.layers if each.norm is not None and each.norm > _STEEP]
    if not steep:
        return ""
    layer = max(steep, key=lambda each: each.norm or 0.0)
    norm, where = f"{layer.norm:.3g}", name_of(layer.name, layer.kind)
    sigma = layer.sigma_power if layer.sigma is None else layer.sigma
    if sigma is None:
        what = f" {where} multiplies distances by up to {norm}"
        return f"{what}: take a mean in its stead." if layer.kind == "sum" else f"{what}."
    if not layer.normalised:
        other = "a gradient penalty (wgan-gp) or spectral norm (sn-gan)"
        advice = "put spectral norm on it" if "sn" in found.parts else f"train with {other}"
        return f" {where} has operator norm {norm}: {advice}."
    if sigma**2 > (layer.norm or 0.0):  # more of it is σ than what σ hides
        return (
            f" {where} has σ {sigma:.3g} in spite of spectral norm: its power iteration lags "
            "behind the weight; raise n_power_iterations, or lower the learning rate."
        )
    return (
        f" {where} has operator norm {norm} though its reshaped σ is {sigma:.3g}, by which "
        "spectral norm divides: add a gradient penalty (sn+gp), or divide by the operator norm."
    )


def _clipping(found: Findings) -> list[str]:
    weights = found.weights
    if weights.clip is None or weights.at_clip is None:
        return []
    if weights.beyond_clip:
        return [
            f"{weights.beyond_clip:.0%} of the weights lie beyond the clip bound "
            f"{weights.clip:g}: clip after every step (fastwgan.clip_after_step)."
        ]
    if weights.at_clip < _MANY_AT_CLIP:
        return []
    return [
        f"{weights.at_clip:.0%} of the weights lie at the clip bound {weights.clip:g}: the critic "
        "is near a bang-bang function, too simple to tell much; try wgan-gp, or a larger bound."
    ]


def _idle(found: Findings) -> list[str]:
    points = sum(each.points for each in found.gradients.at.values())
    if points < _ENOUGH:
        return []
    idle = [each for each in found.units if each.dead > _MANY_UNITS * each.units]
    if not idle:
        return []
    worst = max(idle, key=lambda each: each.dead / each.units)
    return [
        f"{name_of(worst.name, worst.kind)} has {worst.dead} of {worst.units} units positive at no "
        f"sample: lower {found.was('critic_lr')}, or take fewer units."
    ]


def name_of(name: str, kind: str) -> str:
    """A layer in a sentence."""
    return f"Layer {name} ({kind})" if name else f"The critic's {kind}"
