"""The configuration of a bundle is plain data: what it names is not run, and only networks are built from it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from autoopt.errors import WeightsError, WorkloadError
from autoopt.nets.weights import load_weights
from autoopt.testing import workload_problems
from autoopt.workloads.loading import load_workload
from autoopt.workloads.models.bundle_config import build_network, read_config
from tests.workloads.models.bundles import CONFIG, NETWORK, TASK, bundle, fields_of, load, squares, write


@pytest.fixture(name="squares")
def squares_fixture(tmp_path: Path) -> Path:
    """Eight grey images of 32 x 32 with a bright square, as npz files."""
    return squares(tmp_path / "data")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"network_def": "@a", "a": "@b", "b": "@a"}, "lead in a circle"),
        ({"network_def": "%other.json::network_def"}, "a key of this file"),
        ({"network_def": {**NETWORK, "act": "@network_def"}}, "too deep or too large"),
        ({"network_def": {**NETWORK, "_requires_": "$print(1)"}}, "is the Python expression"),
        ({"network_def": {**NETWORK, "_mode_": "debug"}}, "_mode_ cannot be followed"),
        ({"network_def": {**NETWORK, "_target_": "$__import__('os').system"}}, "is the Python expression"),
        ({"network_def": [1, 2]}, "must have a _target_"),
    ],
)
def test_networks_that_are_not_followed(tmp_path: Path, squares: Path, content: dict[str, Any], match: str) -> None:
    """Circles, other files, special keys and code in a network's definition are refused where the model is loaded."""
    folder = write(tmp_path / "bundle", **content)
    with pytest.raises(WorkloadError, match=match):
        load(folder, squares)
    with pytest.raises(WorkloadError):
        build_network(str(folder), trust=False)


def test_yaml_makes_no_objects(tmp_path: Path, squares: Path) -> None:
    """A YAML tag that would call something is refused and nothing is called; so is what is no mapping."""
    canary = tmp_path / "canary"
    (tmp_path / "bundle" / "configs").mkdir(parents=True)
    path = tmp_path / "bundle" / "configs" / "inference.yaml"
    path.write_text(f"network_def: !!python/object/apply:os.system ['touch {canary}']\n")
    with pytest.raises(WorkloadError, match=r"inference\.yaml must be a configuration in JSON or YAML"):
        load(tmp_path / "bundle", squares)
    path.write_text("- 1\n")
    with pytest.raises(WorkloadError, match="must be a configuration with keys"):
        load(tmp_path / "bundle", squares)
    path.unlink()
    with pytest.raises(WorkloadError, match=r"must have configs/inference\.json"):
        load(tmp_path / "bundle", squares)
    assert not canary.exists()


def test_code_of_a_bundle_is_not_imported_without_trust(tmp_path: Path, squares: Path) -> None:
    """A script beside the configuration is neither imported nor found; with trust it makes the network."""
    folder, canary = tmp_path / "bundle", tmp_path / "canary"
    write(folder, network_def={"_target_": "own_bundle_nets.Net"})
    (folder / "own_bundle_nets.py").write_text(
        f"import pathlib, torch\npathlib.Path({str(canary)!r}).touch()\nNet = lambda: torch.nn.Conv2d(1, 2, 1)\n"
    )
    with pytest.raises(WorkloadError, match=r"only classes of .* --trust-bundle"):
        load(folder, squares)
    assert not canary.exists() and str(folder) not in sys.path
    try:
        trusted = load(folder, squares, trust=True)
        assert not canary.exists(), "reading shapes needs no code"
        assert workload_problems(trusted) == [] and canary.exists()
    finally:
        sys.path[:] = [entry for entry in sys.path if entry != str(folder)]


def test_weights_are_not_downloaded(tmp_path: Path) -> None:
    """A network that would fetch weights by default is built without them."""
    network = {"_target_": "EfficientNetBN", "model_name": "efficientnet-b0", "spatial_dims": 2, "in_channels": 3}
    folder = write(tmp_path, network_def={**network, "pretrained": True})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.hub.load_state_dict_from_url", None)
        patch.setattr("monai.networks.nets.efficientnet._load_state_dict", None)
        assert isinstance(build_network(str(folder), trust=False), torch.nn.Module)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "builtins.exec",
        "subprocess.Popen",
        "torch.hub.load",
        "torch.load",
        "torch.nn.modules.module.torch.load",
        "monai.networks.nets.torch.hub.load",
        "monai.bundle.ConfigParser",
        "torch.nn.parallel.distributed.torch.load",
        "torch.nn.init.trunc_normal_",
        "monai.networks.nets.resnet.torch.hub.download_url_to_file",
        "os;system",
        "torch.nn..Linear",
        {"_target_": "os.system"},
    ],
)
def test_a_bundle_runs_no_code(tmp_path: Path, squares: Path, target: Any) -> None:
    """Whatever callable a configuration names, also inside an argument of a network, nothing of it is called."""
    canary = tmp_path / "canary"
    evil = {"_target_": target, "command": f"touch {canary}"}
    for number, network in enumerate((evil, {**CONFIG["network_def"], "act": evil})):
        folder = bundle(tmp_path / f"bundle{number}", network_def=network)
        with pytest.raises(WorkloadError, match=r"only classes of"):
            _built(folder, squares, tmp_path)
        with pytest.raises(WorkloadError):
            build_network(str(folder), False)
    assert not canary.exists()


def _built(folder: Path, data: Path, home: Path) -> Any:
    workload = load_workload(f"model:{folder}", data, home, TASK)
    assert workload.build is not None
    return workload.build()


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ({"key": "$@size[0] // 2 if @fast else 96", "size": [64, 96], "fast": True}, 32),
        ({"key": "$len(@a::b)", "a": {"b": "$@c + [1]"}, "c": ["@d", 2], "d": 7}, 3),
        (
            {"key": ["$@names#0", "x"], "names": "$[@p]", "p": "$monai.utils.CommonKeys.PRED"},
            "refers to .@names::0., which is not there",
        ),
        ({"key": {"a": "$@p", "b": "$2 * @n"}, "p": "$monai.utils.CommonKeys.PRED", "n": 3}, {"a": "pred", "b": 6}),
        ({"key": "$@a + 1", "a": "$@b + 1", "b": "$@key + 1"}, "lead in a circle"),
        ({"key": "$@net if True else 1", "net": NETWORK}, "net is an object to be made"),
        ({"key": "$@missing + 1"}, "refers to '@missing'"),
        (
            {"key": {"deep": [1, "$os.getcwd()"]}},
            r"key\.deep\.1 is the Python expression .* 'os.getcwd\(\)' is not called",
        ),
    ],
)
def test_expressions_of_plain_data_are_computed(tmp_path: Path, content: dict[str, Any], value: Any) -> None:
    """Sizes, choices and names are computed through any references; what is more than that names its place."""
    config = read_config(write(tmp_path, **content))
    if isinstance(value, str):
        with pytest.raises(WorkloadError, match=value):
            config.plain("key")
    else:
        assert config.plain("key") == value


def test_transforms_may_be_joined_by_an_expression(tmp_path: Path) -> None:
    """A Compose of `$@first + @second` is read as the transforms of both, each by its own place."""
    joined = {"_target_": "Compose", "transforms": "$@first + @more#second"}
    first = [{"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"}]
    second = [{"_target_": "Spacingd", "keys": "image", "pixdim": [1, 1, 2]}]
    fields = fields_of(tmp_path, dimensions=3, preprocessing=joined, first=first, more={"second": second})
    assert fields["orientation"] == "RAS" and fields["spacing_mm"] == (1.0, 1.0, 2.0)
    second[0]["pixdim"] = "$open('/etc/passwd')"  # type: ignore[assignment]
    with pytest.raises(WorkloadError, match=r"more\.second\.0\.pixdim is the Python expression"):
        fields_of(tmp_path, dimensions=3, preprocessing=joined, first=first, more={"second": second})


def test_an_argument_that_monai_dropped_is_left_out_and_said(tmp_path: Path, squares: Path) -> None:
    """A bundle of an older MONAI still builds: the size that SwinUNETR was told is not needed any more."""
    network = {"_target_": "SwinUNETR", "img_size": 32, "in_channels": 1, "out_channels": 2, "spatial_dims": 2}
    definition = {**network, "feature_size": 12, "depths": [1, 1, 1, 1]}
    for trust in (False, True):
        folder = bundle(tmp_path / f"bundle{trust}", network_def=definition)
        assert isinstance(build_network(str(folder), trust), torch.nn.Module)
        assert any("img_size" in text for text in load(folder, squares, trust=trust).remarks)


def test_expressions_run_only_with_trust(tmp_path: Path, squares: Path) -> None:
    """Any other `$` expression is refused; with trust MONAI's own parser runs it."""
    canary = tmp_path / "canary"
    network = {**CONFIG["network_def"], "in_channels": f"$__import__('pathlib').Path({str(canary)!r}).touch() or 1"}
    folder = bundle(tmp_path / "bundle", network_def=network)
    with pytest.raises(WorkloadError, match=r"network_def\.in_channels is the Python expression"):
        load_workload(f"model:{folder}", squares, tmp_path, TASK)
    assert not canary.exists()
    trusted = load_workload(f"model:{folder}", squares, tmp_path, {**TASK, "trust": True})
    assert trusted.build is not None and isinstance(trusted.build(), torch.nn.Module)
    assert canary.exists()


def test_weights_are_never_unpickled(tmp_path: Path, squares: Path) -> None:
    """A pickle in the place of the weights is refused and not run."""
    import pickle

    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> Any:
            return (canary.touch, ())

    folder = bundle(tmp_path / "bundle")
    (folder / "models" / "model.pt").write_bytes(pickle.dumps(Evil()))
    workload = load_workload(f"model:{folder}", squares, tmp_path, TASK)
    assert workload.build is not None and workload.weights is not None
    with pytest.raises(WeightsError):
        load_weights(workload.build(), workload.weights)
    assert not canary.exists()


def test_a_network_that_was_found_by_search_can_be_exported(tmp_path: Path) -> None:
    """A DiNTS, whose code asks tables which of its layers run, is followed by the exporter and answers as before."""
    space = {
        "_target_": "monai.networks.nets.TopologyInstance",
        "num_blocks": 1,
        "num_depths": 1,
        "channel_mul": 0.25,
        "arch_code": ["$numpy.ones((1, 1))", "$numpy.zeros((1, 1))"],
    }
    network = {"_target_": "monai.networks.nets.DiNTS", "dints_space": space, "in_channels": 1, "num_classes": 2}
    folder = write(
        tmp_path, imports=["$import torch", "$import numpy"], network_def={**network, "node_a": "$torch.ones(2, 1)"}
    )
    batch = torch.ones(1, 1, 16, 16, 16)

    net = build_network(str(folder), trust=True).eval()

    exported = torch.export.export(net, (batch,), strict=False).module()
    torch.testing.assert_close(exported(batch), net(batch))
