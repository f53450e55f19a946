"""The step that prunes: what is cut, how much is left, how long each rung is trained."""

from __future__ import annotations

import copy
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from autoopt.compress import prune  # noqa: E402
from autoopt.core.configuration import Scalar  # noqa: E402
from autoopt.measure.host import current_host  # noqa: E402
from autoopt.nets.files import read_net  # noqa: E402
from autoopt.nets.importance import CRITERIA as TABLE  # noqa: E402
from tests import tiny  # noqa: E402

CRITERIA = tuple(prune.PARAMETERS["criterion"].allowed)
ALLOCATIONS = tuple(prune.PARAMETERS["allocation"].allowed)


def settings(**given_: Scalar) -> dict[str, Scalar]:
    found = prune.canonical({"steps": 0, "batch": 2, **given_}, {"name": "openvino"}, current_host())
    assert found is not None
    return found


@pytest.fixture
def whole(tmp_path: Path) -> torch.nn.Module:
    return read_net(tiny.workload(), tiny.weights(tmp_path / "w.safetensors"))


def left(model: torch.nn.Module) -> int:
    return int(model.get_submodule("stem").weight.shape[0])


def climbed(given_: dict[str, Scalar], whole: torch.nn.Module) -> list[torch.nn.Module]:
    """The networks of all rungs."""
    found, model = [], whole
    for part in prune.parts(given_):
        model = prune.change(part, copy.deepcopy(model), whole, tiny.workload()).model
        found.append(model)
    return found


@pytest.mark.parametrize(("criterion", "allocation"), [*itertools.product(CRITERIA, ALLOCATIONS)])
def test_every_way_to_choose_keeps_what_matters(criterion: str, allocation: str, whole: torch.nn.Module) -> None:
    """Half of the channels go by every criterion and allocation; the two that the answer needs stay, but by chance."""
    (model,) = climbed(settings(ratio=0.5, rungs=None, criterion=criterion, allocation=allocation), whole)
    assert left(model) == tiny.WIDTH // 2
    image = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    agree = float((model(image).argmax(1) == whole(image).argmax(1)).float().mean())
    if criterion not in ("random", "norm_scale", "fpgm"):  # all scales of this norm are one; fpgm drops what is average
        assert agree > 0.9


def test_a_rung_is_cut_from_the_one_below(whole: torch.nn.Module) -> None:
    """A ratio is of the whole network, also where it is reached in steps: 8 channels, 6 at a quarter, 4 at a half."""
    rungs = climbed(settings(ratio=0.5, rungs="0.25"), whole)
    assert [left(model) for model in rungs] == [6, 4]
    kept = {tuple(row.flatten().tolist()) for row in rungs[0].get_submodule("stem").weight}
    assert {tuple(row.flatten().tolist()) for row in rungs[1].get_submodule("stem").weight} < kept


@given(
    ratio=st.floats(0.05, 0.95),
    rungs=st.lists(st.floats(0.05, 0.95), max_size=5),
    steps=st.integers(1, 300),
    growth=st.floats(0.0, 2.0),
)
def test_the_control_is_trained_for_as_long_as_all_rungs(
    ratio: float, rungs: list[float], steps: int, growth: float
) -> None:
    """Rungs rise to the ratio, their steps grow with what is gone, and `fresh` is one part with the steps of all."""
    text = ",".join(map(str, rungs)) or None
    parts = prune.parts(settings(ratio=ratio, rungs=text, steps=steps, steps_growth=growth))
    ratios, counts = [float(part["ratio"] or 0) for part in parts], [int(part["steps"] or 0) for part in parts]
    assert ratios == sorted(ratios) and ratios[-1] == ratio
    assert [part["from"] for part in parts] == [0.0, *ratios[:-1]]
    assert counts == [round(steps / (1 - rung) ** growth) for rung in ratios]
    (fresh,) = prune.parts(settings(ratio=ratio, rungs=text, steps=steps, steps_growth=growth, weights="fresh"))
    assert fresh["steps"] == sum(counts) and fresh["from"] == 0.0


def test_without_training_nothing_of_it_is_told_apart() -> None:
    """Settings of a training that does not happen are no other configuration."""
    assert settings(ratio=0.5) == settings(ratio=0.5, steps_growth=1.0, seconds=5.0, learning_rate=0.1)


def test_a_criterion_from_outside_is_one_line(whole: torch.nn.Module) -> None:
    """A function of another package and a line in the table are a criterion: allowed in a space, and what is cut by."""
    criterion = prune.PARAMETERS["criterion"]
    assert criterion.problem("toy") is not None
    TABLE["toy"] = "tests.nets.toy_criterion:last_first"
    try:
        assert criterion.problem("toy") is None
        (model,) = climbed(settings(ratio=0.5, rungs=None, criterion="toy"), whole)
    finally:
        del TABLE["toy"]
    assert torch.equal(model.get_submodule("stem").weight, whole.get_submodule("stem").weight[: tiny.WIDTH // 2])
