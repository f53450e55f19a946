"""What network and graphs refuse of a space, before the first trial."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoopt.compress.maker import Maker
from autoopt.core.store import Store
from autoopt.errors import NoStudy, SpaceError
from autoopt.measure.host import current_host
from autoopt.study.loop import search
from autoopt.study.request import SearchRequest
from autoopt.study.space import load_space
from autoopt.study.storage import read_study
from autoopt.study.trial.space_check import possible
from autoopt.workloads.loading import load_workload
from autoopt.workloads.networks import families
from tests import tiny
from tests.e2e.quick import LEAST

SPACE = """
quantize:
  scheme: [int8, int4-weights]
  ignored_layers: [null, 'name:head', 'end:last', 'pattern:no_such_layer.*', 'type:conv2d']
runtime: {name: [openvino, onnxruntime], precision: f32, threads: 1}
"""


def test_what_no_trial_could_do_is_told_before_the_first(tmp_path: Path) -> None:
    """Selectors of nothing, or of PyTorch's graph alone, and four bits without linear layers are an error, no study."""
    pytest.importorskip("openvino")
    (tmp_path / "space.yaml").write_text(SPACE)
    request = SearchRequest(
        workload=tiny.SOURCE,
        weights=tiny.weights(tmp_path / "tiny.safetensors"),
        space=str(tmp_path / "space.yaml"),
        home=tmp_path / "home",
        budget=2,
    )
    with pytest.raises(SpaceError) as caught:
        search(request, plan=LEAST)
    told = caught.value.problems
    assert all(text.startswith(f"{tmp_path / 'space.yaml'}: ") for text in told)
    assert [text.partition(": ")[2].partition(": ")[0] for text in told] == [
        "quantize.ignored_layers",
        "quantize.ignored_layers",
        "quantize.scheme",
    ]
    assert "no_such_layer" in told[0] and "type:conv2d" in told[1] and "use int8-weights" in told[2]
    with pytest.raises(NoStudy):
        read_study(request.storage_url, None)


OWN = """
resolution: {factor: [null, 2, 4]}
prune: {ratio: [null, 0.5]}
quantize: {scheme: [null, int8]}
runtime: {name: torch, precision: f32, threads: 1}
"""


def test_what_the_network_refuses_is_left_out_or_an_error(tmp_path: Path) -> None:
    """A UNETR, which takes one size, has no other resolution in a shipped space; one's own file must leave it out."""
    torch = pytest.importorskip("safetensors.torch")
    workload, host = load_workload(families.SOURCE, None, tmp_path, {"net": "UNETR 3D"}), current_host()
    assert workload.build is not None
    weights = tmp_path / "weights.safetensors"
    torch.save_file(workload.build().state_dict(), weights)
    (tmp_path / "own.yaml").write_text(OWN)
    told: list[str] = []
    with Maker(workload, weights, Store(tmp_path / "store"), host) as maker:
        space = possible(load_space("default", host, workload), maker, "default", on_remark=told.append)
        with pytest.raises(SpaceError) as caught:
            possible(load_space(tmp_path / "own.yaml", host, workload), maker, "own.yaml")
    dimension, ratio = space.dimension("resolution.factor"), space.dimension("prune.ratio")
    assert dimension is not None and dimension.choices == (None,)
    assert ratio is not None and 0.5 in ratio.choices
    assert len(told) == 1 and told[0].startswith("resolution.factor 2 is left out of the space default")
    assert len(caught.value.problems) == 1 and "own.yaml: resolution.factor: " in caught.value.problems[0]
