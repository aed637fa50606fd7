"""The data sets, each one tensor, with a part held out and what its samples mean."""

from __future__ import annotations

from fastwgan.train.data.dataset import Data, DataSpec
from fastwgan.train.data.loading import load
from fastwgan.train.data.toy import TOY_SAMPLES

__all__ = ["TOY_SAMPLES", "Data", "DataSpec", "load"]
