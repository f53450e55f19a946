"""What a report shows that no record holds: worst cases as pictures, where the time of a member goes.

Whatever is missing becomes one sentence: a report is written also where data, artifacts or a runtime are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autoopt.report.evidence_cases import WORST_CASES, CaseRow, WorstCases
from autoopt.report.evidence_files import evidence_file, read_evidence, write_evidence
from autoopt.report.evidence_losses import case_losses, shown_metric
from autoopt.report.evidence_pictures import label_colours, rows_of_tiles
from autoopt.report.evidence_predictions import LONGEST_WAIT_S, answered
from autoopt.report.evidence_profile import PROFILES, KeptProfile, kept_profile
from autoopt.report.explain import explain_records, float_counterpart
from autoopt.report.shown_members import shown_members
from autoopt.study.result import StudyResult

KIND = "worst-cases"
CASES = 3
"""How many of the worst cases are shown."""
NOT_ASKED = "Pictures of patients are shown only when they are asked for: autoopt report --images."
NOT_MADE = "Pictures of the worst cases were not made yet: autoopt report makes them."

Said = Callable[[str], None]


def gather(
    result: StudyResult,
    home: Path,
    *,
    images: bool,
    profile: bool = False,
    on_stage: Said = lambda stage: None,
    wait_s: float | None = LONGEST_WAIT_S,
) -> dict[str, Any]:
    """The `Subject.evidence` of a study; what takes long is kept in the home folder, so a second report is quick.

    With `images` also patients are shown; demo data always are. With `profile` the balanced member is profiled unless
    that was done before. `on_stage` is told the name of each stage that begins. Another measurement on this host may
    keep the pictures waiting for `wait_s`; with None no new ones are made. Raises nothing for what is missing.
    """
    return {
        PROFILES: _profiles(result, home, profile, on_stage),
        WORST_CASES: _worst_cases(result, home, images=images or result.card.demo, on_stage=on_stage, wait_s=wait_s),
    }


def _profiles(result: StudyResult, home: Path, profile: bool, on_stage: Said) -> Mapping[int, KeptProfile] | str:
    """What is kept of the members that are shown, by number; why the profile that was asked for failed."""
    members = [record for _, record in shown_members(result)]
    if profile and members and kept_profile(home, result.card, members[0]) is None:
        try:
            explain_records(result, members[0], float_counterpart(result, members[0]), home, on_stage=on_stage)
        except Exception as error:  # whatever fails, a workload of the user's own too: a report is written all the same
            return f"It could not be profiled: {_sentence(error)}"
    found = {record.number: kept_profile(home, result.card, record) for record in members}
    return {number: item for number, item in found.items() if item is not None}


def _worst_cases(
    result: StudyResult, home: Path, *, images: bool, on_stage: Said, wait_s: float | None
) -> WorstCases | str | None:
    """The worst cases of the first member that is shown, or why there are none; None where nothing is to be shown."""
    members, reference = shown_members(result), result.reference
    if not members or reference is None:
        return None
    if not images:
        return NOT_ASKED
    record = members[0][1]
    before, after = reference.quality, record.quality
    metric = None if before is None or after is None else shown_metric(before, after)
    if before is None or after is None or metric is None:
        return "No scores of single cases are stored: which ones are worst is not known."
    worst = case_losses(before, after, metric)[:CASES]
    groups = {case.id: case.group for case in after.cases}
    more = {"reference": list(reference.artifacts), "cases": [loss.name for loss in worst], "metric": metric}
    path = evidence_file(home, result.card, record, KIND, more)
    if (kept := _kept(path)) is not None:
        return kept
    if wait_s is None:
        return NOT_MADE
    try:
        answers = answered(result, reference, record, [loss.name for loss in worst], home, on_stage, wait_s)
        rows = rows_of_tiles(answers)
    except Exception as error:  # likewise
        return f"Pictures of the worst cases of #{record.number} could not be made: {_sentence(error)}"
    found = WorstCases(
        record.number,
        reference.number,
        metric,
        tuple(label_colours(answers.labels, multilabel=answers.pipeline.multilabel)),
        tuple(CaseRow.of(loss, groups[loss.name], tiles) for loss, tiles in zip(worst, rows, strict=True)),
    )
    write_evidence(path, found.to_json())
    return found


def _kept(path: Path) -> WorstCases | None:
    value = read_evidence(path)
    try:
        return None if value is None else WorstCases.from_json(value)
    except (KeyError, TypeError, ValueError, AttributeError):  # written by hand, or by another version
        return None


def _sentence(error: Exception) -> str:
    """The first line of an error as a sentence."""
    first = str(error).strip().splitlines()
    return f"{first[0].rstrip('.') if first else type(error).__name__}."
