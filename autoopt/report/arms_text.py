"""The arms of a study beside its front, in words and as rows, JSON and CSV."""

from __future__ import annotations

from typing import Any

from autoopt.report.csv_text import csv_text
from autoopt.report.tables import columns, row_of
from autoopt.study.arm_results import ArmResult, ArmStatus, arm_results
from autoopt.study.limits import in_words
from autoopt.study.result import StudyResult

NO_ARMS = "The study has no arms: configurations with a name in the file of its space, see docs/spaces.md."


def arms_title(result: StudyResult) -> str:
    """How many arms there are and how they stand, such as: 6 arms: 4 dominated, 1 on the front, 1 failed."""
    found = [arm.status for arm in arm_results(result)]
    if not found:
        return NO_ARMS
    counts = ((found.count(status), status.value) for status in ArmStatus)
    parts = ", ".join(f"{count} {words}" for count, words in counts if count)
    return f"{len(found)} arm{'s' if len(found) > 1 else ''} of study {result.card.name}: {parts}"


def arm_columns(result: StudyResult) -> tuple[str, ...]:
    """The header of `arm_rows`: that of the front, with the arm in the place of the configuration."""
    trial, _, *numbers = columns(result)
    return (trial, "arm", *numbers)


def arm_rows(result: StudyResult) -> list[list[str]]:
    """The arms as formatted cells, in the order of the space file: what each is called and how it stands in one."""
    empty = [""] * (len(columns(result)) - 2)
    rows = []
    for arm in arm_results(result):
        trial, _, *numbers = ["", "", *empty] if arm.record is None else row_of(result, arm.record)
        rows.append([trial, f"{arm.name}: {status_words(result, arm)}", *numbers])
    return rows


def status_words(result: StudyResult, arm: ArmResult) -> str:
    """Such as: dominated by #12, which is 3.21 (3.05-3.38) times as fast and loses 0.0012 less (-0.0002 to 0.0026)."""
    record, by = arm.record, arm.by
    if record is None:
        return arm.status.value
    if record.failure is not None:
        return f"{arm.status.value}: {record.failure.cause} in {record.failure.stage}: {record.failure.message}"
    if arm.status is ArmStatus.BREAKS_LIMIT and record.violated:
        return f"breaks {in_words({name: result.card.limits[name] for name in record.violated})}"
    if by is None or arm.slower is None:
        return arm.status.value
    low, high = arm.slower.interval()
    head = f"tied with #{by.number}" if arm.status is ArmStatus.TIED else f"dominated by #{by.number}"
    return f"{head}, which is {arm.slower.ratio:.3g} ({low:.3g}-{high:.3g}) times as fast{_loss_words(arm)}"


def _loss_words(arm: ArmResult) -> str:
    if arm.lost is None:
        return ""
    if arm.lost.low == arm.lost.high == 0.0:
        return " and as good on every patient"
    value, low, high, word = arm.lost.value, arm.lost.low, arm.lost.high, "less"
    if value < 0:
        value, low, high, word = -value, -high, -low, "more"
    return f" and loses {value:.4f} {word} ({low:.4f} to {high:.4f})"


def arms_json(result: StudyResult) -> list[dict[str, Any]]:
    """The arms as plain JSON: name, status, trial, headline numbers, and the member that dominates or ties."""
    return [_plain(result, arm) for arm in arm_results(result)]


def arms_csv(result: StudyResult) -> str:
    """The arms as CSV, one row each; `demo` in every row."""
    rows = [{"demo": result.card.demo, **_flat(item)} for item in arms_json(result)]
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["arm"]
    return csv_text(names, ([row.get(name) for name in names] for row in rows))


def _plain(result: StudyResult, arm: ArmResult) -> dict[str, Any]:
    found: dict[str, Any] = {
        "arm": arm.name,
        "status": arm.status.value,
        "words": status_words(result, arm),
        "trial": None if arm.record is None else arm.record.number,
    }
    if arm.by is not None and arm.slower is not None:
        low, high = arm.slower.interval()
        beside = {"member": arm.by.number, "slower": arm.slower.ratio, "slower_low": low, "slower_high": high}
        if arm.lost is not None:
            beside |= {"lost": arm.lost.value, "lost_low": arm.lost.low, "lost_high": arm.lost.high}
        found["beside"] = beside
    return {**found, "numbers": {} if arm.record is None else result.headline(arm.record)}


def _flat(item: dict[str, Any]) -> dict[str, Any]:
    own = {key: value for key, value in item.items() if key not in ("beside", "numbers")}
    return {**own, **item.get("beside", {}), **item["numbers"]}
