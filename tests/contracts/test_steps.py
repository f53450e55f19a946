"""Every compression step keeps the contract."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.compress import STEPS, net_steps, step
from autoopt.core.configuration import Scalar
from autoopt.core.parameters import Parameter
from autoopt.testing import StepContract
from autoopt.testing.example import NEW_HOST, OLD_HOST

SETTINGS: dict[str, dict[str, Scalar]] = {
    "control": {"network": "one-layer", "steps": 2, "batch": 2},
    "ensemble": {"members": 1},
    "resolution": {"factor": 2, "steps": 2, "batch": 2},
    "prune": {"ratio": 0.5, "rungs": "0.25", "steps": 2, "batch": 2},
    "factorize": {"keep": 0.3, "by": "ratio", "steps": 2, "batch": 2},
    "recover": {"steps": 2, "batch": 2},
}
"""Of each step that changes the network, settings that change the small one."""


class TestSteps(StepContract):
    """All steps of the table."""

    @pytest.fixture(params=STEPS, autouse=True)
    def _each(self, request: pytest.FixtureRequest) -> None:
        for library in ("torch", "onnx", "onnxruntime", "openvino", "nncf"):
            pytest.importorskip(library)
        self.name = request.param
        self.settings = SETTINGS.get(self.name, {})
        self.shrinks = self.name not in ("recover", "ensemble")


def test_every_step_on_the_network_is_tried() -> None:
    """There are settings for each step that changes the network: by default they do nothing to it."""
    assert set(SETTINGS) == set(net_steps())


def values(parameter: Parameter) -> st.SearchStrategy[Scalar]:
    plain: st.SearchStrategy[Scalar] = {
        "choice": st.sampled_from(parameter.allowed or (None,)),
        "integer": st.integers(int(parameter.low or 0), int(parameter.high or 100)),
        "number": st.floats(parameter.low or 0.0, parameter.high or 1.0),
        "flag": st.booleans(),
        "text": st.sampled_from(("a.conv/Conv", "type:Conv, name:b", "pattern:.*", "")),
        "numbers": st.lists(st.floats(parameter.low or 0.0, parameter.high or 1.0), min_size=1, max_size=4).map(
            lambda items: ",".join(map(str, items))
        ),
    }[parameter.kind]
    return st.none() | plain if parameter.nullable else plain


@pytest.mark.parametrize("name", STEPS)
@given(data=st.data())
def test_canonical_is_pure_and_idempotent(name: str, data: st.DataObject) -> None:
    """The canonical form keeps only known settings, allowed values, and is its own canonical form."""
    contract = StepContract()
    contract.name = name
    settings = {key: data.draw(values(parameter), label=key) for key, parameter in step(name).PARAMETERS.items()}
    executes = data.draw(st.sampled_from(contract.executing()))
    contract.check_canonical(settings, executes, data.draw(st.sampled_from((OLD_HOST, NEW_HOST))))
