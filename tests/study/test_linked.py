"""One search on two targets: what is missing is measured, both studies name each other, and why members go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from autoopt.core.card import LINKED
from autoopt.core.configuration import Configuration
from autoopt.core.host import Host
from autoopt.core.records import Status, TrialRecord
from autoopt.errors import UsageError
from autoopt.inference.runtimes import REFERENCE_LABEL
from autoopt.study.early_stop import EarlyStop
from autoopt.study.linked import add_trials, both_fronts, measure_on_both, missing, on_host
from autoopt.study.loop import search
from autoopt.study.request import SearchRequest
from autoopt.study.result import StudyResult
from autoopt.study.storage import open_storage, read_study
from autoopt.terminal import both_fronts as shown
from tests import tiny
from tests.worlds import SPACE, World, card_of, measured, point, scored, space_of

SMALL = Host("small cpu", "x86_64", 1, 8_000_000_000, ("avx2",), "Linux", {"python": "3.11"})


def trial(number: int, latency_s: float, value: float, threads: int = 1, **changes: object) -> TrialRecord:
    """A trial whose configuration says which model it is."""
    made = TrialRecord(point(latency_ms=10 * number, threads=threads), Status.COMPLETE, number)
    made = replace(made, measurement=measured(latency_s, processes=3), quality=scored(value))
    return replace(made, **changes)  # type: ignore[arg-type]


def study_of(folder: Path, name: str, host: Host | None, *records: TrialRecord) -> StudyResult:
    """A study with a reference and these records; with a host, it is of that one."""
    reference = trial(0, 0.1, 0.9, origin="seed", label=REFERENCE_LABEL)
    changes = {} if host is None else {"host": host}
    return StudyResult(card_of(space_of(folder), name, **changes), (reference, *records))


def test_a_model_is_the_same_with_the_threads_that_a_host_has() -> None:
    """A configuration on a host with fewer cores has no more threads than these; on its own it is as it was."""
    assert on_host(point(threads=2), SMALL) == point(threads=1)
    assert on_host(point(threads=2), replace(SMALL, cores=2)) == point(threads=2)


def test_what_was_not_tried_there_is_measured_until_both_fronts_are_known(tmp_path: Path) -> None:
    """Members are asked for once, as they run there; what comes in may be a member itself, and is asked for back."""
    first = study_of(tmp_path, "a", None, trial(1, 0.010, 0.86, threads=2), trial(2, 0.020, 0.89, threads=2))
    second = study_of(tmp_path, "b", SMALL, trial(1, 0.012, 0.86))
    asked: list[tuple[str | Sequence[str] | None, list[Configuration]]] = []
    found = {"a": first, "b": second}

    def add(request: SearchRequest, wanted: Sequence[Configuration], linked: str) -> StudyResult:
        asked.append((request.target, list(wanted)))
        before = found[str(request.target)]
        records = list(before.records)
        for item in wanted:
            latency_s = float(item.runtime["latency_ms"] or 0) / 1e3
            made = trial(0, latency_s, 0.9 if latency_s > 0.015 else 0.86)
            records.append(replace(made, configuration=item).with_number(len(records)))
        card = replace(before.card, origin={LINKED: linked})
        found[str(request.target)] = StudyResult(card, tuple(records))
        return found[str(request.target)]

    requests = [SearchRequest(target=name) for name in found]
    assert missing(first, second) == [point(latency_ms=20, threads=1)]
    both = measure_on_both(requests, [first, second], add)
    assert asked[:2] == [
        ("b", [point(latency_ms=20, threads=1)]),
        ("a", [point(latency_ms=10, threads=1), point(latency_ms=20, threads=1)]),
    ]
    assert all(item.there is not None for items in both.members for item in items)
    asked.clear()
    measure_on_both(requests, both.studies, add)
    assert asked == []


def test_members_stay_or_go_for_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the other target a member may be surely behind, break a limit or be unknown; one table tells all."""
    first = study_of(
        tmp_path,
        "a",
        None,
        trial(1, 0.010, 0.86),
        trial(2, 0.020, 0.87),
        trial(3, 0.030, 0.88),
        trial(4, 0.040, 0.89),
    )
    second = study_of(tmp_path, "b", SMALL, trial(1, 0.010, 0.80), trial(2, 0.050, 0.87), trial(3, 0.030, 0.88))
    both = both_fronts(first, second)
    reasons = {item.member.number: item.reasons for item in both.members[0]}
    assert reasons == {
        1: ("it breaks drop <= 0.05",),
        2: ("#3 is surely faster here and no worse",),
        3: (),
        4: ("it was not measured there",),
        0: (),  # the best, and the slowest
    }
    shown(both)
    said = " ".join(capsys.readouterr().out.split())
    assert "2 of 5 members of A's front have a place on B's, 2 of 2 of B's on A's" in said
    assert "A#2 is no member on B: B#3 is surely faster here and no worse" in said
    assert "These two were not searched together" in said


def test_studies_of_other_models_are_refused(tmp_path: Path) -> None:
    """Where weights differ no trial is the same: the report of both is named instead."""
    first = study_of(tmp_path, "a", None)
    second = StudyResult(replace(first.card, name="b", weights_digest="other"), first.records)
    with pytest.raises(UsageError, match=r"must be of one weights, a has w and b other: `autoopt report a b`"):
        both_fronts(first, second)


def test_added_trials_are_stored_beyond_the_budget(tmp_path: Path) -> None:
    """They are trials of the study, which is linked and stays so; it had ended early, and still has."""
    pytest.importorskip("torch")
    weights = tiny.weights(tmp_path / "tiny.safetensors")
    (tmp_path / "space.yaml").write_text(SPACE)
    asked = SearchRequest(
        tiny.SOURCE, weights=weights, space=str(tmp_path / "space.yaml"), home=tmp_path / "home", budget=3
    )
    study = search(asked, runner=World()).study
    with open_storage(asked.storage_url, study.card, space_of(tmp_path)) as stored:
        stored.end_early(EarlyStop(budget=3, trials=3, gain=0.0, noise=0.1))
    tried = {record.configuration for record in study.records}
    wanted = [item for item in (point(latency_ms=50), point(latency_ms=60)) if item not in tried]
    after = partial(add_trials, asked, wanted, "other")(runner=World())
    assert [record.configuration for record in after.records[3:]] == wanted
    assert {record.origin for record in after.records[3:]} == {LINKED}
    assert after.early_stop is not None and after.early_stop.trials == len(after.records)
    assert len(search(asked, runner=World()).study.records) == len(after.records)
    assert read_study(asked.storage_url, None).card.origin[LINKED] == "other"
