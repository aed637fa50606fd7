"""The Triton kernels without a GPU: interpreted in a process of their own, and compiled ahead.

The interpreter takes milliseconds for a program, so that of the operations' own tests those are
left out that only repeat, with other hints to the CPU, options or layouts, what those that stay do.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.processes import PACKAGES, ROOT

pytest.importorskip("triton", reason="the extra `triton` is not installed")

from tests.triton_kernels import TARGETS, Case, cases, compiled

# File: what of it runs, as an expression of pytest's -k.
RUN = {
    "weight_clip": "equals_the_definition and (contiguous or gaps) or mixture or scalars or"
    " rounded_to",
    "rmsprop": "every_option and 0.4 and momentum or mixture or special or another_dtype or"
    " negated or nothing_to_step",
    "bias_activation": "test_forward and 1.5 and True or test_forward and float32-True-0.0 or"
    " nan_stays or test_derivative and (float32-cotangents-0.2 or float64-outputs-0.0)",
    "gradient_penalty": "alpha_0 or channels_last or no_rows or any_layout and misaligned or"
    " neither_overflow and wgan-gp or nan_in_a_row or infinite or any_values or any_shape or"
    " does_not_show and float32-wgan-lp",
    "spectral_norm": "zero_weight and 2 or nan_and_inf or eps_bounds or even_where or lazy_sign or"
    " without_iterations or misaligned and float32 or definition and float64-1-v or"
    " definition and bfloat16-3-u",
}
KERNELS = {
    "bias_activation_backward_kernel",
    "bias_activation_forward_kernel",
    "bias_activation_sum_kernel",
    "columns_kernel",
    "columns_sum_kernel",
    "divide_kernel",
    "dots_kernel",
    "gradients_kernel",
    "interpolate_kernel",
    "norm_penalty_kernel",
    "rmsprop_kernel",
    "rows_kernel",
    "squares_kernel",
    "weight_clip_kernel",
}
_launched: set[str] = set()


def _interpret(name: str, *arguments: str) -> dict[str, int]:
    """Runs tests of one operation on backend "triton"; the launches of each kernel."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FASTWGAN_")}
    environment |= {"PYTHONPATH": PACKAGES, "TRITON_INTERPRET": "1"}
    # Not by -m, which would put the checkout before an installed package.
    start = "import sys; sys.path.pop(0); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-c", start, "-q", "--only-backend", "triton", "-p"]
    command += ["no:cacheprovider", "-W", "ignore::RuntimeWarning:triton.runtime.interpreter"]
    done = subprocess.run(
        [*command, f"tests/ops/test_{name}.py", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout.splitlines()[-1], done.stdout[-2000:]
    return {n: int(k) for n, k in re.findall(r"^launched: (\w+) (\d+)$", done.stdout, re.M)}


@pytest.mark.parametrize("name", RUN)
def test_operation_interpreted(name: str) -> None:
    launches = _interpret(name, "-k", RUN[name])
    assert launches
    assert all(launches.values())
    _launched.update(launches)


def test_every_kernel_was_launched() -> None:
    """It cannot be the reference that ran: each kernel was started by the tests above."""
    if len(_launched) == 0:
        pytest.skip("the tests above did not run in this process")
    assert _launched == KERNELS


@pytest.mark.nightly
@pytest.mark.parametrize(
    "name",
    [*RUN, "gradient_penalty_gradients", *(f"spectral_norm_{x}" for x in ("gradients", "paths"))],
)
def test_operation_interpreted_whole(name: str) -> None:
    assert _interpret(name)


CASES = {case.name: case for case in cases()}
# One form of each kernel in float32, and every kernel in the dtype that is widest or narrowest.
_FEW = [
    name
    for name in CASES
    if not re.search(r"width=16|relu=True|kind=[12]|momentum=False|source=[02]|with_sigma=F", name)
]


# Forms that have spilled before, by a few bytes, on one target each.
_NEAR = (
    "spectral_norm gradients float32 with_sigma=True",
    "spectral_norm rows bfloat16 source=1 dots=False",
    "spectral_norm rows float64 source=2 dots=False",
)


def _check(case: Case, target: str) -> None:
    found = compiled(case, target)
    assert found.spilled == 0, f"{case.name} spills on {target}: {found}"
    assert found.registers <= (512 if target.startswith("gfx") else 255)
    if not target.startswith("gfx"):  # its half-precision accesses are of 8 bytes
        assert found.widest >= case.widest, found


@pytest.mark.parametrize("name", [name for name in _FEW if "float32" in name])
def test_compiles_without_spills_for_sm_90(name: str) -> None:
    _check(CASES[name], "sm_90")


def _one_of_each() -> list[str]:
    """A form of every kernel in every dtype."""
    named = re.compile(r"(.*?)(float32|float64|bfloat16|float16)\b")
    found: dict[str, str] = {}
    for name in CASES:
        kind = named.match(name)
        assert kind is not None
        found.setdefault(kind[0], name)
    return list(found.values())


@pytest.mark.ahead
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", _one_of_each())
def test_every_kernel_and_dtype_compiles(name: str, target: str) -> None:
    _check(CASES[name], target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", _NEAR)
def test_compiles_for_every_target(name: str, target: str) -> None:
    _check(CASES[name], target)


def test_the_page_lists_every_form_and_says_that_none_spills() -> None:
    page = (ROOT / "docs" / "triton.md").read_text()
    rows = re.findall(r"^\| ([^|]+?) \| \d", page, re.M)
    assert rows == list(CASES)
    assert f"{len(CASES)} forms for {len(TARGETS)} targets. None spills." in " ".join(page.split())


@pytest.mark.nightly
@pytest.mark.parametrize("target", TARGETS)
def test_everything_compiles_for_every_target(target: str) -> None:
    for case in CASES.values():
        _check(case, target)
