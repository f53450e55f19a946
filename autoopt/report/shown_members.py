"""The members of a front that a report shows in detail: the balanced one, and the fastest where that is another."""

from __future__ import annotations

from autoopt.core.records import TrialRecord
from autoopt.deploy.pick import picked
from autoopt.study.result import StudyResult

SHOWN = ("balanced", "fastest")
"""The policies whose members are shown."""


def shown_members(result: StudyResult) -> tuple[tuple[str, TrialRecord], ...]:
    """What the policies `SHOWN` take, each record once with the names of its policies; empty without a front.

    The reference itself is left out: nothing can be said of it beside itself.
    """
    if not result.front:
        return ()
    found: dict[int, tuple[list[str], TrialRecord]] = {}
    for policy in SHOWN:
        record = picked(result, policy)
        found.setdefault(record.number, ([], record))[0].append(policy)
    reference = -1 if result.reference is None else result.reference.number
    return tuple((" and ".join(names), record) for names, record in found.values() if record.number != reference)
