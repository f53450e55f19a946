"""What every compression step promises, whichever it is: a new one adds a line to `STEPS` and inherits these tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.compress import STEPS, graph_step, graph_steps, net_step, net_steps, step
from autoopt.core.configuration import Scalar, canonical_json
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.core.store import Artifact, file_digest
from tests import tiny

HEAVY = ("torch", "onnxruntime", "openvino", "nncf", "onnx", "monai", "scipy")
OLD_HOST = Host("old", "x86_64", 2, 8 << 30, ("avx2",), "Linux")
NEW_HOST = Host("new", "x86_64", 64, 8 << 30, ("avx2", "avx512_vnni", "amx_int8"), "Linux")
RUNTIMES: tuple[dict[str, Scalar], ...] = tuple(
    {"name": name, "precision": "f32", "threads": 2} for name in ("openvino", "onnxruntime", "torch", "fake")
)
FORMATS = {"openvino": "openvino", "onnxruntime": "onnx"}

NET_EXAMPLES: dict[str, dict[str, Scalar]] = {
    "resolution": {"factor": 2, "steps": 2, "batch": 2},
    "prune": {"ratio": 0.5, "rungs": "0.25", "steps": 2, "batch": 2},
    "factorize": {"keep": 0.3, "by": "ratio", "steps": 2, "batch": 2},
    "recover": {"steps": 2, "batch": 2},
}
"""Of each step that changes the network, settings that change the tiny one."""

every_step = pytest.mark.parametrize("name", STEPS)
every_graph_step = pytest.mark.parametrize("name", graph_steps())
every_net_step = pytest.mark.parametrize("name", net_steps())


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    for library in ("torch", "onnx", "onnxruntime", "openvino", "nncf"):
        pytest.importorskip(library)
    return tiny.exported(tmp_path_factory.mktemp("tiny"))


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


@every_step
@given(data=st.data())
def test_canonical_is_pure_and_idempotent(name: str, data: st.DataObject) -> None:
    """The canonical form keeps only known settings, allowed values, and is its own canonical form."""
    module = step(name)
    settings = {key: data.draw(values(parameter), label=key) for key, parameter in module.PARAMETERS.items()}
    executes = data.draw(st.sampled_from(RUNTIMES))
    host = data.draw(st.sampled_from((OLD_HOST, NEW_HOST)))
    before = canonical_json([settings, executes])
    once = module.canonical(settings, executes, host)
    assert canonical_json([settings, executes]) == before
    assert module.canonical(settings, executes, host) == once
    if once is not None:
        assert module.canonical(once, executes, host) == once
        assert all(module.PARAMETERS[key].problem(value) is None for key, value in once.items())


@every_step
@pytest.mark.parametrize("executes", RUNTIMES, ids=lambda settings: str(settings["name"]))
def test_switched_off_is_none(name: str, executes: Mapping[str, Scalar]) -> None:
    """A step whose switch is null has no settings at all, whatever else is asked."""
    assert step(name).canonical({step(name).SWITCH: None}, executes, OLD_HOST) is None


@every_step
def test_foreign_settings_are_dropped(name: str) -> None:
    """A setting of another step has no effect and is not kept."""
    module = step(name)
    for executes in RUNTIMES:
        assert module.canonical({"not_mine": 3}, executes, OLD_HOST) == module.canonical({}, executes, OLD_HOST)


@every_graph_step
@pytest.mark.parametrize("executes", sorted(FORMATS))
def test_apply_writes_the_same_files_each_time_and_only_there(
    name: str, executes: str, sources: dict[str, Artifact], tmp_path: Path
) -> None:
    """Applied twice, a step makes bit-identical files in its folder, and leaves the source as it was."""
    module, source = graph_step(name), sources[FORMATS[executes]]
    settings = module.canonical({}, {"name": executes}, OLD_HOST)
    assert settings is not None
    before = _digests(source.path)
    made = []
    for attempt in ("first", "second"):
        folder = tmp_path / attempt
        folder.mkdir()
        report = module.apply(settings, source, tiny.workload(), folder)
        assert canonical_json(report)
        made.append(_digests(folder))
    assert made[0] == made[1] != {}
    assert _digests(source.path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


@every_net_step
def test_change_makes_the_same_smaller_network_each_time(name: str, tmp_path: Path) -> None:
    """Each part takes up what the one before made; twice the same settings are bit-identical files, smaller ones."""
    torch = pytest.importorskip("torch")
    from autoopt.nets.files import read_net, size_of, write_net

    module, workload = net_step(name), tiny.workload()
    weights, batch = tiny.weights(tmp_path / "tiny.safetensors"), torch.zeros(tiny.workload().pipeline.input_shape)
    settings = module.canonical(NET_EXAMPLES[name], {"name": "openvino"}, OLD_HOST)
    assert settings is not None
    teacher = read_net(workload, weights)
    wanted = {key: value.clone() for key, value in teacher.state_dict().items()}
    made = []
    for attempt in ("first", "second"):
        folder = None
        for index, part in enumerate(module.parts(settings)):
            changed = module.change(part, read_net(workload, weights, folder), teacher, workload)
            assert canonical_json(changed.report)
            folder = tmp_path / f"{attempt}-{index}"
            folder.mkdir()
            write_net(changed.model, folder)
        assert folder is not None
        made.append(_digests(folder))
        again = read_net(workload, weights, folder)
        torch.testing.assert_close(again(batch), changed.model(batch))
    assert made[0] == made[1] != {}
    if name != "recover":
        assert size_of(again, batch).macs < size_of(teacher, batch).macs
    assert all(torch.equal(value, wanted[key]) for key, value in teacher.state_dict().items())


@every_net_step
def test_nothing_asked_is_nothing_made(name: str) -> None:
    """Without settings a network step has no parts."""
    assert net_step(name).parts({}) == []


@every_step
def test_importing_a_step_is_light(name: str) -> None:
    """Importing a step loads no heavy library: the parent process asks it for canonical forms."""
    code = f"import sys, {STEPS[name]}; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def _digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): file_digest(path) for path in sorted(folder.rglob("*")) if path.is_file()}
