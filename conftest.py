"""Makes `tests` and `benchmarks` importable, behind an installed fastwgan and never before it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
