"""The colour and the shape of each runtime in the figures of a report: one of each per runtime, in a fixed order."""

from __future__ import annotations

from collections.abc import Mapping

from autoopt.core.records import TrialRecord
from autoopt.inference.runtimes import RUNTIMES
from autoopt.report.page.svg import SHAPES
from autoopt.study.result import StudyResult


def runtime_of(record: TrialRecord) -> str:
    """The name of the runtime that a trial asked for."""
    return str(record.configuration.runtime.get("name", ""))


def shapes(result: StudyResult) -> Mapping[str, tuple[str, str]]:
    """The shape and the colour class of each runtime of a study, by its name.

    They are dealt out in the order of the table of runtimes, so that two reports look alike; after the last the first
    come again.
    """
    met = {runtime_of(record) for record in result.records}
    order = [name for name in RUNTIMES if name in met] + sorted(met - set(RUNTIMES))
    return {name: (SHAPES[place % len(SHAPES)], f"c{place % len(SHAPES)}") for place, name in enumerate(order)}
