"""The verdict of a report."""

from __future__ import annotations

from dataclasses import replace

from autoopt.deploy.pick import choose
from autoopt.report.page import verdict
from autoopt.report.page.html import text_of
from autoopt.report.page.subject import Subject
from autoopt.study.result import StudyResult
from tests.report.page.planted import planted_study, quality, trial


def test_the_verdict_says_what_to_deploy_and_what_it_costs() -> None:
    """One sentence: the trial that `autoopt pull` takes, latency, both speed-ups, both losses with bounds, host."""
    study = planted_study(9)
    first = text_of(verdict.render(Subject(study))).split("; measured on")
    assert f"Deploy #{choose(study, pick='balanced').record.number} (" in first[0]
    for words in ("ms (", "times as fast as OpenVINO FP32", "times as fast as PyTorch FP32", "on val and", "on test"):
        assert words in first[0]
    assert first[0].count("(at most ") == 2 and first[1].startswith(" cpu with 2 cores, within drop <= 0.03.")


def test_what_did_not_hold_on_test_is_a_doubt() -> None:
    """A pick that lost more on test than allowed is said at once, with those that did not."""
    study = planted_study(12)
    records = [record for record in study.records if record.number in (0, 1, 5)]
    held = trial(9, 0.0039, 0.905, test=quality(0.90, 9, "test"))
    words = text_of(verdict.render(Subject(replace(study, records=(*records, held)))))
    assert words.startswith("Deploy #5 ")
    assert "#5 did not keep the limit of the drop on test. #9 did: see below." in words


def test_what_gains_loses_nothing() -> None:
    """A model that is better on val gains, at least its bound."""
    study = planted_study(12)
    better = trial(9, 0.001, 0.94)
    words = text_of(verdict.render(Subject(StudyResult(study.card, (*study.records[:2], better)))))
    assert "it gains 0.0100 (at least 0.00" in words and "was not scored on test" in words


def test_the_reference_is_not_compared_with_itself() -> None:
    """Where nothing is better than the reference, it is neither faster than itself nor loses against itself."""
    study = planted_study(12)
    words = text_of(verdict.render(Subject(replace(study, records=study.records[:1]))))
    assert "per call, it is the reference itself; measured on" in words


def test_an_error_rises() -> None:
    """Of a metric of which less is better the verdict says by how much it rises, and what it does on test."""
    study = planted_study(12, limits={"relative_drop": 0.5}, less_is_better=True)
    errors = [
        replace(
            record,
            quality=record.quality and replace(record.quality, errors=("dice_macro",)),
            test=record.test and replace(record.test, errors=("dice_macro",)),
        )
        for record in (study.records[0], trial(4, 0.006, 0.95, test=quality(0.91, 4, "test")))
    ]
    words = text_of(verdict.render(Subject(replace(study, records=tuple(errors)))))
    assert "its dice_macro rises by 0.0200 (at most 0.02" in words and "on val and falls by 0.0100 (at least " in words


def test_without_a_front_the_verdict_says_why() -> None:
    """Where no trial keeps the limits, the verdict says which limit none keeps."""
    assert "latency" in verdict.render(Subject(planted_study(limits={"latency_s": 1e-6})))
