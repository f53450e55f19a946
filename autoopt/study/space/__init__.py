"""The search space: a YAML file read into a `Space`, its canonical points, and what is tried first.

`reading.py` knows the file, `dimension.py` one setting, `points.py` the points, `seeds.py` and `arms.py` what comes
first.
"""

from __future__ import annotations

from autoopt.study.space.arms import arms, named_arms
from autoopt.study.space.controls import control
from autoopt.study.space.dimension import Dimension
from autoopt.study.space.pipeline import configured
from autoopt.study.space.points import Count, Space
from autoopt.study.space.reading import load_space, shipped_spaces
from autoopt.study.space.seeds import Seed, seeds

__all__ = [
    "Count",
    "Dimension",
    "Seed",
    "Space",
    "arms",
    "configured",
    "control",
    "load_space",
    "named_arms",
    "seeds",
    "shipped_spaces",
]
