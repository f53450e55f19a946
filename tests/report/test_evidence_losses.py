"""What patients, labels and subgroups lost, read from records."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoopt.core.scores import CaseScore, Quality
from autoopt.report.evidence_losses import case_losses, group_losses, losses, shown_metric
from autoopt.study.limits import subgroup_drops
from tests.report.page.planted import planted_study


def quality(*rows: tuple[str, str, float | None], errors: tuple[str, ...] = (), **scores: float) -> Quality:
    """The quality of cases given as (case, patient, Dice)."""
    cases = tuple(CaseScore(name, group, {"dice": value, **scores}, {"site": group[0]}) for name, group, value in rows)
    return Quality("val", "dice", "mean", {"dice": 0.9, **scores}, cases, errors=errors)


BEFORE = quality(("a1", "ann", 0.9), ("a2", "ann", 0.7), ("b1", "bob", 0.8), ("c1", "cy", None), dice_liver=0.5)
AFTER = quality(("a1", "ann", 0.9), ("a2", "ann", 0.9), ("b1", "bob", 0.5), ("c1", "cy", 0.3), dice_liver=0.4)


def test_patients_are_means_of_their_cases_worst_first() -> None:
    """A patient counts once however many cases, who lost most comes first, what is not defined is left out."""
    word, found = losses(BEFORE, AFTER, "dice")
    assert word == "patient"
    assert [(loss.name, round(loss.lost, 6), loss.shows) for loss in found] == [
        ("bob", 0.3, True),
        ("ann", -0.1, False),
    ]
    assert [loss.name for loss in case_losses(BEFORE, AFTER, "dice")] == ["b1", "a1", "a2"]


def test_of_an_error_a_rise_is_a_loss() -> None:
    """Of a metric of which less is better, the patient whose value rose most is the worst."""
    before, after = (replace(item, errors=("dice",)) for item in (BEFORE, AFTER))
    assert [round(loss.lost, 6) for loss in losses(before, after, "dice")[1]] == [0.1, -0.3]


def test_a_single_patient_is_shown_by_case() -> None:
    """Where a split has one patient, its cases are listed."""
    before, after = (item.among([case for case in item.cases if case.group == "ann"]) for item in (BEFORE, AFTER))
    word, found = losses(before, after, "dice")
    assert word == "case" and [loss.name for loss in found] == ["a1", "a2"]


def test_groups_lose_what_the_limits_read() -> None:
    """The mean loss of a subgroup is that of its guard; one patient has no bound, more have one above the mean."""
    study = planted_study()
    reference, record = study.reference, study.by_number(5)
    assert reference is not None and reference.quality is not None and record is not None and record.quality is not None
    found = {loss.title: loss for loss in group_losses(reference.quality, record.quality, study.card.labels)}
    assert list(found) == ["all patients", "site: a", "site: b"]
    for value, drop in subgroup_drops("site", record, reference).items():
        loss = found[f"site: {value}"]
        assert loss.lost == pytest.approx(drop) and loss.patients == 6
        assert loss.upper is not None and loss.upper > loss.lost
    few = {loss.title: loss for loss in group_losses(BEFORE, AFTER, ("background", "liver"))}
    assert few["site: b"].upper is None and few["label: liver"].lost == pytest.approx(0.1)
    assert "site: c" not in few and "label: background" not in few


def test_a_metric_that_only_a_split_has_is_replaced() -> None:
    """Where cases have no score of the primary metric, the first that they have is shown."""
    both = [replace(item, primary="auroc", values={"auroc": 0.9, "dice": 0.8}) for item in (BEFORE, AFTER)]
    assert shown_metric(*both) == "dice"
    assert shown_metric(both[0], replace(both[1], cases=())) is None
