"""What a space lacks on a target that is another machine than the builder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from autoopt.core.host import Host
from autoopt.inference.runtimes import REFERENCE
from autoopt.study.space import load_space, seeds
from autoopt.study.space.elsewhere import TIMED_BY_BUILDER, measured_elsewhere

BUILDER = Host("big", "x86_64", 16, 64 << 30, ("avx2",), "Linux", {"python": "3.11", "torch": "2", "openvino": "1"})
TARGET = replace(BUILDER, cpu="box", cores=2, versions={"python": "3.12", "openvino": "1"})
SPACE = """
quantize: {scheme: [null, int8], keep_float: [0, 2]}
runtime: {name: openvino, precision: f32, threads: [1, 2]}
"""


def test_what_is_left_out(tmp_path: Path) -> None:
    """Without PyTorch the baseline is the first seed; no layers are ranked by times of the builder; both are said."""
    file = tmp_path / "space.yaml"
    file.write_text(SPACE)
    said: list[str] = []
    space = measured_elsewhere(load_space(file, TARGET), BUILDER, "ssh://box", on_remark=said.append)
    assert [seed.label for seed in seeds(space)] == ["openvino f32", "openvino int8"]
    dimension = space.dimension(TIMED_BY_BUILDER)
    assert dimension is not None and dimension.values() == (0,)
    assert len(said) == 2 and "ssh://box has no PyTorch" in said[0] and TIMED_BY_BUILDER in said[1]


def test_settings_of_a_runtime_that_is_not_there() -> None:
    """A shipped space is read for a target without one of its runtimes: the settings of that one go with it."""
    space = load_space("histo", TARGET)
    assert {seed.configuration.runtime.name for seed in seeds(space)} == {"openvino"}
    assert load_space("histo", BUILDER).dimension("runtime.spinning") is None
    more = replace(TARGET, versions={**TARGET.versions, "onnxruntime": "1"})
    assert load_space("histo", more).dimension("runtime.spinning") is not None
    assert space.dimension("runtime.spinning") is None


def test_the_same_machine_lacks_nothing(tmp_path: Path) -> None:
    """A target that is like the builder in all has the space that the builder has."""
    file = tmp_path / "space.yaml"
    file.write_text(SPACE)
    space = load_space(file, BUILDER)
    said: list[str] = []
    assert measured_elsewhere(space, BUILDER, "local://", on_remark=said.append) == space
    assert said == [] and seeds(space)[0].label.startswith(REFERENCE)
