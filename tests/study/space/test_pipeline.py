"""The `pipeline` section of a space: tiles and overlaps, where whole cases are timed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoopt.core.configuration import Configuration
from autoopt.core.host import Host
from autoopt.errors import BadData, SpaceError
from autoopt.study.space import Space, configured, load_space, seeds
from autoopt.workloads.contract import Sample, Workload
from tests import tiny, toys

HOST = Host(cpu="test", arch="x86_64", cores=1, memory_bytes=8 << 30, isa=(), system="Linux")
TEXT = "pipeline: {tile: [null, 16x16, 32x32], overlap: [null, 0.5]}\nruntime: {name: [openvino, torch]}\n"


@pytest.fixture(autouse=True)
def _toys() -> Iterator[None]:
    with toys.installed():
        yield


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


OWN_LEVELS = replace(tiny.PIPELINE, intensity="zscore")
IN_GRAPH = "pipeline: {in_graph: [none, input, both]}\nruntime: {name: [openvino, torch]}\n"


def sections(searched: Space) -> list[object]:
    """The different `pipeline` sections of the points of a space."""
    found = [configuration.section("pipeline") for _, configuration in searched.points()]
    return [section for index, section in enumerate(found) if section not in found[:index]]


def images(workload: Workload, image: np.ndarray) -> Workload:
    """The workload with another first training image."""
    case = replace(workload.splits.train[0], read=lambda: Sample(image, np.zeros(image.shape[:2])))
    return replace(workload, splits=replace(workload.splits, train=(case,)))


def test_what_the_graph_does_is_searched(tmp_path: Path) -> None:
    """Every value is a point of its own; a study of them times what a call and the pipeline do together."""
    searched = space(tmp_path, tiny.pixels(), IN_GRAPH)
    assert sections(searched) == [None, {"in_graph": "input"}, {"in_graph": "both"}]
    assert searched.count().n == 6
    for raw, configuration in searched.points():
        again = searched.raw_for(configuration)
        assert again is not None and searched.canonical(again) == configuration == searched.canonical(raw)
        wanted = raw["pipeline.in_graph"]
        assert configured(tiny.pixels().pipeline, configuration) == replace(tiny.pixels().pipeline, in_graph=wanted)
    assert (searched.timed("call"), searched.timed("case")) == ("tile", "case")
    assert space(tmp_path, tiny.whole_cases()).timed("call") == "call"
    assert all("pipeline" not in seed.configuration.sections() for seed in seeds(searched))


def test_what_no_graph_can_do_is_dropped(tmp_path: Path) -> None:
    """Beside others a value that cannot be exact here means the most that can, as a precision the CPU lacks does."""
    large = images(tiny.pixels(), np.zeros((24, 16, 3), np.uint8))
    assert sections(space(tmp_path, large, IN_GRAPH)) == [None, {"in_graph": "input"}]
    classes = replace(tiny.pixels().pipeline, task="classification")
    assert sections(space(tmp_path, replace(tiny.pixels(), pipeline=classes), IN_GRAPH))[1:] == [{"in_graph": "input"}]
    for other in (
        tiny.workload(),  # images of floats
        replace(tiny.pixels(), pipeline=OWN_LEVELS),
    ):
        searched = space(tmp_path, other, IN_GRAPH)
        assert sections(searched) == [None]
        assert searched.timed("call") == "call"


@pytest.mark.parametrize(
    ("way", "workload", "said"),
    [
        ("both", images(tiny.pixels(), np.zeros((24, 16, 3), np.uint8)), "tiles of 16x16 that do not overlap"),
        ("input", tiny.workload(), "must be none where images are not of 8 bits, these are float32"),
        ("[input, both]", replace(tiny.pixels(), pipeline=OWN_LEVELS), "scaled by its own zscore first"),
    ],
)
def test_where_nothing_remains_it_is_refused(tmp_path: Path, way: str, workload: Workload, said: str) -> None:
    """A space whose every value of `in_graph` is impossible for a workload is refused before any trial."""
    with pytest.raises(SpaceError, match=rf"mine.yaml: pipeline.in_graph: .*{said}"):
        space(tmp_path, workload, f"pipeline: {{in_graph: {way}}}\nruntime: {{name: torch}}\n")


def test_images_are_read_only_where_they_decide(tmp_path: Path) -> None:
    """No image is read for a space without `in_graph`; one that cannot be read is named with the file."""

    def broken() -> Sample:
        raise BadData("lost.png is not there")

    case = replace(tiny.pixels().splits.train[0], read=broken)
    workload = replace(tiny.pixels(), splits=replace(tiny.pixels().splits, train=(case,)))
    assert space(tmp_path, replace(workload, latency="case")).count().n == 8
    with pytest.raises(SpaceError, match=r"pipeline\.in_graph: .* lost\.png is not there"):
        space(tmp_path, workload, IN_GRAPH)


def test_a_tile_decides_whether_the_graph_may(tmp_path: Path) -> None:
    """With the tile searched, too, the graph decides only for tiles that cover an image without overlap."""
    text = "pipeline: {tile: [null, 24x16, 10x16], in_graph: [none, both]}\nruntime: {name: torch}\n"
    workload = replace(images(tiny.pixels(), np.zeros((20, 16, 3), np.uint8)), latency="case")
    found = sections(space(tmp_path, workload, text))
    ways = [(section or {}).get("in_graph") for section in found]  # type: ignore[attr-defined]
    assert ways == [None, "input", None, "both", None, "both"]


def test_a_finished_graph_has_no_torch(tmp_path: Path) -> None:
    """PyTorch is neither searched nor the reference where the model is an ONNX file; the first f32 is."""
    graph = replace(tiny.workload(), build=None, graph=Path("net.onnx"))
    searched = space(tmp_path, graph, "runtime: {name: [openvino, torch]}\n")
    assert [seed.label for seed in seeds(searched)] == ["openvino f32"]


def test_mirrors_and_the_way_back_are_searched(tmp_path: Path) -> None:
    """Fewer mirrored calls and labels that are put back are points of their own; the workload's own are none."""
    case = tiny.whole_cases()
    workload = replace(case, pipeline=replace(case.pipeline, mirror=(0, 1)))
    text = 'pipeline: {mirror: [null, none, "0", "0,1"], restore: [null, logits, labels]}\nruntime: {name: openvino}\n'
    searched = space(tmp_path, workload, text)
    points = list(searched.points())
    assert searched.count().n == len(points) == 3 * 2
    sections = [configuration.sections().get("pipeline") for _, configuration in points]
    assert {"mirror": "none", "restore": "labels"} in sections and sections.count(None) == 1
    for raw, configuration in points:
        again = searched.raw_for(configuration)
        assert again is not None and searched.canonical(again) == configuration == searched.canonical(raw)
    changed = Configuration.of({"pipeline": {"mirror": "0"}, "runtime": {"name": "openvino"}})
    assert configured(workload.pipeline, changed).mirror == (0,)
    assert configured(workload.pipeline, Configuration.of({"pipeline": {"mirror": "none"}})).mirror == ()


@pytest.mark.parametrize("mirror", ["2", "x", "0,0", ""])
def test_an_axis_that_a_call_does_not_have_is_refused(tmp_path: Path, mirror: str) -> None:
    """Mirrors along no axis of the tile are an error of the space, with its path."""
    with pytest.raises(SpaceError, match=r"pipeline\.mirror: .*mirror must be"):
        space(tmp_path, tiny.whole_cases(), f'pipeline: {{mirror: "{mirror}"}}\nruntime: {{name: openvino}}\n')
