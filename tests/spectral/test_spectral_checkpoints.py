"""State dicts, in every direction between our forms and torch's."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import fastwgan
from tests.compare import assert_matches
from tests.spectral.nets import (
    FORMS,
    TORCH_FORMS,
    Critic,
    assert_same_state,
    assert_same_step,
    inputs,
    weighted,
)

SOURCES = {
    **{f"fastwgan {name}": form for name, form in FORMS.items()},
    "torch hook": TORCH_FORMS["hook"],
    "torch parametrization": TORCH_FORMS["parametrization"],
}


def _trained(form: Any, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(1)
    net = form(Critic().to(dtype))
    net(*inputs(dtype)).sum().backward()
    return net


def _saved(net: nn.Module, plain: bool = False) -> Any:
    """Through a file, as users do it; `plain` drops the metadata that torch puts on it."""
    file = io.BytesIO()
    torch.save(dict(net.state_dict()) if plain else net.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("plain", [False, True], ids=["state dict", "plain dict"])
@pytest.mark.parametrize("target", FORMS)
@pytest.mark.parametrize("source", SOURCES)
def test_our_forms_load_every_form(source: str, target: str, plain: bool) -> None:
    original = _trained(SOURCES[source])
    loaded = FORMS[target](Critic())
    saved = _saved(original, plain)
    keys = list(saved)
    report = loaded.load_state_dict(saved, strict=True)
    assert (report.missing_keys, report.unexpected_keys) == ([], [])
    assert list(saved) == keys
    for net in (original, loaded):
        net.eval()
    batch = inputs()
    assert_matches(loaded(*batch), original(*batch).double(), op="spectral_norm", order=0)
    for mine, other in zip(weighted(loaded), weighted(original), strict=True):
        assert_matches(mine.weight, other.weight.double(), op="spectral_norm", order=0)


@pytest.mark.parametrize("form", FORMS)
def test_torch_forms_load_ours(form: str) -> None:
    ours, theirs = _trained(FORMS[form]), TORCH_FORMS[form](Critic())
    theirs.load_state_dict(_saved(ours), strict=True)
    assert_same_state(ours, theirs)
    assert_same_step(ours, theirs, *inputs())


def test_a_group_loads_into_a_module_that_is_deeper() -> None:
    """The prefixes of an enclosing module are kept apart."""
    original = _trained(TORCH_FORMS["parametrization"])
    outer = nn.ModuleDict({"a": FORMS["group"](Critic()), "b": FORMS["hook"](Critic())})
    saved = {f"{key}.{name}": value for key in "ab" for name, value in _saved(original).items()}
    outer.load_state_dict(saved, strict=True)
    for key in "ab":
        assert_matches(
            outer[key].eval()(*(batch := inputs())),
            original.eval()(*batch).double(),
            op="spectral_norm",
            order=0,
        )


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("source", ["torch hook", "torch parametrization"])
@pytest.mark.parametrize("target", FORMS)
def test_half_precision_vectors_become_float32(
    source: str, target: str, dtype: torch.dtype, assign: bool
) -> None:
    torch.manual_seed(1)
    saved = _saved(SOURCES[source](Critic()).to(dtype))
    net = FORMS[target](Critic())
    net.load_state_dict(saved, strict=True, assign=assign)
    for name, value in net.state_dict().items():
        vector = name.endswith(("_u", "_v"))
        assert value.dtype is (dtype if assign and not vector else torch.float32), name
    x = torch.randn(2, 80).to(dtype if assign else torch.float32)
    assert net.again(x).isfinite().all()


@pytest.mark.parametrize("form", FORMS)
def test_float64_checkpoints_assigned(form: str) -> None:
    original = _trained(FORMS[form], torch.float64)
    net = FORMS[form](Critic())
    net.load_state_dict(_saved(original), assign=True)
    assert_same_step(net, original, *inputs(torch.float64))


def _version_0(net: nn.Module) -> Any:
    """What torch's hook saved before it kept v: the weight as last used, and u."""
    saved = net.state_dict()
    for name, module in net.named_modules():
        if f"{name}.weight_v" in saved:
            del saved[f"{name}.weight_v"]
            saved[f"{name}.weight"] = module.weight.detach().clone()
            del saved._metadata[name]["spectral_norm"]
    return saved


@pytest.mark.parametrize("form", ["hook", "group"])
def test_version_0_checkpoints_load_as_in_torch(form: str) -> None:
    torch.manual_seed(1)
    images, _ = inputs()
    original = TORCH_FORMS["hook"](Critic().body)
    original(images)
    saved = _version_0(original)
    ours, theirs = FORMS[form](Critic().body), TORCH_FORMS[form](Critic().body)
    for net in (ours, theirs):
        net.load_state_dict(copy.deepcopy(saved))
        net.eval()
    assert_same_state(ours, theirs)
    assert_matches(ours(images), theirs(images).double(), op="spectral_norm", order=0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("suffix", ["orig", "u", "v"])
def test_incomplete_checkpoints_are_refused(form: str, suffix: str) -> None:
    saved = _saved(_trained(TORCH_FORMS["hook"]))
    del saved[f"again.weight_{suffix}"]
    with pytest.raises(RuntimeError, match=r"Missing key\(s\) in state_dict"):
        FORMS[form](Critic()).load_state_dict(saved)


@pytest.mark.parametrize("form", FORMS)
def test_wrong_shapes_are_refused(form: str) -> None:
    saved = _saved(_trained(TORCH_FORMS["hook"]))
    saved["again.weight_u"] = torch.ones(3)
    with pytest.raises(RuntimeError, match="size mismatch"):
        FORMS[form](Critic()).load_state_dict(saved)


def test_a_parametrization_below_another_loads_the_hook_form() -> None:
    class Doubled(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return 2 * weight

        def right_inverse(self, weight: Tensor) -> Tensor:
            return weight / 2

    source = fastwgan.spectral_norm(nn.Linear(3, 4))
    net = nn.Linear(3, 4)
    parametrize.register_parametrization(net, "weight", Doubled())
    fastwgan.parametrizations.spectral_norm(net)
    net.load_state_dict(source.state_dict(), strict=True)
    parts = net.parametrizations.weight
    assert torch.equal(parts.original, source.weight_orig)
    assert torch.equal(parts[1]._u, source.weight_u)
    assert torch.equal(parts[1]._v, source.weight_v)


def test_loading_after_removal() -> None:
    """A checkpoint without spectral norm loads again once the spectral norm is gone."""
    for form, remove in (
        ("hook", fastwgan.remove_spectral_norm),
        ("parametrization", lambda layer: parametrize.remove_parametrizations(layer, "weight")),
    ):
        net = FORMS[form](Critic())
        for layer in list(weighted(net)):
            remove(layer)
        net.load_state_dict(Critic().state_dict(), strict=True)


@pytest.mark.parametrize("form", FORMS)
def test_resuming_equals_going_on(backend: str, form: str) -> None:
    net = _trained(FORMS[form])
    other = FORMS[form](Critic())
    other.load_state_dict(_saved(net))
    for _ in range(3):
        batch = inputs()
        assert torch.equal(other(*batch), net(*batch))
