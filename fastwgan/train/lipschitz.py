"""Is this critic 1-Lipschitz? `audit` says, and what to change."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from fastwgan.train.config import TrainConfig
from fastwgan.train.data import Data, load
from fastwgan.train.drawing import packed
from fastwgan.train.extras import require
from fastwgan.train.folder import RunFolder, of_checkpoint
from fastwgan.train.lipschitz_gradients import Points, gradients_of
from fastwgan.train.lipschitz_layers import Layer, layers_of
from fastwgan.train.lipschitz_modules import modules_of, undisturbed
from fastwgan.train.lipschitz_points import check, like, points, rows_to_watch, unpacked
from fastwgan.train.lipschitz_report import Audit
from fastwgan.train.lipschitz_verdict import Findings, verdict
from fastwgan.train.lipschitz_watch import watch
from fastwgan.train.lipschitz_weights import Weights, units_of, weights_of
from fastwgan.train.methods import name_of
from fastwgan.train.restored import Restored, restore
from fastwgan.train.writing import write_whole

__all__ = ["SAMPLES", "Audit", "audit", "run_audit"]

SAMPLES = 1024


def audit(
    critic: Callable[..., Tensor],
    data: Tensor | Data,
    *,
    fake: Tensor | None = None,
    labels: Tensor | None = None,
    fake_labels: Tensor | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
    config: TrainConfig | None = None,
) -> Audit:
    """Says how far a critic is from 1-Lipschitz in Euclidean norm, layer by layer and at samples.

    The critic is looked at in evaluation mode, and left as it was: its modes, buffers and gradients
    and torch's random generators. Where a sample has several scores, their sum is meant.

    Args:
        critic: A module or function of samples [batch, *shape], and of labels [batch] if it has
            them, to scores [batch, ...].
        data: [n, *shape], floating point, or a data set of the trainer; taken to the dtype and the
            device of the critic's weights.
        fake: Generated samples [m, *shape]; without them, normal noise with the mean and the
            deviation that the data has in each place.
        labels: [n], for a conditional critic; by default a data set's own, if the critic has a
            second argument that it needs.
        fake_labels: [m]; by default as the data's.
        samples: Real and fake samples to look at, and points between them, drawn by seed.
        seed: Of what is drawn.
        config: The settings that the critic was trained by, which the advice then names.

    Returns:
        The audit: print it, `to_dict()` it, `draw(path)` it. Numbers, without derivatives.

    Raises:
        TypeError: `data`, `fake` or the critic's result is of a wrong type.
        ValueError: a shape or number that can't be, or scores that don't depend on the samples.
    """
    real, labels = unpacked(critic, data, labels)
    check(real, labels, fake, fake_labels, samples)
    modules = modules_of(critic)
    target = like(modules, real)
    with undisturbed(modules, target.device, seed):
        generated = None if fake is None else Points(fake, fake_labels)
        generator = torch.Generator().manual_seed(seed)
        kinds, notes = points(Points(real, labels), generated, samples, generator, target)
        return _audited(critic, modules, kinds, notes, seed, config)


def _audited(
    critic: Callable[..., Tensor],
    modules: Mapping[str, nn.Module],
    kinds: Mapping[str, Points],
    notes: tuple[str, ...],
    seed: int,
    config: TrainConfig | None,
) -> Audit:
    few = rows_to_watch(kinds["real"])
    watched = watch(critic, modules, few.samples, () if few.labels is None else (few.labels,))
    layers, bound = layers_of(watched, modules, seed, few.samples.device)
    clip = None if config is None else config.weight_clip
    weights = weights_of(_parameters(modules), clip)
    units = units_of(critic, [kinds["real"], kinds["fake"]], watched)
    gradients = gradients_of(critic, kinds, torch.Generator().manual_seed(seed))
    parts = config.parts if config is not None else _guessed(layers, weights)
    found = Findings(layers, bound, gradients, weights, units, parts, config)
    status, sentence = verdict(found)
    method = name_of(tuple(parts)) if parts else ""
    return Audit(status, sentence, method, layers, bound, gradients, weights, units, tuple(notes))


def _parameters(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    return {
        f"{name}.{key}".lstrip("."): parameter
        for name, module in modules.items()
        for key, parameter in module.named_parameters(recurse=False)
    }


def _guessed(layers: Sequence[Layer], weights: Weights) -> tuple[str, ...]:
    """The parts of the method that a critic itself shows."""
    clipped = ("clip",) if weights.clip is not None else ()
    return clipped + (("sn",) if any(layer.normalised for layer in layers) else ())


def run_audit(
    checkpoint: Path,
    *,
    out: Path | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
    critic: str | None = None,
) -> Audit:
    """Audits a checkpoint's critic, and writes audit.png and audit.json.

    Args:
        checkpoint: A run's folder or its checkpoint.
        out: The folder of both files, made if need be; by default the run's.
        samples: As `audit`'s.
        seed: As `audit`'s, and of the generated samples.
        critic: The user's own critic that the checkpoint names, as `package.module:Class`, whose
            code then runs.

    Raises:
        CheckpointError: there is no checkpoint, or it is damaged or not one of ours.
        ConfigError: its data can't be loaded, or it names a critic of its user's own that was not
            given.
        MissingExtraError: matplotlib, or a package that the data needs, isn't installed.
        ValueError: see `audit`.
        OSError: a file can't be written.
    """
    require("matplotlib", "drawing audit.png")
    restored = restore(checkpoint, critic=critic)
    assert restored.critic is not None  # it was asked for
    data, notes = _data_of(restored)
    fake, fake_labels = restored.draw(samples * restored.config.pack, seed)
    found = audit(
        restored.critic,
        _judged(data.values, restored.config.pack),
        fake=_judged(fake, restored.config.pack),
        labels=data.labels if restored.config.conditional else None,
        fake_labels=fake_labels,
        samples=samples,
        seed=seed,
        config=restored.config,
    )
    found = dataclasses.replace(found, notes=(*found.notes, *notes))
    folder = of_checkpoint(checkpoint) if out is None else RunFolder(out)
    folder.path.mkdir(parents=True, exist_ok=True)
    found.draw(folder.audit_png)
    text = json.dumps(found.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(folder.audit_json, (text + "\n").encode())
    return found


def _judged(rows: Tensor, pack: int) -> Tensor:
    """What the critic takes of samples [n, *shape]; what is left of a last pack is left out."""
    return packed(rows[: len(rows) // pack * pack], pack)


def _data_of(restored: Restored) -> tuple[Data, tuple[str, ...]]:
    """What the run was trained on, and a note where that has changed since."""
    config = restored.config
    data = load(
        config.data,
        config.seed,
        image_size=config.image_size,
        label_column=config.label_column,
    )
    if data.fingerprint() == restored.spec.fingerprint:
        return data, ()
    return data, (f"{config.data} holds other data now than when this critic was trained",)
