"""What is checked and loaded before a search, a plan or a replay begins."""

from __future__ import annotations

import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from autoopt import terminal
from autoopt.core.card import StudyCard
from autoopt.errors import DataError, UsageError, WeightsError
from autoopt.measure.undisturbed import Timed
from autoopt.nets.weights import WeightsInfo, save_weights
from autoopt.report.front_json import front_json
from autoopt.report.tables import front_markdown
from autoopt.study.plan import plan_search
from autoopt.study.prepare import (
    LEAST_ADDRESS_SPACE_BYTES,
    LONGEST_FILE_BYTES,
    argument_problems,
    check_data_argument,
    command_arguments,
    limit_problems,
    prepare,
)
from autoopt.study.request import SearchRequest
from autoopt.study.result import StudyResult
from tests import tiny
from tests.targets import RecordingTarget

pytest.importorskip("torch")


def test_good_values_have_no_problems(tmp_path: Path) -> None:
    """The defaults, and values at the ends of what is allowed, are accepted."""
    assert argument_problems(SearchRequest()) == []
    ends = SearchRequest(budget=1, max_drop=1.0, guards={"worst_decile": 0.0, "subgroup:scanner": 1.0}, data=tmp_path)
    assert argument_problems(replace(ends, objectives=("size", "memory", "quality", "latency"))) == []
    assert argument_problems(replace(ends, max_drop=None)) == []


def test_every_wrong_value_is_a_problem_of_its_own(tmp_path: Path) -> None:
    """All wrong values are found in one go, each named by its option."""
    (tmp_path / "file").touch()
    request = SearchRequest(
        budget=0,
        time_s=0.0,
        max_drop=-0.1,
        max_latency_s=-1.0,
        max_memory_bytes=0,
        max_size_bytes=-1,
        min_quality=float("nan"),
        min_throughput=0.0,
        guards={"worst": 0.1, "worst_decile": 2.0},
        target="ssh://-oProxyCommand=x",
        seed=-1,
        sampler="best",
        objectives=("latency", "latency"),
        stage_timeouts={"build": 5.0, "make": 0.0},
        data=tmp_path / "file",
        weights=tmp_path,
    )
    limits = "--max-drop --max-latency --max-memory --max-size --min-quality --min-throughput --guard --guard"
    rest = "--target --seed --sampler --objectives --stage-timeout --stage-timeout --data --weights"
    assert [problem.split()[0] for problem in argument_problems(request)] == f"--budget --time {limits} {rest}".split()


def test_targets_are_at_most_two_different_ones() -> None:
    """One named twice, and three, are told; so is each address that is none."""
    assert argument_problems(SearchRequest(target=("local://", "ssh://a"))) == []
    for wrong in (("local://", "local://"), ("local://", "ssh://a", "ssh://b")):
        (said,) = argument_problems(SearchRequest(target=wrong))
        assert said.startswith("--target must be given once, or twice with different addresses, got local://")
    said = argument_problems(SearchRequest(target=("clinic", "-x", "local://")))
    words = ("--target must be given once", "--target must be ssh://HOST", "--target must be ssh://HOST")
    assert all(problem.startswith(begin) for problem, begin in zip(said, words, strict=True))


def test_a_home_whose_files_sqlite_cannot_open_is_refused(tmp_path: Path) -> None:
    """A path of at most as many bytes as SQLite takes is accepted, a longer one only where no file lies there."""
    longest = tmp_path / ("é" * ((LONGEST_FILE_BYTES - len(os.fsencode(tmp_path)) - len("//mlflow.db")) // 2))
    assert argument_problems(SearchRequest(home=longest)) == []
    longer = SearchRequest(home=longest / "more")
    assert argument_problems(longer)[0].startswith("--home must lead to files whose whole paths have at most 504 bytes")
    assert argument_problems(replace(longer, storage="postgresql://h/db", tracking_uri="http://h")) == []


def test_too_little_address_space_is_said_before_a_model_is_blamed_for_it() -> None:
    """A small limit of ulimit -v is refused with both numbers; a large one, and none, is not."""
    assert [*limit_problems(resource.RLIM_INFINITY), *limit_problems(LEAST_ADDRESS_SPACE_BYTES)] == []
    (said,) = limit_problems(1_500_000_000)
    assert said.startswith("a process must be allowed at least 4000 MB of address space, 1500 MB are")


def test_a_request_is_loaded(tmp_path: Path) -> None:
    """Workload, space, weights, limits and names of a request are in what a search begins with."""
    weights = tiny.weights(tmp_path / "w.safetensors")
    request = SearchRequest(
        tiny.SOURCE, weights=weights, space="quick", home=tmp_path / "home", max_latency_s=0.02, study="mine"
    )
    prepared = prepare(request)
    assert (prepared.request, prepared.weights, prepared.workload.name) == (request, weights, "tiny")
    assert prepared.card.name == "mine"
    assert prepared.card.limits == {"drop": 0.01, "latency_bound_s": 0.02}
    assert prepared.storage_url == f"sqlite:///{tmp_path / 'home' / 'study.db'}"


def test_how_files_are_read_comes_from_the_workload_to_the_card(tmp_path: Path) -> None:
    """A study keeps how its workload reads image files, for the bundles of its front; or that nobody said it."""
    weights = tiny.weights(tmp_path / "w.safetensors")
    for source, told in (
        (tiny.PICTURES_SOURCE, {"colours": True, "value_range": 255.0, "files": 1}),
        (tiny.SOURCE, None),
    ):
        card = prepare(SearchRequest(source, weights=weights, space="quick", home=tmp_path / "home")).card
        assert card.origin["reading"] == told


def test_energy_is_refused_where_nobody_counts_it(tmp_path: Path) -> None:
    """Energy as an objective needs a target that tells it: elsewhere it is refused with the target's reason."""
    weights = tiny.weights(tmp_path / "w.safetensors")
    request = SearchRequest(
        tiny.SOURCE, weights=weights, space="quick", home=tmp_path / "home", objectives=("energy", "quality")
    )
    target = RecordingTarget(tmp_path / "target")
    assert prepare(request, target).card.objectives == ("energy", "quality")
    target.no_energy = "the counters are broken"
    with pytest.raises(UsageError, match="--objectives energy needs a host that tells its energy: the counters are"):
        prepare(request, target)


def test_a_guard_of_a_label_has_its_dice_scored(tmp_path: Path) -> None:
    """A guard of a label adds its Dice to the metrics, once; an unknown label is refused with those that there are."""
    weights = tiny.weights(tmp_path / "w.safetensors")
    request = SearchRequest(tiny.SOURCE, weights=weights, space="quick", home=tmp_path, guards={})
    label = prepare(request).workload.labels[-1]
    prepared = prepare(replace(request, guards={f"label:{label}": 0.03}))
    assert prepared.workload.metrics == tuple(dict.fromkeys((*tiny.workload().metrics, f"dice_{label}")))
    assert prepared.card.limits == {"drop": 0.01, f"label:{label}": 0.03}
    with pytest.raises(DataError, match=f"must name a label of the segmentation tiny .*{label}.*, got liver"):
        prepare(replace(request, guards={"label:liver": 0.03}))


def test_the_sampler_does_not_make_another_study(tmp_path: Path) -> None:
    """A study may be continued with another sampler; another seed is another study."""
    weights = tiny.weights(tmp_path / "w.safetensors")
    request = SearchRequest(tiny.SOURCE, weights=weights, space="quick", home=tmp_path)
    name = prepare(request).card.name
    assert prepare(replace(request, sampler="random")).card.name == name
    assert prepare(replace(request, seed=1)).card.name != name


def test_weights_that_were_trained_in_part_are_remarked_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was left out of a training is said with every front and plan of its weights, and makes no other study."""
    recipe = {"steps": 30, "of_steps": 90}
    info = WeightsInfo("tiny", tiny.workload().data_digest, recipe, val={"dice_macro": 0.5})
    home = tmp_path / "home"
    save_weights(tiny.build(), home / "weights", info)
    request = SearchRequest(tiny.SOURCE, space="quick", home=home)
    card = prepare(request).card
    remark = "The weights may be worse than their recipe can: they were trained for 30 of 90 steps, the time was up."
    assert card.weights_remark == remark and StudyCard.from_json(card.to_json()).weights_remark == remark

    terminal.front(StudyResult(card, ()))
    terminal.plan(plan_search(prepare(request), time_call=lambda prepared: Timed(1.0)))
    assert " ".join(capsys.readouterr().out.split()).count(remark) == 2
    assert front_json(StudyResult(card, ()))["weights_remark"] == remark
    assert remark in front_markdown(StudyResult(card, ()))

    save_weights(
        tiny.build(), home / "weights", replace(info, recipe={"steps": 90, "of_steps": 90}, val={"dice_macro": 0.6})
    )
    assert prepare(request).card.weights_remark == ""
    assert prepare(replace(request, weights=tiny.weights(tmp_path / "w.safetensors"))).card.weights_remark == ""


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    """Without weights the message is the command that trains them, with the options of the workload."""
    with pytest.raises(WeightsError, match=r"autoopt train --workload \S+tiny.py:workload --demo"):
        prepare(SearchRequest(tiny.SOURCE, space="quick", home=tmp_path))


def test_wrong_values_are_found_before_anything_is_written(tmp_path: Path) -> None:
    """With a wrong value not even the home folder is made."""
    with pytest.raises(UsageError):
        prepare(SearchRequest(tiny.SOURCE, budget=0, home=tmp_path / "home"))
    assert not (tmp_path / "home").exists()


def test_a_workload_is_named_on_the_command_line(tmp_path: Path) -> None:
    """A command that is suggested can be pasted: quoted, with --model for a model, every option and the home folder."""
    assert command_arguments("histo", "--demo", {}) == "--workload histo --demo"
    assert (
        command_arguments("model:my net.onnx", "--data 'a b'", {"task": "segmentation", "labels": "a b"})
        == "--model 'my net.onnx' --data 'a b' --option task=segmentation --option 'labels=a b'"
    )
    assert command_arguments("histo", "", {}, home=tmp_path) == f"--workload histo --home {tmp_path}"
    with pytest.raises(WeightsError, match=rf"`autoopt train [^`]* --home {tmp_path}`"):
        prepare(SearchRequest(tiny.SOURCE, home=tmp_path))


def test_data_that_is_needed_is_asked_for(tmp_path: Path) -> None:
    """A command that cannot do without data says so, and how to take the demo data."""
    assert check_data_argument(tmp_path, needed_for="training x") == tmp_path
    with pytest.raises(DataError, match="training x needs a data folder: give --data DIR, or --demo"):
        check_data_argument(None, needed_for="training x")
