"""Each rule by itself, held against autograd on the same call."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fastwgan.engine.calls import METADATA
from fastwgan.engine.rules import LOCAL, bind
from fastwgan.engine.rules.base import Bound, Rule, Site
from tests.engine.rule_cases import CASES, Case, inputs_of

NAMES = list(CASES)


class Calls(TorchFunctionMode):
    """Keeps the last call on floating-point tensors whose rule is of a kind."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.found: tuple[Any, Any, Any] | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in METADATA:
            rule, _ = bind(func, args, kwargs)
            if rule.kind == self.kind:
                own = [a.detach().clone() if isinstance(a, Tensor) else a for a in args]
                self.found = func, args if isinstance(args[0], (list, tuple)) else own, kwargs
        return func(*args, **kwargs)


def call_of(case: Case, inputs: list[Tensor]) -> tuple[Any, Any, Any]:
    with Calls(case.kind) as calls:
        case.call(*inputs)
    assert calls.found is not None, "the rule was not asked"
    return calls.found


def bound_of(case: Case, inputs: list[Tensor]) -> tuple[Rule, Bound]:
    function, args, kwargs = call_of(case, inputs)
    alone = case.kind == "matmul" and not case.weights
    rule, bound = bind(function, args, kwargs, {id(a) for a in args} if alone else ())
    assert rule is not LOCAL
    assert rule.kind == case.kind
    return rule, bound


def site_at(rule: Rule, bound: Bound, options: Any = None) -> Site:
    options = bound.options if options is None else options
    inputs = tuple(None if z is None else z.detach() for z in bound.inputs)
    outputs, saved = rule.forward(options, inputs)
    return Site(options, inputs, outputs, saved)


def floating(tensors: Any) -> list[int]:
    return [i for i, t in enumerate(tensors) if t is not None and t.is_floating_point()]


def random_like(tensors: Any) -> tuple[Tensor | None, ...]:
    return tuple(
        torch.randn_like(t) if t is not None and t.is_floating_point() else None for t in tensors
    )


def gradients(value: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(value, leaves, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(z) if g is None else g for g, z in zip(found, leaves, strict=True)]


def inner(left: Any, right: Any) -> Tensor:
    pairs = [(a, b) for a, b in zip(left, right, strict=True) if a is not None and b is not None]
    return sum((a * b).sum() for a, b in pairs)  # type: ignore[return-value]


def close(actual: Tensor | None, expected: Tensor) -> None:
    if actual is None:
        assert not bool(expected.any()), "None where something is expected"
        return
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [1, 3])
def test_four_rules(name: str, rows: int) -> None:
    torch.manual_seed(3)
    case = CASES[name]
    if rows == 1 and "rows" in name and case.kind in ("var", "batch_norm"):
        pytest.skip("no variance of one")
    inputs = inputs_of(case, rows)
    function, args, kwargs = call_of(case, inputs)
    rule, bound = bind(function, args, kwargs)
    assert rule is not LOCAL
    assert rule.kind == case.kind
    site = site_at(rule, bound)
    copies = [a.clone() if isinstance(a, Tensor) else a for a in args]
    native = function(*copies, **kwargs)
    native = native if isinstance(native, (tuple, list)) else (native,)
    for got, want in zip(site.outputs, native, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    # Behind the first three are masks and running statistics.
    at = floating(bound.inputs[:3])
    leaves = [
        None if z is None else z.detach().requires_grad_(i in at)
        for i, z in enumerate(bound.inputs)
    ]
    flows = [leaves[i] for i in at]
    ds = random_like(site.outputs)
    # Weights do not move.
    ts = tuple(None if i in rule.weights else t for i, t in enumerate(random_like(site.inputs)))
    cotangents = [None if d is None else d.clone().requires_grad_() for d in ds]
    reference = _reference(function, args, kwargs, bound, leaves)
    pulled = torch.autograd.grad(
        inner(reference, cotangents), flows, create_graph=True, allow_unused=True
    )
    full = [dict(zip(at, pulled, strict=True)).get(i) for i in range(len(leaves))]
    s = inner(full, ts)
    curved = gradients(s, flows) if s.requires_grad else [None] * len(at)
    terms = [dict(zip(at, curved, strict=True)).get(i) for i in range(len(leaves))]
    for mask in product([True, False], repeat=len(at)):
        asked = dict(zip(at, mask, strict=True))
        wanted = [asked.get(i, False) for i in range(len(leaves))]
        _check(rule.adjoint(site, ds, wanted), full, wanted, leaves)
        _check(rule.second_order(site, ds, ts, wanted), terms, wanted, leaves)
    present = [c for c in cotangents if c is not None]
    moved = iter(gradients(inner(full, ts), present))
    for got, c in zip(rule.tangent(site, ts), cotangents, strict=True):
        if c is None:
            assert got is None
        else:
            close(got, next(moved))  # zeros where nothing moves
    _check_nothing_from_nothing(rule, site, len(leaves))
    _check_one_tangent_at_a_time(rule, site, ts)


def _reference(function: Any, args: Any, kwargs: Any, bound: Bound, leaves: Any) -> Any:
    """The outputs of the critic's own call on the leaves."""
    own = {id(z): leaf for z, leaf in zip(bound.inputs, leaves, strict=True) if z is not None}

    def swap(value: Any) -> Any:
        if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
            return type(value)(swap(v) for v in value)
        leaf = own.get(id(value))
        return value if leaf is None else (leaf * 1 if leaf.requires_grad else leaf)

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        y = function(*swap(list(args)), **{k: swap(v) for k, v in kwargs.items()})
    return y if isinstance(y, (tuple, list)) else (y,)


def _check(found: Any, expected: Any, wanted: Any, leaves: Any) -> None:
    assert len(found) == len(wanted)
    for got, want, asked, leaf in zip(found, expected, wanted, leaves, strict=True):
        if not asked:
            assert got is None
            continue
        close(got, torch.zeros_like(leaf) if want is None else want)


def _check_nothing_from_nothing(rule: Rule, site: Site, inputs: int) -> None:
    no_ds, no_ts = (None,) * len(site.outputs), (None,) * inputs
    asked = [i not in rule.weights for i in range(inputs)]
    assert all(a is None for a in rule.adjoint(site, no_ds, asked))
    assert all(t is None for t in rule.tangent(site, no_ts))
    ds = random_like(site.outputs)
    assert all(a is None for a in rule.second_order(site, ds, no_ts, asked))
    assert all(a is None for a in rule.second_order(site, no_ds, no_ts, asked))


def _check_one_tangent_at_a_time(rule: Rule, site: Site, ts: Any) -> None:
    """The tangent is linear: those of single inputs add up."""
    whole = rule.tangent(site, ts)
    parts = [
        rule.tangent(site, tuple(t if i == j else None for j, t in enumerate(ts)))
        for i in range(len(ts))
        if ts[i] is not None
    ]
    for position, expected in enumerate(whole):
        if expected is None:
            continue
        close(sum(p[position] for p in parts), expected)
        assert all(p[position].shape == expected.shape for p in parts)


@pytest.mark.parametrize("name", NAMES)
def test_row_wise_where_it_is(name: str) -> None:
    torch.manual_seed(0)
    case = CASES[name]
    _, bound = bound_of(case, inputs_of(case, 5))
    assert bound.row_wise is case.row_wise


@pytest.mark.parametrize("name", [name for name in NAMES if CASES[name].row_wise])
def test_other_rows_and_some_rows(name: str) -> None:
    torch.manual_seed(4)
    case = CASES[name]
    few, *weights = inputs_of(case, 2)
    many, *_ = inputs_of(case, 7)
    rule, bound = bound_of(case, [few, *weights])
    _, other = bound_of(case, [many, *weights])
    site = site_at(rule, other, rule.row_option(bound.options, 7))
    for got, want in zip(site.outputs, site_at(rule, other).outputs, strict=True):
        torch.testing.assert_close(got, want)
    rows = slice(1, 4)
    alone = site_at(rule, _narrowed(other, rule, rows))
    narrowed = Site(
        bound.options,
        _of_rows(site.inputs, rule, rows, other.inputs),
        tuple(y[rows] for y in site.outputs),  # type: ignore[index]
        tuple(z[rows] if isinstance(z, Tensor) else z for z in site.saved),
    )
    ds, ts = random_like(alone.outputs), random_like(alone.inputs)
    ts = tuple(
        t if _has_rows(z, 7) and i not in rule.weights else None
        for i, (t, z) in enumerate(zip(ts, other.inputs, strict=True))
    )
    wanted = [z is not None and z.is_floating_point() for z in alone.inputs]
    for method, arguments in (
        (rule.adjoint, (ds, wanted)),
        (rule.tangent, (ts,)),
        (rule.second_order, (ds, ts, wanted)),
    ):
        for got, want in zip(method(narrowed, *arguments), method(alone, *arguments), strict=True):  # type: ignore[operator]
            assert (got is None) == (want is None)
            if got is not None:
                torch.testing.assert_close(got, want)


def _has_rows(z: Tensor | None, rows: int) -> bool:
    return z is not None and z.dim() > 0 and z.shape[0] == rows


def _of_rows(tensors: Any, rule: Rule, rows: slice, like: Any) -> Any:
    return tuple(
        t[rows] if _has_rows(z, 7) and i not in rule.weights else t
        for i, (t, z) in enumerate(zip(tensors, like, strict=True))
    )


def _narrowed(bound: Bound, rule: Rule, rows: slice) -> Bound:
    return bound._replace(inputs=_of_rows(bound.inputs, rule, rows, bound.inputs))


@pytest.mark.parametrize("name", NAMES)
def test_single_precision(name: str) -> None:
    torch.manual_seed(3)
    case = CASES[name]
    rule, bound = bound_of(case, inputs_of(case, 3, torch.float32))
    site = site_at(rule, bound)
    wanted = [z is not None and z.is_floating_point() for z in bound.inputs]
    adjoints = rule.adjoint(site, random_like(site.outputs), wanted)
    for adjoint, z in zip(adjoints, bound.inputs, strict=True):
        if adjoint is not None and z is not None:
            assert adjoint.dtype is z.dtype
            assert adjoint.shape == z.shape


@pytest.mark.parametrize("name", NAMES)
def test_autocast_and_integers_are_left_to_others(name: str) -> None:
    case = CASES[name]
    inputs = inputs_of(case, 3)
    function, args, kwargs = call_of(case, inputs)
    if case.kind in ("reshape", "expand", "permute", "cast", "pick", "max over a dimension"):
        return
    with torch.autocast("cpu"):
        rule, _ = bind(function, args, kwargs)
    assert rule.kind == LOCAL.kind


@pytest.mark.parametrize("name", [name for name in NAMES if CASES[name].shape == (4, 6, 6)])
def test_any_layout_of_images(name: str) -> None:
    torch.manual_seed(6)
    case = CASES[name]
    x, *weights = inputs_of(case, 3)
    rule, bound = bound_of(case, [x, *weights])
    site = site_at(rule, bound)
    last = bound.inputs[0].to(memory_format=torch.channels_last)  # type: ignore[union-attr]
    other = site_at(rule, bind(*call_of(case, [last, *weights]))[1])
    ds = random_like(site.outputs)
    for d in (ds[0], torch.ones(()).double().expand(ds[0].shape)):  # type: ignore[union-attr]
        wanted = [i < 3 and z is not None for i, z in enumerate(bound.inputs)]
        ts = tuple(None if i else torch.randn_like(last) for i in range(len(wanted)))
        for layout in (torch.channels_last, torch.contiguous_format):
            d = d.contiguous(memory_format=layout) if d.dim() == 4 and d.stride(0) else d  # type: ignore[union-attr]
            for got, want in (
                (rule.adjoint(other, (d,), wanted), rule.adjoint(site, (d,), wanted)),
                (rule.tangent(other, ts), rule.tangent(site, ts)),
                (rule.second_order(other, (d,), ts, wanted),
                 rule.second_order(site, (d,), ts, wanted)),
            ):  # fmt: skip
                for one, two in zip(got, want, strict=True):
                    assert (one is None) == (two is None)
                    if one is not None:
                        torch.testing.assert_close(one, two)
