"""The control of a study: what its front is compared with, and what it is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.core.host import Host
from autoopt.core.records import CONTROL
from autoopt.study.proposals import Proposals
from autoopt.study.space import Space, arms, control, load_space, seeds
from tests import tiny

HOST = Host("a cpu", "x86_64", 4, 8_000_000_000, ("avx2",), "Linux", {})
SPACE = """
schema: 1
quantize: {scheme: [null, int8]}
runtime: {name: [torch, openvino], threads: [1, 4], precision: [f32, bf16]}
"""


@pytest.fixture
def space(tmp_path: Path) -> Space:
    (tmp_path / "space.yaml").write_text(SPACE)
    return load_space(tmp_path / "space.yaml", HOST, tiny.workload())


def test_the_control_is_one_layer_in_the_fastest_runtime(space: Space) -> None:
    """It is trained for a minute, runs in FP32 with the most threads in OpenVINO, and lies outside of the space."""
    found = control(space, 13)
    assert found is not None and found.raw is None
    flat = found.configuration.flat()
    assert flat["control.network"] == "one-layer" and found.configuration.section("quantize") is None
    assert flat["control.seconds"] == 60.0
    assert (flat["runtime.name"], flat["runtime.threads"], flat["runtime.precision"]) == ("openvino", 4, "f32")


def test_few_trials_and_finished_graphs_have_none(space: Space) -> None:
    """A small budget has no trial to spare, and where there is no network none can be replaced."""
    assert control(space, 12) is None
    assert control(replace(space, has_network=False), 50) is None


def test_it_is_tried_once_after_seeds_and_arms() -> None:
    """A search proposes it by its name before it asks a sampler."""
    space = load_space("default", HOST, tiny.workload())
    proposals, found = Proposals(space, 2, 0, 0), []
    for proposal in proposals.until(30):
        found.append(proposal)
        proposals.tell(proposal.configuration, proposal.raw, [0.1, -0.9], {})
    place = len(seeds(space)) + len(arms(space))
    assert [item.origin for item in found].index(CONTROL) == place
    assert [item.origin for item in found].count(CONTROL) == 1 and found[place].label == "one layer"


def test_a_space_that_fits_only_without_it_is_not_exhaustive(tmp_path: Path) -> None:
    """The control counts as a trial of a search that tries everything."""
    text = f"quantize: {{scheme: [null, int8], calibration_cases: {list(range(1, 11))}}}\n"
    (tmp_path / "space.yaml").write_text(f"{text}runtime: {{name: openvino, threads: [1, 4]}}\n")
    space = load_space(tmp_path / "space.yaml", HOST, tiny.workload())
    others = space.count().n + sum(seed.raw is None for seed in seeds(space))
    assert others >= 20
    assert not Proposals(space, 2, 0, 0).exhaustive(others)
    assert Proposals(space, 2, 0, 0).exhaustive(others + 1)
