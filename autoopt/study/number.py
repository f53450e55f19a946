"""What a number of a trial is: key, unit, meaning, how it is read, its interval, its column; see numbers.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autoopt.core.card import StudyCard
from autoopt.core.records import TrialRecord
from autoopt.study import intervals, uncertainty
from autoopt.study.intervals import Bounds

PRIMARY = "{primary}"
"""Stands for the name of the workload's primary metric in the key and the title of a number."""
LOW, HIGH = "_low", "_high"
"""After the name of a metric or speed-up: the ends of its interval."""


@dataclass(frozen=True)
class Comparison:
    """What the numbers of a trial may be compared with: the rest of its study.

    `reference` is what drops and the first speed-up are measured against, `openvino_f32` what the second speed-up is,
    `best_float` the third: the fastest complete trial in which nothing is quantized. `sigma` is the standard deviation
    of log latency between processes of one thing. `front_probability` and `roofline` are the fractions that the study
    knows of the trial itself, None where it knows none.
    """

    reference: TrialRecord | None = None
    openvino_f32: TrialRecord | None = None
    best_float: TrialRecord | None = None
    sigma: float = uncertainty.DEFAULT_SIGMA
    front_probability: float | None = None
    roofline: float | None = None


ALONE = Comparison()
"""A trial beside nothing."""
Read = Callable[[TrialRecord, Comparison], float | None]
Between = Callable[[TrialRecord, Comparison], Bounds | None]
"""The interval of a number, or why it has none; None where the number does not exist."""


@dataclass(frozen=True)
class Column:
    """How a number stands in the tables of a front: title, and format of the value.

    Below it stand the numbers with the keys `below`: of two a range, of one "at most". `below_format` is theirs. A
    column `where_known` is left out of a table in which no trial has the number.
    """

    title: str
    format: str
    below: tuple[str, ...] = ()
    below_format: str = ""
    where_known: bool = False


@dataclass(frozen=True)
class Number:
    """One number of a trial.

    `read` gives it in SI units (seconds, bytes, joules, fractions), None where it does not exist; `scale` turns it into
    the `unit` that its key ends with. With the name of an `objective` it may be optimised; `log` says that ratios count
    and not differences, `larger_is_better` which way. Of a number with `best_of_front` the study tells the best.
    `worth` is what is made as large as can be in place of the number, where which way is better depends on the study.
    `interval` gives its ends, or the reason why there are none, also as a mere text; None of what is itself an end or
    says how sure another number is.
    """

    key: str
    unit: str
    meaning: str
    read: Read
    scale: float = 1.0
    column: Column | None = None
    objective: str = ""
    log: bool = False
    larger_is_better: bool = False
    worth: Callable[[TrialRecord], float | None] | None = None
    best_of_front: bool = False
    interval: Between | str | None = intervals.NOT_SAID

    def name(self, primary: str) -> str:
        """The key in a study whose primary metric has this name."""
        return self.key.format(primary=primary)

    def of(self, record: TrialRecord, beside: Comparison = ALONE) -> float | None:
        """The number of a record in its unit; None where it does not exist or is not finite."""
        value = self.read(record, beside)
        return None if value is None or not math.isfinite(value) else value * self.scale

    def why_no_interval(self, record: TrialRecord, beside: Comparison = ALONE) -> str:
        """Why the number of a record has no interval; empty where it has one or needs none."""
        if self.interval is None or self.of(record, beside) is None:
            return ""
        found = self.interval if isinstance(self.interval, str) else self.interval(record, beside)
        return found if isinstance(found, str) else ""

    def noise(self, record: TrialRecord, beside: Comparison) -> float | None:
        """Half of its 95 % interval in SI units, in logarithms where ratios count; None where it has no interval."""
        ends = self.interval(record, beside) if callable(self.interval) else None
        if ends is None or isinstance(ends, str):
            return None
        low, high = (math.log(end) for end in ends) if self.log else ends
        return (high - low) / 2

    def minimised(self, record: TrialRecord) -> float:
        """The number in SI units, its sign turned where more is better. Raises ValueError when there is none."""
        value = self.read(record, ALONE)
        if value is None:
            raise ValueError(f"trial {record.number} has no {self.objective}")
        worth = value if self.worth is None else self.worth(record)
        assert worth is not None
        return -worth if self.larger_is_better else value

    def larger_is_better_in(self, card: StudyCard) -> bool:
        """Whether more of it is better in a study, whose primary metric may be an error."""
        return self.larger_is_better and not (self.worth is not None and card.less_is_better)

    def known(self, record: TrialRecord) -> bool:
        """Whether the record has the number."""
        return self.read(record, ALONE) is not None

    def told(self, record: TrialRecord) -> float:
        """`minimised`, in logarithms where ratios count, as samplers are told. Raises ValueError when there is none."""
        value = self.minimised(record)
        return float(self.logarithms(np.array(value))) if self.log else value

    def logarithms(self, minimised: np.ndarray) -> np.ndarray:
        """The logarithms of values that are to be minimised, which are so too."""
        return np.asarray(-np.log(-minimised) if self.larger_is_better else np.log(minimised))


def _end(between: Between, place: int) -> Read:
    """One end of an interval: the lower one is 0, the upper one 1."""

    def read(record: TrialRecord, beside: Comparison) -> float | None:
        found = between(record, beside)
        return None if found is None or isinstance(found, str) else found[place]

    return read


def with_ends(
    number: Number,
    low: str,
    high: str,
    words: tuple[str, str] = ("lower end of its 95 % interval", "upper end of its 95 % interval"),
) -> tuple[Number, Number, Number]:
    """The number, and the ends of its interval under these keys with these meanings."""
    between = number.interval
    assert callable(between)
    ends = zip((low, high), words, strict=True)
    first, second = (
        Number(key, number.unit, text, _end(between, place), number.scale, log=number.log, interval=None)
        for place, (key, text) in enumerate(ends)
    )
    return number, first, second
