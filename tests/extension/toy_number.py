"""A number of a trial that may be optimised: how long the slowest call took, beside the usual one."""

from __future__ import annotations

from autoopt.core.records import TrialRecord
from autoopt.study.number import Column, Comparison, Number


def slowest(record: TrialRecord, beside: Comparison) -> float | None:
    """The longest call over the p25 latency as it came."""
    measured = record.measurement
    return None if measured is None else max(max(calls) for calls in measured.calls_s) / measured.raw_p25_s


STUTTER = Number(
    "stutter",
    "",
    "the slowest call over the usual one",
    slowest,
    column=Column("stutter", "{:.2f}"),
    objective="stutter",
    log=True,
)
