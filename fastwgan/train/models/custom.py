"""A user's own critic, by `critic = "package.module:Class"`.

Loading one imports its module, which runs that module's code. A file that names one, a checkpoint
or a config.toml, has it run only where its reader names it too. No other setting and nothing else
in a checkpoint runs code that is not fastwgan's. The module is looked for where Python looks for
any other: for one in the current folder, say so by `PYTHONPATH=.` or start by `python -m fastwgan`.
"""

from __future__ import annotations

import copy
import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import fastwgan
from fastwgan.train.config import ConfigError
from fastwgan.train.methods import PENALTIES

_ROWS = 2


class OneColumn(nn.Module):
    """A critic whose scores [batch] become [batch, 1]."""

    def __init__(self, critic: nn.Module) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, samples: Tensor, *labels: Tensor) -> Tensor:
        """Scores [batch, 1]."""
        return self.critic(samples, *labels).unsqueeze(1)  # type: ignore[no-any-return]


def confirm(stored: str | None, given: str | None, path: Path) -> None:
    """Refuses code that a file names and its reader does not.

    Args:
        stored: The critic that the file names.
        given: The critic that its reader names.
        path: The file.

    Raises:
        ConfigError: they differ.
    """
    if stored is not None and given != stored:
        said = "was not given" if given is None else f"was {given!r}"
        raise ConfigError(
            "critic",
            f"{said}, and {path} names {stored!r}, whose code would run; name that if you trust "
            "the file.",
        )


def critic(name: str, parts: Sequence[str], shape: tuple[int, ...], classes: int) -> nn.Module:
    """The named critic for samples of `shape`, checked by a call on two samples of zeros.

    Args:
        name: `package.module:Class`, a torch.nn.Module that is constructed with `shape`, and
            `classes` if there are any; called with samples [batch, *shape], and labels [batch] if
            there are classes, it returns real scores [batch] or [batch, 1].
        parts: Of the method: with a penalty the critic must have no BatchNorm, with "sn" layers
            that spectral norm goes on.
        shape: Of one sample.
        classes: How many labels there are; 0 for none.

    Raises:
        ConfigError: it cannot be loaded, or is no such critic. What its own code raises is passed
            on.
    """
    kind = _class_of(name)
    arguments = (shape, classes) if classes else (shape,)
    _check_signature(name, kind, arguments)
    built = kind(*arguments)
    with torch.random.fork_rng(devices=[]):  # checking draws nothing from the run's numbers
        _check_layers(name, built, parts)
        columns = _check_scores(name, built, shape, classes)
    return built if columns else OneColumn(built)


def _class_of(name: str) -> type[nn.Module]:
    module_name, colon, class_name = name.partition(":")
    if not (colon and class_name and all(part.isidentifier() for part in module_name.split("."))):
        raise _refused(name, "it must be package.module:Class")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, and imports one that is not
        raise _refused(
            name,
            f"there is no module {error.name} where Python looks; PYTHONPATH=. lets it look in the "
            "current folder",
        ) from None
    kind = getattr(module, class_name, None)
    if kind is None:
        raise _refused(name, f"module {module_name} has no {class_name}")
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise _refused(name, f"{class_name} must be a class derived from torch.nn.Module")
    return kind


def _check_signature(name: str, kind: type[nn.Module], arguments: tuple[object, ...]) -> None:
    try:
        inspect.signature(kind).bind(*arguments)
    except TypeError as error:
        given = "shape and classes" if len(arguments) == 2 else "shape"
        raise _refused(name, f"it must be constructed with {given}: {error}") from None


def _check_layers(name: str, built: nn.Module, parts: Sequence[str]) -> None:
    if PENALTIES.keys() & set(parts):
        for layer_name, layer in built.named_modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                raise _refused(
                    name,
                    f"its layer {layer_name} is BatchNorm, which a gradient penalty does not go "
                    "with: every score must depend on its own sample alone; take LayerNorm or none",
                )
    if "sn" in parts:
        try:
            fastwgan.spectral_norm(copy.deepcopy(built))
        except (RuntimeError, KeyError, ValueError) as error:
            reason = str(error).strip("\"'").rstrip(".")
            raise _refused(name, f"spectral norm cannot go on it: {reason}") from None


def _check_scores(name: str, built: nn.Module, shape: tuple[int, ...], classes: int) -> bool:
    """Whether scores come as a column, [batch, 1]."""
    was_training = built.training
    samples = torch.zeros(_ROWS, *shape)
    labels = [torch.zeros(_ROWS, dtype=torch.int64)] * bool(classes)
    with torch.no_grad():
        scores = built.eval()(samples, *labels)  # in eval, running statistics stay as they are
    built.train(was_training)
    found = f"a {type(scores).__name__}"
    if isinstance(scores, Tensor):
        found = f"{scores.dtype} of shape {list(scores.shape)}"
        if scores.is_floating_point() and scores.shape in ((_ROWS,), (_ROWS, 1)):
            return scores.dim() == 2
    raise _refused(
        name,
        f"for {_ROWS} samples it returned {found}, but it must return real scores, [{_ROWS}] or "
        f"[{_ROWS}, 1]",
    )


def _refused(name: str, problem: str) -> ConfigError:
    return ConfigError("critic", f"was {name!r}; {problem}.")
