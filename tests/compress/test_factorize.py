"""The step that replaces layers by factors of low rank."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from autoopt.compress import factorize  # noqa: E402
from autoopt.core.configuration import Scalar  # noqa: E402
from autoopt.errors import Unsupported  # noqa: E402
from autoopt.measure.host import current_host  # noqa: E402
from autoopt.nets.files import read_net  # noqa: E402
from tests import tiny  # noqa: E402


def settings(**given: Scalar) -> dict[str, Scalar]:
    found = factorize.canonical({"steps": 0, "batch": 2, **given}, {"name": "openvino"}, current_host())
    assert found is not None
    return found


@pytest.fixture
def whole(tmp_path: Path) -> torch.nn.Module:
    return read_net(tiny.workload(), tiny.weights(tmp_path / "w.safetensors"))


def test_what_is_factored_is_reported(whole: torch.nn.Module) -> None:
    """The report has the ranks of each layer, and how much less arithmetic is left."""
    changed = factorize.change(settings(keep=0.3, by="ratio"), copy.deepcopy(whole), whole, tiny.workload())
    assert changed.report["layers"] == {"stem": [1, 3], "head": [1]}
    assert changed.report["macs"] < changed.report["macs_before"] and changed.report["macs_left"] < 0.5


def test_where_no_layer_gains_it_is_refused(whole: torch.nn.Module) -> None:
    """With all of the energy kept, factors cost more than the layers: the refusal says to keep less."""
    with pytest.raises(Unsupported, match=r"with 1\.0 of the energy tiny has none: keep less"):
        factorize.change(settings(keep=1.0), copy.deepcopy(whole), whole, tiny.workload())


def test_a_layer_whose_weight_is_asked_for_stays_whole(whole: torch.nn.Module) -> None:
    """Some code reads the weight of a layer: that layer is left, the others are factored all the same."""

    class Asking(torch.nn.Sequential):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            found: Any = super().forward(batch)
            return found + 0 * self.get_submodule("stem").weight.sum()

    model = copy.deepcopy(whole)
    model.__class__ = Asking
    changed = factorize.change(settings(keep=0.3, by="ratio"), model, whole, tiny.workload())
    assert set(changed.report["layers"]) == {"head"}
