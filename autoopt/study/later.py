"""What is learnt of a trial after it was stored: it stands beside the record, which is never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from autoopt.core.measurement import Measurement, joined, measurement_from_json, measurement_to_json
from autoopt.core.records import TrialRecord
from autoopt.core.scores import Quality, quality_from_json

LATER = "autoopt:later:"
"""The name of an addition in a storage begins so; then come the number of the trial and what makes the name unique."""


@dataclass(frozen=True)
class Later:
    """What is learnt of a trial after it was stored, as JSON: further samples, its quality on test, remarks.

    `again` is the whole record of another try, which takes the place of the stored one.
    """

    more: Sequence[Mapping[str, Any]] = ()
    test: Mapping[str, Any] | None = None
    notes: Sequence[str] = ()
    again: Mapping[str, Any] | None = None

    @classmethod
    def of(
        cls,
        more: Measurement | None = None,
        test: Quality | None = None,
        note: str = "",
        again: TrialRecord | None = None,
    ) -> Later:
        """One addition."""
        return cls(
            () if more is None else (measurement_to_json(more),),
            None if test is None else asdict(test),
            (note,) if note else (),
            None if again is None else again.to_json(),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, without what it does not add."""
        return {name: value for name, value in asdict(self).items() if value}

    def added_to(self, record: TrialRecord) -> TrialRecord:
        """The record with it; a quality on test replaces an earlier one."""
        if self.again is not None:
            record = TrialRecord.from_json(self.again).with_number(record.number)
        measurement = record.measurement
        for more in self.more:
            measurement = _joined(measurement, measurement_from_json(more))
        test = record.test if self.test is None else quality_from_json(self.test)
        return replace(record, measurement=measurement, test=test, notes=(*record.notes, *self.notes))


def additions(attributes: Mapping[str, Any]) -> dict[int, list[Later]]:
    """What was added later, by trial, in its order; earlier versions kept all additions of a trial in one item."""
    found: dict[int, list[Later]] = {}
    for key in sorted(key for key in attributes if key.startswith(LATER)):
        number = int(key.removeprefix(LATER).partition(":")[0])
        found.setdefault(number, []).append(Later(**(attributes[key] or {})))
    return found


def _joined(measurement: Measurement | None, more: Measurement) -> Measurement:
    """Both as one; where only one was measured beside a reference, it alone, since the other cannot be compared."""
    if measurement is None or bool(measurement.reference_s) == bool(more.reference_s):
        return more if measurement is None else joined(measurement, more)
    return more if more.reference_s else measurement
