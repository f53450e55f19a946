"""What is installed on a target: a wheel of what runs here, and its versions."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autoopt.cli import app
from autoopt.deploy.slim_wheel import SCRIPTS, requirements
from autoopt.errors import UsageError

ROOT = Path(__file__).parents[2]


def test_pack(tmp_path: Path) -> None:
    """The wheel has the package, its two commands and the digest of every file, and is the same each time."""
    pytest.importorskip("openvino")
    wheels = []
    for name in ("one", "two"):
        done = CliRunner().invoke(app, ["target", "pack", "-o", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
        (wheel,) = (tmp_path / name).glob("autoopt-*.whl")
        wheels.append(wheel.read_bytes())
    assert wheels[0] == wheels[1]
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (record,) = (name for name in names if name.endswith("/RECORD"))
        lines = archive.read(record).decode().splitlines()
    assert "autoopt/measure/remote/keeper.py" in names and not any("__pycache__" in name for name in names)
    assert {line.split(",")[0] for line in lines} == set(names)
    needed = (tmp_path / "one" / "requirements.txt").read_text()
    assert "openvino==" in needed and "numpy==" in needed and "torch" not in needed


def test_scripts() -> None:
    """The wheel installs the commands that pyproject.toml names."""
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"] == SCRIPTS


@pytest.mark.parametrize("name", ["fake", "torch", "pytest"])
def test_an_unknown_runtime(name: str) -> None:
    """What is no runtime with a library is refused, naming those that are; so is PyTorch, which no target needs."""
    with pytest.raises(UsageError, match=f"--runtime must be one of openvino, onnxruntime, got '{name}'"):
        requirements([name])
