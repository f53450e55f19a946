"""What explain found is kept in the home folder, and found again for the same trial only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.measure.case_stages import CaseStages
from autoopt.measure.profiling import Profile
from autoopt.report.evidence_files import FOLDER
from autoopt.report.evidence_profile import AFTER, BEFORE, CONVERSIONS, NETWORK, KeptSide, keep_profile, kept_profile
from tests.report.profiles import CONVERTED, FLOAT, explain

FOUND = explain(CONVERTED, FLOAT)


def test_an_explanation_is_found_again(tmp_path: Path) -> None:
    """Both profiles, the sentences and the day are as they were kept; a later explanation takes the place."""
    record, card = FOUND.trial.record, FOUND.study.card
    assert keep_profile(FOUND, tmp_path, lambda: 0.0) == ""
    kept = kept_profile(tmp_path, card, record)
    assert kept is not None and kept.taken == "1970-01-01" and kept.sentences == FOUND.sentences
    assert [side.profile for side in kept.sides] == [side.profile for side in FOUND.sides]
    keep_profile(replace(FOUND, against=None), tmp_path)
    kept = kept_profile(tmp_path, card, record)
    assert kept is not None and len(kept.sides) == 1 and len(list((tmp_path / FOLDER).iterdir())) == 1


def test_of_another_trial_nothing_is_known(tmp_path: Path) -> None:
    """A trial with another artifact, a study made anew and a broken file have nothing that is kept."""
    record, card = FOUND.trial.record, FOUND.study.card
    keep_profile(FOUND, tmp_path)
    assert kept_profile(tmp_path, card, replace(record, artifacts=("other",))) is None
    assert kept_profile(tmp_path, replace(card, id="drawn anew"), record) is None
    for text in ("{", "[]", '{"sides": [{"number": 1}]}'):
        next((tmp_path / FOLDER).iterdir()).write_text(text)
        assert kept_profile(tmp_path, card, record) is None


def test_a_home_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Where nothing can be kept, a sentence says so instead of an error."""
    (tmp_path / FOLDER).write_text("a file in the way")
    assert keep_profile(FOUND, tmp_path).startswith("it could not be kept in")


def test_parts_add_up_to_a_case() -> None:
    """The parts are what is before and after the network and its layers by kind, which share its time."""
    profile = Profile(tuple(CONVERTED), 1.0, CaseStages(calls=2, prepare_s=0.1, network_s=0.6, finish_s=0.3))
    parts = KeptSide(1, "one", profile).parts
    assert list(parts) == [BEFORE, CONVERSIONS, "Conv", "InstanceNormalization", AFTER]
    assert sum(parts.values()) == pytest.approx(1.0) and parts["Conv"] == pytest.approx(0.6 * 20 / 60)
    alone = KeptSide(1, "one", replace(profile, case=None)).parts
    assert sum(alone.values()) == pytest.approx(1.0) and BEFORE not in alone
    assert KeptSide(1, "one", Profile((), 0.5)).parts == {NETWORK: 0.5}
