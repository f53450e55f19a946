"""The folders of other servers, written from a bundle."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from autoopt.cli import app
from autoopt.core.configuration import Scalar
from autoopt.core.store import Store
from autoopt.deploy.server_layout import LAYOUTS, write_server_layout
from autoopt.errors import BundleError, UsageError
from tests.deploy.bundles import build_onnx, build_openvino, write

SETTINGS: dict[str, dict[str, Scalar]] = {
    "openvino": {"name": "openvino", "precision": "f32", "threads": 2, "streams": 1},
    "onnxruntime": {"name": "onnxruntime", "precision": "f32", "threads": 2, "spinning": True},
}


def bundle_of(folder: Path, runtime: str) -> Path:
    build: Callable[[Path], Mapping[str, Any]] = build_openvino if runtime == "openvino" else build_onnx
    return write(folder / "b", Store(folder / "store").put("model", runtime, {}, build), SETTINGS[runtime])


@pytest.mark.parametrize("runtime", SETTINGS)
@pytest.mark.parametrize("kind", LAYOUTS)
def test_the_graph_lies_in_the_folder_of_its_version(tmp_path: Path, runtime: str, kind: str) -> None:
    """The graph files are those of the bundle, byte for byte, and the configuration says threads and shapes."""
    pytest.importorskip(runtime)
    folder = bundle_of(tmp_path, runtime)
    out = write_server_layout(folder, tmp_path / "served", kind)
    there = {path.name: path.read_bytes() for path in (out / "tiny" / "1").iterdir()}
    assert there == {path.name: path.read_bytes() for path in (folder / "model").iterdir()}
    if kind == "ovms":
        config = json.loads((out / "config.json").read_text())["model_config_list"][0]["config"]
        assert (config["name"], config["base_path"]) == ("tiny", "tiny")
        assert config["plugin_config"]["INFERENCE_NUM_THREADS"] == "2"
    else:
        text = (out / "tiny" / "config.pbtxt").read_text()
        assert f'backend: "{runtime}"' in text and "dims: [1, 3, 16, 16]" in text and '"2"' in text
        assert text.count("{") == text.count("}")


def test_what_these_servers_do_not_take_is_refused(tmp_path: Path, bundle: Path) -> None:
    """A graph of another format, a bundle that was altered, and a folder that is there: nothing is written."""
    with pytest.raises(BundleError, match=r"must hold model.xml or model.onnx for triton"):
        write_server_layout(bundle, tmp_path / "a", "triton")
    pytest.importorskip("openvino")
    folder = bundle_of(tmp_path, "openvino")
    (tmp_path / "there").mkdir()
    with pytest.raises(BundleError, match="must be a new folder"):
        write_server_layout(folder, tmp_path / "there", "ovms")
    with (folder / "model" / "model.bin").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(BundleError, match="was altered"):
        write_server_layout(folder, tmp_path / "c", "ovms")
    assert not (tmp_path / "a").exists() and not (tmp_path / "c").exists()


def test_pull_writes_the_folder_of_a_server(tmp_path: Path) -> None:
    """`autoopt pull BUNDLE --layout ovms` writes the network instead of a bundle; a server nobody knows is refused."""
    pytest.importorskip("openvino")
    folder, out = bundle_of(tmp_path, "openvino"), tmp_path / "served"
    done = CliRunner().invoke(app, ["pull", str(folder), "--layout", "ovms", "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "tiny"]
    done = CliRunner().invoke(app, ["pull", str(folder), "--layout", "tfs", "-o", str(tmp_path / "other")])
    assert isinstance(done.exception, UsageError) and "ovms, triton" in str(done.exception)
