"""Which trial is run again, and that it is run with what its study was made with."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.core.card import StudyCard
from autoopt.core.records import Status, TrialRecord
from autoopt.errors import NoStudy, StorageError, UsageError, WeightsError
from autoopt.study.prepare import prepare
from autoopt.study.replay import find_trial, parse_trial, prepare_as_before
from autoopt.study.request import SearchRequest, default_storage
from autoopt.study.study import open_study
from tests import tiny
from tests.worlds import card_of, measured, point, scored, space_of

pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("text", "found"),
    [("12", (None, 12)), ("#3", (None, 3)), ("histo-1/0", ("histo-1", 0)), ("a/b/7", ("a/b", 7))],
)
def test_a_trial_is_a_number_or_study_and_number(text: str, found: tuple[str | None, int]) -> None:
    """A trial is named by its number, as it is shown, or after the name of its study."""
    assert parse_trial(text) == found


@pytest.mark.parametrize("text", ["", "x", "s/", "-1", "1.5", "\u00b2"])
def test_what_names_no_trial_is_refused(text: str) -> None:
    """Anything else is refused in a sentence that says how trials are named."""
    with pytest.raises(UsageError, match="a trial is named by its number"):
        parse_trial(text)


def test_a_trial_is_found_in_the_named_study(tmp_path: Path) -> None:
    """The record comes from the study that the trial, or the argument, names; the argument is stronger."""
    space, url = space_of(tmp_path), default_storage(tmp_path)
    for name, latency_ms in (("first", 10), ("second", 20)):
        with open_study(url, card_of(space, name=name), space) as study:
            proposal = next(study.proposals(1))
            record = TrialRecord(point(latency_ms=latency_ms), Status.COMPLETE, origin="seed")
            study.tell(proposal, replace(record, measurement=measured(0.01), quality=scored(0.9)))
    assert find_trial("first/0", None, tmp_path, None)[1].configuration == point(latency_ms=10)
    assert find_trial("first/0", "second", tmp_path, url)[1].configuration == point(latency_ms=20)
    with pytest.raises(StorageError, match="study first has no trial 5: its trials are 0 to 0"):
        find_trial("first/5", None, tmp_path, None)
    with pytest.raises(NoStudy):
        find_trial("third/0", None, tmp_path, None)


def card_on(folder: Path) -> StudyCard:
    """The card of a study of the tiny workload, whose weights are in `folder`."""
    request = SearchRequest(tiny.SOURCE, weights=tiny.weights(folder / "w.safetensors"), space="quick", home=folder)
    return replace(prepare(request).card, demo=False, latency="case")


def test_a_study_is_prepared_as_it_was(tmp_path: Path) -> None:
    """Workload and weights are those of the card, and what is timed is what the study timed."""
    card = card_on(tmp_path)
    prepared = prepare_as_before(card, tmp_path)
    assert prepared.card == card
    assert prepared.weights == tmp_path / "w.safetensors"
    assert (prepared.workload.name, prepared.workload.latency) == ("tiny", "case")


@pytest.mark.parametrize("inside", [True, False])
def test_a_study_whose_home_was_moved_is_prepared_there(tmp_path: Path, inside: bool) -> None:
    """What lay in the home folder, or beside it and is gone, is found where the home folder is today."""
    project = tmp_path / "first"
    home = project if inside else project / "mlruns"
    source = project / "net.py"
    home.mkdir(parents=True)
    source.write_text(f"from tests.tiny import workload  # {inside}\n")
    weights = tiny.weights(project / "w.safetensors")
    request = SearchRequest(f"{source}:workload", data=project, weights=weights, space="quick", home=home)
    card = prepare(request).card
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    if inside:  # what is in the home folder is the copy's also while the original is there
        weights.write_bytes(b"")
    else:
        project.rename(tmp_path / "renamed")
    prepared = prepare_as_before(card, copy / home.relative_to(project))
    assert prepared.weights == copy / weights.name
    origin = prepared.workload.origin
    assert origin is not None and origin.data == str(copy)
    assert origin.source == f"{copy / source.name}:workload"


def test_what_changed_since_is_refused(tmp_path: Path) -> None:
    """With other weights or other data a trial is not the one that was stored."""
    card = card_on(tmp_path)
    with pytest.raises(UsageError, match="changed since study"):
        prepare_as_before(replace(card, data_digest="other"), tmp_path)
    with pytest.raises(WeightsError, match="are not those that study"):
        prepare_as_before(replace(card, weights_digest="other"), tmp_path)
