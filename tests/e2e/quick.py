"""Searches that measure as little as they can: `LEAST` for a call, `python -m tests.e2e.quick` as the command."""

from __future__ import annotations

from autoopt import cli
from autoopt.measure.timing import MeasuringPlan

LEAST = MeasuringPlan(
    processes=1,
    most_processes=1,
    noise_processes=1,
    warmup_min_s=0.0,
    warmup_max_s=0.02,
    rounds=2,
    most_rounds=2,
    turn_s=0.01,
)
"""Each trial is measured in one process, for two short turns."""

if __name__ == "__main__":
    cli.main(LEAST)
