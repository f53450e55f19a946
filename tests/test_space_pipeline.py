"""The `pipeline` section of a space: tiles and overlaps, where whole cases are timed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.errors import SpaceError
from autoopt.records import Configuration, Host
from autoopt.space import Space, configured, load_space, seeds
from autoopt.workload import Workload
from tests import tiny, toys

HOST = Host(cpu="test", arch="x86_64", cores=1, memory_bytes=8 << 30, isa=(), system="Linux")
TEXT = "pipeline: {tile: [null, 16x16, 32x32], overlap: [null, 0.5]}\nruntime: {name: [openvino, torch]}\n"


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    toys.install(monkeypatch)


def space(folder: Path, workload: Workload | None, text: str = TEXT) -> Space:
    path = folder / "mine.yaml"
    path.write_text(text)
    return load_space(path, HOST, workload)


def test_what_is_the_workloads_own_is_one_point(tmp_path: Path) -> None:
    """The workload's tile, named or not, is the same point; only what differs is in a configuration."""
    points = [configuration for _, configuration in space(tmp_path, tiny.whole_cases()).points()]
    sections = [point.sections().get("pipeline") for point in points]
    assert len(points) == len(set(points)) == 2 * 2 * 2
    assert sections.count(None) == 2
    assert {"tile": "32x32", "overlap": 0.25} in sections and {"tile": "16x16", "overlap": 0.5} in sections
    assert space(tmp_path, tiny.whole_cases()).count().n == len(points)


def test_a_configuration_gives_its_pipeline(tmp_path: Path) -> None:
    """The tile and overlap of a configuration replace the workload's, and every point is found again in the space."""
    searched = space(tmp_path, tiny.whole_cases())
    changed = Configuration.of({"pipeline": {"tile": "32x32", "overlap": 0.5}, "runtime": {"name": "torch"}})
    assert configured(tiny.PIPELINE, changed) == replace(tiny.PIPELINE, tile=(32, 32), overlap=0.5)
    for raw, configuration in searched.points():
        again = searched.raw_for(configuration)
        assert again is not None and searched.canonical(again) == configuration == searched.canonical(raw)


def test_seeds_keep_the_workloads_tile(tmp_path: Path) -> None:
    """What everything is compared with is the workload as it is."""
    assert all("pipeline" not in seed.configuration.sections() for seed in seeds(space(tmp_path, tiny.whole_cases())))


def test_calls_have_no_tile_to_search(tmp_path: Path) -> None:
    """Where one call is timed a smaller tile would only look faster: the section is refused."""
    with pytest.raises(SpaceError, match="must be left out for tiny: what is timed there is one network call"):
        space(tmp_path, tiny.workload())


def test_tiles_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """A tile of another number of sizes, or of no numbers, is named with the file."""
    text = "pipeline: {tile: [16x16x16, wide]}\nruntime: {name: torch}\n"
    with pytest.raises(SpaceError) as caught:
        space(tmp_path, tiny.whole_cases(), text)
    assert len(caught.value.problems) == 2
    assert all("mine.yaml: pipeline.tile" in problem for problem in caught.value.problems)


def test_a_finished_graph_has_no_torch(tmp_path: Path) -> None:
    """PyTorch is neither searched nor the reference where the model is an ONNX file; the first f32 is."""
    graph = replace(tiny.workload(), build=None, graph=Path("net.onnx"))
    searched = space(tmp_path, graph, "runtime: {name: [openvino, torch]}\n")
    assert [seed.label for seed in seeds(searched)] == ["openvino f32"]
