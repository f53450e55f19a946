"""The wheel: what is in it, how large it is, and that it says what the source says. Built as a release is."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import autoopt

ROOT = Path(__file__).resolve().parents[2]
LARGEST_BYTES = 20_000_000
"""A wheel that pip downloads at once; the demo weights may take 5 MB of it."""
LARGEST_WEIGHTS_BYTES = 5_000_000

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="the tests run without the source tree")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source tree with what is installed: no network."""
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    """The paths in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def info(wheel: Path) -> dict[str, str]:
    """The files of its dist-info folder, by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {
            name.rpartition("/")[2]: archive.read(name).decode()
            for name in archive.namelist()
            if ".dist-info/" in name and not name.endswith("/RECORD")
        }


def test_it_holds_every_module_and_the_type_marker(names: set[str]) -> None:
    """Every Python file of the package is in the wheel, and py.typed with them."""
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "autoopt").rglob("*.py")}

    assert modules <= names
    assert "autoopt/py.typed" in names


def test_it_holds_the_spaces_and_the_demo_weights(names: set[str]) -> None:
    """A search needs nothing but the wheel: every shipped space and the weights of the demo are inside."""
    spaces = {f"autoopt/search_spaces/{path.name}" for path in (ROOT / "search_spaces").glob("*.yaml")}
    weights = {str(path.relative_to(ROOT)) for path in (ROOT / "autoopt").rglob("*.safetensors")}

    assert spaces <= names
    assert {"autoopt/search_spaces/default.yaml", "autoopt/search_spaces/quick.yaml"} <= names
    assert weights <= names
    assert "autoopt/workloads/weights/histo-demo.safetensors" in names


def test_it_holds_nothing_else(names: set[str]) -> None:
    """Only the package and its metadata are installed: no tests, no caches, no state."""
    assert {name.split("/")[0] for name in names} == {"autoopt", f"autoopt-{autoopt.__version__}.dist-info"}
    assert [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".db"))] == []


def test_it_is_small(wheel: Path) -> None:
    """The wheel is at most 20 MB and each of its weights at most 5 MB."""
    assert wheel.stat().st_size <= LARGEST_BYTES
    with zipfile.ZipFile(wheel) as archive:
        sizes = {item.filename: item.file_size for item in archive.infolist()}
    assert all(size <= LARGEST_WEIGHTS_BYTES for name, size in sizes.items() if name.endswith(".safetensors"))


def test_its_metadata_says_what_the_source_says(info: dict[str, str]) -> None:
    """Version, command and licence are those of the source; the torch range excludes an untested next minor version."""
    metadata = Parser().parsestr(info["METADATA"])

    assert metadata["Version"] == autoopt.__version__
    assert "autoopt = autoopt.cli:main" in info["entry_points.txt"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "Apache License" in info["LICENSE"]
    assert any(re.match(r"torch<2\.14,>=2\.13", item) for item in metadata.get_all("Requires-Dist") or [])


def test_every_requirement_has_an_exact_version() -> None:
    """constraints.txt names one version, without a local part, for every requirement of the project and its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(item for extra in project["optional-dependencies"].values() for item in extra),
    ]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pinned = dict(line.split("==") for line in lines)

    names = {_name(re.split(r"[\[<>=~! ]", item)[0]) for item in wanted} - {"autoopt"}
    assert names <= {_name(name) for name in pinned}
    assert [version for version in pinned.values() if "+" in version or "@" in version] == []


def _name(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
