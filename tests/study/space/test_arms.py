"""The arms of a space: configurations with a name that are tried first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.core.host import Host
from autoopt.core.records import ARM
from autoopt.errors import SpaceError
from autoopt.study.proposals import Proposals
from autoopt.study.space import Space, arms, load_space, seeds
from autoopt.workloads.contract import Workload
from autoopt.workloads.loading import BUILT_IN
from tests import tiny

HOST = Host("a cpu", "x86_64", 4, 8_000_000_000, ("avx2",), "Linux", {})
SPACE = """
schema: 1
prune: {ratio: [null, 0.5, 0.7], rungs: "0.5"}
quantize: {scheme: [null, int8]}
runtime: {name: [openvino, torch], threads: auto}
"""
ARMS = """
arms:
  half of it, int8:
    prune: {ratio: 0.5}
    quantize: {scheme: int8}
    runtime: {name: openvino}
  outside:
    pipeline: {overlap: 0.1}
    prune: {ratio: 0.9, criterion: taylor}
    runtime: {name: torch}
  a seed again:
    runtime: {name: openvino, precision: f32}
"""


def space_of(folder: Path, text: str, workload: Workload | None = None) -> Space:
    (folder / "space.yaml").write_text(text)
    return load_space(folder / "space.yaml", HOST, workload)


def test_what_an_arm_does_not_say_is_as_in_the_seeds(tmp_path: Path) -> None:
    """Other steps are off, other settings have their defaults, and the threads are the most."""
    space = space_of(tmp_path, SPACE + ARMS)
    first, outside, _ = arms(space)
    assert first.label == "half of it, int8"
    flat = first.configuration.flat()
    assert flat["prune.ratio"] == 0.5 and flat["quantize.scheme"] == "int8" and flat["runtime.threads"] == 4
    assert first.raw is not None and space.canonical(first.raw) == first.configuration
    assert outside.raw is None and outside.configuration.flat()["prune.criterion"] == "taylor"
    assert outside.configuration.section("quantize") is None
    assert outside.configuration.flat()["pipeline.overlap"] == 0.1


def test_arms_come_right_after_the_seeds(tmp_path: Path) -> None:
    """They are proposed by name, one that is a seed not again, and those outside the space too."""
    space = space_of(tmp_path, SPACE + ARMS)
    proposals, found = Proposals(space, 2, 0, 0), []
    for proposal in proposals.until(len(seeds(space)) + 2):
        found.append(proposal)
        proposals.tell(proposal.configuration, proposal.raw, [0.1, -0.9], {})
    assert [(item.origin, item.label) for item in found[-2:]] == [(ARM, "half of it, int8"), (ARM, "outside")]


def test_arms_are_no_part_of_what_the_space_is(tmp_path: Path) -> None:
    """A study that is continued with other arms is the same study."""
    assert space_of(tmp_path, SPACE + ARMS).text == space_of(tmp_path, SPACE).text


def test_all_that_is_wrong_with_arms_is_said_at_once(tmp_path: Path) -> None:
    """Each problem with its path: names, sections, settings and values."""
    text = """
arms:
  one: {prunne: {ratio: 0.5}}
  two: {prune: {steps: 3}}
  three: {prune: {ratio: [0.5, 0.7]}, runtime: {name: opnvino}}
  four: {prune: {ratio: 2}, quantize: {sheme: int8}, runtime: {threads: 2}}
  5: {prune: {ratio: 0.5}}
  six: nothing
"""
    with pytest.raises(SpaceError) as caught:
        space_of(tmp_path, SPACE + text)
    problems = "\n".join(caught.value.problems)
    for start in (
        "arms.one.prunne: is not a section",
        "arms.two.prune: must say ratio",
        "arms.three.prune.ratio: must be one value",
        "arms.three.runtime.name: must be one of openvino",
        "arms.four.prune.ratio: must be",
        "arms.four.quantize.sheme: is not a setting",
        "arms.four.runtime: must say name",
        "arms: must have names",
        "arms.six: must be a mapping of sections",
    ):
        assert start in problems
    with pytest.raises(SpaceError, match="arms: must be a mapping of names to configurations, got a list"):
        space_of(tmp_path, SPACE + "arms: [1]")


def test_a_finished_graph_has_no_arms_that_train(tmp_path: Path) -> None:
    """Those of shipped spaces are left out without a word more; those of one's own file are refused."""
    workload = replace(tiny.workload(), build=None, graph=tmp_path / "net.onnx")
    space = load_space("default", HOST, workload, on_remark=lambda text: None)
    assert not arms(space)
    own = "quantize: {scheme: [null, int8]}\nruntime: {name: openvino}\n"
    with pytest.raises(SpaceError, match=r"arms\.outside\.prune: must be left out: .* is a finished graph"):
        space_of(tmp_path, own + ARMS, workload)


def test_what_a_network_refuses_is_left_out_of_the_arms() -> None:
    """An arm with a value that the space lost is none any more."""
    space = load_space("default", HOST)
    narrower = space.without_values({"resolution.factor": [2]})
    assert {arm.label for arm in arms(space)} - {arm.label for arm in arms(narrower)} == {
        "half the resolution, int8",
        "half the resolution and channels, int8",
    }


@pytest.mark.parametrize("name", ["default", *sorted(BUILT_IN)])
def test_arms_of_shipped_spaces_are_points_of_them(name: str) -> None:
    """The default of every workload has arms, and the sampler learns from each of them."""
    space = replace(load_space(name, HOST), pipeline=replace(tiny.workload().pipeline, overlap=0.25))
    assert arms(space) and all(arm.raw is not None for arm in arms(space))
