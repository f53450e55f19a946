"""Configurations and trials in words that a person reads at a glance."""

from __future__ import annotations

from autoopt.core.configuration import Configuration
from autoopt.core.records import TrialRecord
from autoopt.study.short_names import describe

LONGEST_NAME = 22
"""Characters of a run's name that MLflow's table shows."""


def in_words(configuration: Configuration) -> str:
    """A configuration as a person says it, such as: half resolution, 65 % of channels pruned, INT8, 2 threads."""
    return describe(configuration)


def row_name(record: TrialRecord) -> str:
    """The name of a trial in a list, at most `LONGEST_NAME` characters, such as: #047 OV INT8 mixed."""
    return f"#{record.number:03d} {record.label or describe(record.configuration)}"[:LONGEST_NAME]
