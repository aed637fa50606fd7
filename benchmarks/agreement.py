"""No speedup without the same results: contestants that disagree fail the benchmark."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.race import Contestant, Race
from tests.compare import relative_error


class ResultsDifferError(AssertionError):
    """Two contestants of a case did not compute the same thing."""


def check_agreement(ours: Contestant, peers: Sequence[Contestant], bound: float) -> None:
    """Raises unless every result of every peer equals ours within `bound`.

    Args:
        ours: Has just run.
        peers: Have just run, prepared for the same step.
        bound: Largest relative error of any one tensor, the peer's being the expected one. Both
            sides are rounded, each in its own order, so this is wider than the bounds of the tests.
    """
    for peer in peers:
        _check_pair(ours.results(), peer.results(), bound, f"{ours.name} against {peer.name}")


def check_rounds(race: Race, bound: float) -> None:
    """Raises unless the contestants agree after two of three rounds, the last one run included.

    On some inputs correct results differ by more than rounding: a unit of a piecewise-linear critic
    that lies within rounding of its kink falls on either side of it, and with it a whole sample's
    part of the gradient. Inputs change from round to round; a mistake stays.
    """
    agreed, differences = 0, []
    while agreed < 2:
        try:
            check_agreement(race.ours, race.peers, bound)
            agreed += 1
        except ResultsDifferError as error:
            differences.append(error)
            if len(differences) == 2:
                raise
        if agreed < 2:
            race.one_round_more()


def _check_pair(ours: Sequence[Tensor], theirs: Sequence[Tensor], bound: float, where: str) -> None:
    if not theirs or len(ours) != len(theirs):
        raise ResultsDifferError(f"{where}: {len(ours)} results where {len(theirs)} are expected")
    if not any(bool(torch.count_nonzero(tensor)) for tensor in theirs):
        raise ResultsDifferError(f"{where}: all results are zero, which proves nothing")
    for index, (got, expected) in enumerate(zip(ours, theirs, strict=True)):
        if got.shape != expected.shape:
            raise ResultsDifferError(
                f"{where}: result {index} has shape {tuple(got.shape)}, not {tuple(expected.shape)}"
            )
        error = relative_error(got, expected)
        if not error <= bound:  # a NaN error fails as well
            raise ResultsDifferError(
                f"{where}: result {index} {tuple(got.shape)} is off by {error:.1e}, over {bound:g}"
            )
