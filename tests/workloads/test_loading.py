"""Loading a workload: where it is found, and what is said when it is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from autoopt.errors import DataError, WorkloadError
from autoopt.workloads.loading import imports_of, load_again, load_workload

USER_FILE = """
from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from autoopt.errors import DataError
from tests import tiny


@dataclass
class Mine:
    name: str


def workload(data: Path | None):
    return replace(tiny.workload(), name=Mine(f"on {data.name if data else 'nothing'}").name)

def remarking():
    return replace(tiny.workload(), remarks=("the masks were turned",))

def no_arguments():
    return tiny.workload()

def wrong():
    return 3

def broken():
    raise RuntimeError("no such scanner")

def bad_data(data):
    raise DataError("x.png is damaged")

NOT_A_FUNCTION = 1
"""


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(USER_FILE)
    return path


def test_remarks_are_made_once(user_file: Path, tmp_path: Path) -> None:
    """What was understood without being asked is told when a workload is loaded, not again in the child processes."""
    told: list[str] = []
    found = load_workload(f"{user_file}:remarking", None, tmp_path, on_remark=told.append)
    assert told == ["the masks were turned"] and found.origin is not None
    assert load_again(found.origin).remarks == ("the masks were turned",)
    assert len(told) == 1


def test_a_file_anywhere(user_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workload is found in a file by a relative path, gets the data folder, and can be loaded again elsewhere."""
    monkeypatch.chdir(user_file.parent)
    found = load_workload("mine.py:workload", tmp_path / "data", tmp_path / "home")
    assert (found.name, found.title, found.demo) == ("on data", "on data", False)
    assert found.origin is not None
    assert found.origin.source == f"{user_file}:workload"
    monkeypatch.chdir("/")
    assert load_again(found.origin).name == "on data"
    assert load_workload(f"{user_file}:workload", None, tmp_path).name == "on nothing"
    assert load_workload(f"{user_file}:no_arguments", tmp_path, tmp_path).name == "tiny"


def test_a_module(tmp_path: Path) -> None:
    """A workload is found in an installed module."""
    assert load_workload("tests.tiny:workload", None, tmp_path).name == "tiny"


def test_two_files_of_one_name(tmp_path: Path) -> None:
    """Two user files called the same do not get into each other's way."""
    found = []
    for name in ("a", "b"):
        path = tmp_path / name / "mine.py"
        path.parent.mkdir()
        path.write_text(USER_FILE.replace("on {", f"{name} {{"))
        found.append(load_workload(f"{path}:workload", None, tmp_path).name)
    assert found == ["a nothing", "b nothing"]


def test_a_file_in_a_package_may_use_the_others(
    user_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with relative imports is imported by its name in its package; where that is another's, it is refused."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder = tmp_path / "autoopt_test_package" / "inner"
    folder.mkdir(parents=True)
    for path in (folder, folder.parent):
        (path / "__init__.py").write_text("")
    (folder / "parts.py").write_text(user_file.read_text())
    (folder / "model.py").write_text("from .parts import *\nfrom .. import inner\n")
    assert load_workload(f"{folder / 'model.py'}:workload", None, tmp_path).name == "on nothing"
    other = tmp_path / "json"
    other.mkdir()
    (other / "__init__.py").write_text("")
    (other / "decoder.py").write_text("")
    with pytest.raises(WorkloadError, match=r"is part of the package json, but that name stands for another one"):
        load_workload(f"{other / 'decoder.py'}:workload", None, tmp_path)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (
            "histology",
            "no workload is called 'histology': use one of brain, cardiac, dfu, histo, timeseries, or your own",
        ),
        ("nowhere.py:workload", "the file nowhere.py does not exist"),
        ("no.such.module:workload", "no.such.module cannot be imported: ModuleNotFoundError"),
        ("FILE:missing", "has no function 'missing'"),
        ("FILE:NOT_A_FUNCTION", "has no function 'NOT_A_FUNCTION'"),
        ("FILE:wrong", "must return an autoopt.Workload, it returned int"),
        ("FILE:broken", "failed with RuntimeError: no such scanner"),
    ],
)
def test_a_workload_that_cannot_be_had(source: str, says: str, user_file: Path, tmp_path: Path) -> None:
    """Each way not to find a workload is one sentence that names what was asked for."""
    with pytest.raises(WorkloadError, match=says):
        load_workload(source.replace("FILE", str(user_file)), None, tmp_path)


def test_errors_of_user_code_pass(user_file: Path, tmp_path: Path) -> None:
    """A user's own data error passes unchanged; a file that does not run is named and not half-imported."""
    with pytest.raises(DataError, match=r"^x\.png is damaged$"):
        load_workload(f"{user_file}:bad_data", None, tmp_path)
    user_file.write_text("1 / 0")
    before = set(sys.modules)
    with pytest.raises(WorkloadError, match=r"mine.py cannot be imported: ZeroDivisionError"):
        load_workload(f"{user_file}:workload", None, tmp_path)
    assert set(sys.modules) <= before


def test_a_function_takes_its_options(tmp_path: Path) -> None:
    """The options of a workload of one's own are arguments of its function; others are refused."""
    (tmp_path / "mine.py").write_text(
        "from tests import tiny\nfrom dataclasses import replace\n"
        "def workload(data, width='8'):\n    return replace(tiny.workload(), name=f'tiny-{width}')\n"
    )
    source = f"{tmp_path / 'mine.py'}:workload"
    loaded = load_workload(source, None, tmp_path, {"width": "16"})
    assert loaded.name == "tiny-16" and loaded.origin is not None and load_again(loaded.origin).name == "tiny-16"
    with pytest.raises(WorkloadError, match=r"must take the option\(s\) depth"):
        load_workload(source, None, tmp_path, {"depth": "3"})


def test_a_model_is_found_or_explained(tmp_path: Path) -> None:
    """A model without cases, or of no known kind, is refused with what is possible."""
    with pytest.raises(WorkloadError, match="needs cases: give --data DIR"):
        load_workload("model:net.onnx", None, tmp_path)
    with pytest.raises(WorkloadError, match=r"must be an ONNX file, .* net\.tflite is not there"):
        load_workload("model:net.tflite", tmp_path, tmp_path)


def test_what_a_network_imports_is_known_beforehand(tmp_path: Path) -> None:
    """MONAI takes seconds to import, so it is named for what builds its networks, and for nothing else."""
    monai = ("monai.networks.nets",)
    assert {source: imports_of(source) for source in ("histo", "dfu", f"model:{tmp_path}")} == {
        "histo": monai,
        "dfu": monai,
        f"model:{tmp_path}": monai,
    }
    for source in ("brain", "cardiac", "model:net.onnx", "model:nets.py:build", "model:net.tflite", "mine.py:workload"):
        assert imports_of(source) == ()
