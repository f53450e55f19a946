"""The front of a study as JSON, for scripts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from autoopt.report.arms_text import arms_json
from autoopt.study.floor import floor_of
from autoopt.study.result import StudyResult


def front_json(result: StudyResult) -> dict[str, Any]:
    """The front as plain JSON: study, limits, arms, members with configuration and headline numbers."""
    card = result.card
    return {
        "study": card.name,
        "workload": card.workload,
        "demo": card.demo,
        "host": {"fingerprint": card.host.fingerprint, "cpu": card.host.cpu},
        "limits": dict(card.limits),
        "reference": None if result.reference is None else result.reference.label,
        "stand_in": result.stand_in,
        "weights_remark": card.weights_remark,
        "objectives": list(card.objectives),
        "trials": len(result.records),
        "early_stop": _early_stop(result),
        "floor": None if (floor := floor_of(result)) is None else asdict(floor),
        "arms": arms_json(result),
        "front": [
            {
                "trial": record.number,
                "label": record.label,
                "configuration": record.configuration.sections(),
                "tied_with": result.ties[record.number] if result.ties[record.number] != record.number else None,
                "held_on_test": result.confirmed_on_test(record),
                **result.headline(record),
                "no_interval": result.without_interval(record),
            }
            for record in result.front
        ],
    }


def _early_stop(result: StudyResult) -> dict[str, Any] | None:
    """Why the search ended before its budget; None where it did not, or went on since."""
    ended = result.early_stop
    return None if ended is None else {**asdict(ended), "trials_left": ended.left, "reason": ended.reason}
