"""What the exported graphs say of a space before the first trial."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoopt.errors import NoStudy, SpaceError
from autoopt.study.loop import search
from autoopt.study.request import SearchRequest
from autoopt.study.storage import read_study
from tests import tiny
from tests.e2e.quick import LEAST

SPACE = """
quantize:
  scheme: [int8, int4-weights]
  ignored_layers: [null, 'name:head', 'end:last', 'pattern:no_such_layer.*', 'type:Dense']
runtime: {name: [openvino, onnxruntime], precision: f32, threads: 1}
"""


def test_what_no_trial_could_do_is_told_before_the_first(tmp_path: Path) -> None:
    """Selectors that select nothing and four bits without linear layers are one error, and no study is begun."""
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
    assert [text.partition(": ")[2].partition(": ")[0] for text in told] == [
        "quantize.ignored_layers",
        "quantize.ignored_layers",
        "quantize.scheme",
    ]
    assert "no_such_layer" in told[0] and "type:Dense" in told[1] and "use int8-weights" in told[2]
    with pytest.raises(NoStudy):
        read_study(request.storage_url, None)
