"""The study: what is proposed, what is stored, what a second command finds."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from autoopt.core.card import StudyCard
from autoopt.core.host import Host
from autoopt.core.measurement import Measurement
from autoopt.core.records import Failure, Status, TrialRecord
from autoopt.core.scores import CaseScore, Quality
from autoopt.errors import BusyError, NoStudy, StorageError
from autoopt.study.proposals import Proposal
from autoopt.study.space import Space, load_space
from autoopt.study.storage import LOCKED_S, _storage, artifacts_in_use, check_storage, read_study
from autoopt.study.study import Study, open_study

HOST = Host("cpu", "x86_64", 2, 8_000_000_000, ("avx2",), "Linux", {"python": "3.11"})
SPACE = """
runtime:
  name: fake
  precision: f32
  threads: [1, 2]
  latency_ms: [1, 2, 3, 4, 5, 6]
  error: [0.0, 0.01, 0.02, 0.1]
"""


def card(space: Space, name: str = "s", **changes: object) -> StudyCard:
    fields = {
        "name": name,
        "workload": "tiny",
        "demo": True,
        "primary": "dice_macro",
        "data_digest": "d",
        "weights_digest": "w",
        "space": space.text,
        "objectives": ("latency", "quality"),
        "seed": 0,
        "host": HOST,
        "limits": {"drop": 0.05},
    }
    return StudyCard(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def space(tmp_path: Path) -> Space:
    path = tmp_path / "space.yaml"
    path.write_text(SPACE)
    return load_space(path, HOST)


def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'study.db'}"


def answer(proposal: Proposal) -> TrialRecord:
    """The record of a world that does exactly what the fake runtime's settings say."""
    settings = proposal.configuration.runtime
    latency_s, error = float(settings["latency_ms"] or 0) / 1e3, float(settings["error"] or 0)
    measurement = Measurement((((latency_s,) * 5,),), ((),), (latency_s,), 0.1, 0.1, 10**6, 10**5, {}, HOST.fingerprint)
    value = 0.9 - error
    quality = Quality("val", "dice_macro", "mean", {"dice_macro": value}, (CaseScore("c", "g", {"dice_macro": value}),))
    return TrialRecord(
        proposal.configuration,
        Status.COMPLETE,
        origin=proposal.origin,
        label=proposal.label,
        measurement=measurement,
        quality=quality,
    )


def spend(study: Study, budget: int) -> list[TrialRecord]:
    return [study.tell(proposal, answer(proposal)) for proposal in study.proposals(budget)]


def test_no_configuration_is_evaluated_twice_and_the_budget_is_spent_exactly(space: Space, tmp_path: Path) -> None:
    """A sampled study has as many distinct configurations as its budget says."""
    with open_study(url(tmp_path), card(space), space) as study:
        assert not study.exhaustive(30)
        records = spend(study, 30)

    assert len(records) == 30
    assert len({record.configuration.digest for record in records}) == 30
    assert [record.number for record in records] == list(range(30))


def test_a_space_within_the_budget_is_tried_completely(space: Space, tmp_path: Path) -> None:
    """When the canonical space is not larger than the budget, every point is tried once, and then it ends."""
    with open_study(url(tmp_path), card(space), space) as study:
        assert study.exhaustive(100)
        records = spend(study, 100)

    assert len(records) == space.count().n == 48


def test_a_second_command_continues_where_the_first_stopped(space: Space, tmp_path: Path) -> None:
    """Records come back equal, numbers go on, nothing is proposed again."""
    with open_study(url(tmp_path), card(space), space) as study:
        first = spend(study, 12)
    with open_study(url(tmp_path), card(space), space) as study:
        assert study.result.judged == tuple(first)
        second = spend(study, 20)

    assert [record.number for record in second] == list(range(12, 20))
    assert not {r.configuration.digest for r in first} & {r.configuration.digest for r in second}


def test_samples_beside_a_reference_take_the_place_of_lone_ones(space: Space, tmp_path: Path) -> None:
    """A trial that was measured alone, because the reference could not run then, is what the later comparison says."""
    with open_study(url(tmp_path), card(space), space) as study:
        alone, *_ = spend(study, 1)
        assert alone.measurement is not None
        beside = replace(
            alone.measurement, turns_s=(((0.2,) * 3,),), reference_s=(((0.1,) * 3,),), reference_workers=("r",)
        )
        for more in (beside, alone.measurement):
            study.add(alone.number, more=more)
            assert study.records[0].measurement == beside
    with open_study(url(tmp_path), card(space), space) as study:
        assert study.records[0].measurement == beside


def test_seeds_come_first_and_are_labelled(space: Space, tmp_path: Path) -> None:
    """The first proposal is the reference seed, even outside the sampler's turn."""
    with open_study(url(tmp_path), card(space), space) as study:
        first = next(study.proposals(5))

    assert (first.origin, first.label) == ("seed", "fake f32")


def test_limits_make_trials_infeasible_but_keep_their_values(space: Space, tmp_path: Path) -> None:
    """A trial that loses more than the limit is stored as infeasible with its excess, and is not on the front."""
    with open_study(url(tmp_path), card(space), space) as study:
        records = spend(study, 48)
        front = study.result.front

    bad = [record for record in records if record.configuration.runtime["error"] == 0.1]
    assert bad
    for record in bad:
        assert record.status is Status.INFEASIBLE
        assert record.violated["drop"] == pytest.approx(0.05)
        assert record.quality is not None
    assert front
    assert not {record.number for record in bad} & {record.number for record in front}


def test_other_limits_judge_the_same_trials_anew(space: Space, tmp_path: Path) -> None:
    """Limits are not part of a study: a second command may ask for more or less without repeating anything."""
    with open_study(url(tmp_path), card(space), space) as study:
        spend(study, 48)
    with open_study(url(tmp_path), card(space, limits={"drop": 0.005}), space) as study:
        complete = study.result.complete

    assert {r.configuration.runtime["error"] for r in complete} == {0}


def test_a_failed_trial_is_stored_with_its_cause_and_counts(space: Space, tmp_path: Path) -> None:
    """A failure reaches the storage as a trial like any other and is not proposed again."""
    with open_study(url(tmp_path), card(space), space) as study:
        for proposal in study.proposals(3):
            failure = Failure("crash", "measure", "died with signal SIGSEGV", "tail")
            study.tell(proposal, TrialRecord(proposal.configuration, Status.FAILED, failure=failure))
    stored = read_study(url(tmp_path), "s")

    assert [record.status for record in stored.records] == [Status.FAILED] * 3
    assert stored.records[0].failure == Failure("crash", "measure", "died with signal SIGSEGV", "tail")
    assert stored.front == ()


def test_the_sampler_learns_from_what_was_told(tmp_path: Path) -> None:
    """After thirty trials the sampler proposes better points than a uniform draw does."""
    path = tmp_path / "space.yaml"
    path.write_text(
        "runtime:\n  name: fake\n  threads: 1\n  latency_ms: {low: 1, high: 400}\n  error: {low: 0.0, high: 0.9}\n"
    )
    space = load_space(path, HOST)
    with open_study(url(tmp_path), card(space, limits={}), space) as study:
        records = spend(study, 60)

    late = [
        math.log(r.configuration.runtime["latency_ms"]) + 10 * r.configuration.runtime["error"] for r in records[40:]
    ]  # type: ignore[arg-type, operator]
    uniform_mean = (math.log(400) - 1) + 10 * 0.45
    assert sum(late) / len(late) < 0.8 * uniform_mean


def test_another_study_under_the_same_name_is_refused(space: Space, tmp_path: Path) -> None:
    """A study never mixes weights, data, spaces or hosts; the message names what differs."""
    with open_study(url(tmp_path), card(space), space):
        pass
    changed = card(space, weights_digest="other", data_digest="other")
    with (
        pytest.raises(StorageError, match=r"study s was made with another data and another weights: .*--study"),
        open_study(url(tmp_path), changed, space),
    ):
        pass


def test_a_storage_that_cannot_be_reached_is_one_clear_error(space: Space) -> None:
    """A server that is not there is named, without its password."""
    bad = "postgresql://user:secret@127.0.0.1:1/db"
    with pytest.raises(StorageError, match="cannot be used") as caught, open_study(bad, card(space), space):
        pass

    assert "secret" not in str(caught.value)


def test_a_search_alive_on_another_machine_is_not_joined(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines never write one study: the second one says who holds it."""
    with open_study(url(tmp_path), card(space), space):
        pass
    stored = optuna.load_study(study_name="s", storage=url(tmp_path))
    stored.set_user_attr("autoopt:lease", {"machine": "elsewhere", "pid": 7, "token": "t", "at": time.time()})
    with pytest.raises(BusyError, match="process 7 on elsewhere"), open_study(url(tmp_path), card(space), space):
        pass


def test_two_searches_of_one_file_exclude_each_other(
    space: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock lies beside the database: other temporary folders make no difference, other studies are free."""
    with open_study(url(tmp_path), card(space), space):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "other"))
        with pytest.raises(BusyError, match="study s is being searched"), open_study(url(tmp_path), card(space), space):
            pass
        with open_study(url(tmp_path), card(space, name="other"), space):
            pass
    with open_study(url(tmp_path), card(space), space) as study:
        assert study.records == ()


def test_who_lost_the_study_writes_nothing(space: Space, tmp_path: Path) -> None:
    """A search that slept while another took its study over stops at its next write, and leaves the study alone."""
    with open_study(url(tmp_path), card(space), space) as study:
        spend(study, 2)
        stored = optuna.load_study(study_name="s", storage=url(tmp_path))
        taken = {"machine": "elsewhere", "pid": 7, "token": "t", "at": time.time()}
        stored.set_user_attr("autoopt:lease", taken)
        with pytest.raises(BusyError, match="was taken over by process 7 on elsewhere"):
            spend(study, 3)
        with pytest.raises(BusyError, match="was taken over"):
            study.add(0, note="too late")
    kept = optuna.load_study(study_name="s", storage=url(tmp_path))
    assert len(kept.trials) == 2 and kept.user_attrs["autoopt:lease"] == taken
    assert not read_study(url(tmp_path), "s").records[0].notes


def test_the_number_of_a_trial_is_that_of_its_own_row(space: Space, tmp_path: Path) -> None:
    """Another program that adds a trial meanwhile does not shift the numbers."""
    with open_study(url(tmp_path), card(space), space) as study:
        spend(study, 1)
        stored = optuna.load_study(study_name="s", storage=url(tmp_path))
        stored.add_trial(optuna.trial.create_trial(values=[0.0, 0.0]))
        spend(study, 2)
    assert [record.number for record in read_study(url(tmp_path), "s").records] == [0, 2]


def test_later_additions_never_overwrite_each_other(space: Space, tmp_path: Path) -> None:
    """Two that add to one trial without knowing of each other both stay, in their order."""
    with open_study(url(tmp_path), card(space), space) as study:
        spend(study, 1)
        before = study.result
        study.add(0, note="first")
        study.result = before
        study.add(0, note="second")
    assert read_study(url(tmp_path), "s").records[0].notes[-2:] == ("first", "second")


def test_a_study_of_another_version_is_refused_in_words(space: Space, tmp_path: Path) -> None:
    """A card with fields that this version does not know is named with its study; other studies stay readable."""
    with open_study(url(tmp_path), card(space), space) as study:
        spend(study, 3)
    with open_study(url(tmp_path), card(space, name="other"), space) as study:
        spend(study, 3)
    later = optuna.load_study(study_name="s", storage=url(tmp_path))
    later.set_user_attr("autoopt:card", {**later.user_attrs["autoopt:card"], "later": 1})
    with pytest.raises(StorageError, match=r"study s was written by another version of autoopt .*later"):
        read_study(url(tmp_path), "s")
    with pytest.raises(StorageError, match="another version"), open_study(url(tmp_path), card(space), space):
        pass
    assert read_study(url(tmp_path), None).card.name == "other"


# Which study is read: the one that is named, else the last one searched.


def two_studies(tmp_path: Path, space: Space) -> str:
    """A storage with a study of two trials, then one of three of another workload."""
    for name, workload, budget in (("first", "tiny", 2), ("second", "other", 3)):
        with open_study(url(tmp_path), card(space, name=name, workload=workload), space) as study:
            spend(study, budget)
    return url(tmp_path)


def test_a_study_is_found_by_its_name_or_as_the_last_one_searched(space: Space, tmp_path: Path) -> None:
    """A name finds that study, a workload the last one of it, neither the last one searched; with its records."""
    where = two_studies(tmp_path, space)
    assert [read_study(where, name).card.name for name in ("first", "second")] == ["first", "second"]
    assert read_study(where, None, "tiny").card.name == "first"
    last = read_study(where, None)
    assert (last.card.name, len(last.records)) == ("second", 3)
    with open_study(where, card(space, name="first"), space):
        pass  # searched again, though without a trial
    assert read_study(where, None).card.name == "first"


def test_a_study_older_than_leases_was_searched_when_its_last_trial_ended(space: Space, tmp_path: Path) -> None:
    """Where no lease says when a study was searched its trials do; one without trials was never searched."""
    where = two_studies(tmp_path, space)
    with open_study(where, card(space, name="empty"), space):
        pass
    for name in ("first", "second", "empty"):
        optuna.load_study(study_name=name, storage=where).set_user_attr("autoopt:lease", None)
    assert read_study(where, None).card.name == "second"
    with open_study(where, card(space, name="first"), space) as study:
        spend(study, 4)
    optuna.load_study(study_name="first", storage=where).set_user_attr("autoopt:lease", None)
    assert read_study(where, None).card.name == "first"


@pytest.mark.parametrize(
    ("name", "workload", "said"),
    [
        ("third", None, "third is not in sqlite:.*there: first, second.*autoopt search"),
        (None, "lung", "a study of lung is not in sqlite:.*there: first, second"),
        ("first", "other", "first is not in sqlite:.*there: first, second"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(
    name: str | None, workload: str | None, said: str, space: Space, tmp_path: Path
) -> None:
    """A study that is not stored is named, with those that are and what to do."""
    with pytest.raises(NoStudy, match=said):
        read_study(two_studies(tmp_path, space), name, workload)


def test_a_storage_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """Reading or checking a file that does not exist leaves none behind, and says which it was."""
    with pytest.raises(NoStudy, match=r"no study is stored in .*study\.db: run autoopt search first"):
        read_study(url(tmp_path), None)
    check_storage(url(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_an_empty_storage_has_no_study(tmp_path: Path) -> None:
    """A storage of Optuna without a study of ours says so, whatever else is in it."""
    optuna.create_study(study_name="theirs", storage=url(tmp_path))
    with pytest.raises(NoStudy, match=r"a study is not in sqlite:.*there: none"):
        read_study(url(tmp_path), None)


def test_a_file_that_is_no_storage_is_one_clear_error(tmp_path: Path) -> None:
    """Any other file in its place is refused by reading, checking and listing, with what to do, and left as it is."""
    (tmp_path / "study.db").write_bytes(b"a text that somebody put here" * 50)
    for question in (lambda: read_study(url(tmp_path), None), lambda: check_storage(url(tmp_path))):
        with pytest.raises(StorageError, match=r"study\.db cannot be used .*check the URL"):
            question()
    with pytest.raises(StorageError, match=r"study\.db cannot be used"):
        artifacts_in_use(url(tmp_path))
    assert (tmp_path / "study.db").read_bytes() == b"a text that somebody put here" * 50


def test_the_artifacts_in_use_are_the_last_of_every_trial(space: Space, tmp_path: Path) -> None:
    """What trials of any study measured is in use; the stages before it can be made again."""
    for name in ("first", "second"):
        with open_study(url(tmp_path), card(space, name=name), space) as study:
            for proposal in study.proposals(2):
                made = replace(answer(proposal), artifacts=(f"{name}-export", f"{name}-model"))
                study.tell(proposal, made if proposal.label else replace(made, artifacts=()))
    assert artifacts_in_use(url(tmp_path)) == {"first-model", "second-model"}


def test_optunas_own_tools_can_read_what_is_stored(space: Space, tmp_path: Path) -> None:
    """Optuna's plots name the objectives with their units, and see the settings, values and limits of every trial."""
    with open_study(url(tmp_path), card(space, objectives=("latency", "quality", "memory")), space) as study:
        [record] = spend(study, 1)
    stored = optuna.load_study(study_name="s", storage=url(tmp_path))
    assert stored.metric_names == [
        "log latency_p25_ms in SI units",
        "minus dice_macro",
        "log peak_rss_mb in SI units",
    ]
    [trial] = stored.get_trials()
    assert trial.values == pytest.approx([math.log(0.001), -0.9, math.log(10**6)])
    assert trial.params["runtime.latency_ms"] == 1
    assert trial.constraints == {"drop": pytest.approx(-0.05)}
    assert trial.user_attrs["label"] == record.label == "fake f32"


def test_what_is_learnt_later_adds_up(space: Space, tmp_path: Path) -> None:
    """Remarks and samples are appended in their order; the latest quality on test counts; all of it is stored."""
    with open_study(url(tmp_path), card(space), space) as study:
        [record] = spend(study, 1)
        assert record.measurement is not None
        for value in (0.7, 0.8):
            study.add(0, test=on_test(value))
        study.add(0, more=record.measurement, note="first")
        added = study.add(0, note="second")
    assert added.notes == ("first", "second")
    assert added.measurement is not None and added.measurement.processes == 2
    assert added.test == on_test(0.8)
    assert read_study(url(tmp_path), "s").records == (added,)


def on_test(value: float) -> Quality:
    return Quality("test", "dice_macro", "mean", {"dice_macro": value}, (CaseScore("t", "g", {"dice_macro": value}),))


def test_a_file_that_another_program_locks_is_waited_for(tmp_path: Path) -> None:
    """A program that copies the database holds it for longer than the five seconds that SQLAlchemy waits by itself."""
    with _storage(url(tmp_path)).engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == LOCKED_S * 1000
