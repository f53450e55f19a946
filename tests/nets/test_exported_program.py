"""Archives of `torch.export.save`."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoopt.errors import WeightsError
from autoopt.nets.exported_program import exported_weights, is_exported
from autoopt.nets.weights import load_weights
from tests import tiny

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network as an exported program."""
    torch.manual_seed(2)
    program = torch.export.export(tiny.build().eval(), (torch.rand(1, 3, 16, 16),))
    path: Path = tmp_path_factory.mktemp("exported") / "net.pt2"
    torch.export.save(program, path)
    return path


def test_an_exported_program_gives_its_weights(archive: Path) -> None:
    """Names and values are those of the network that was exported."""
    torch.manual_seed(2)
    expected, other = tiny.build().state_dict(), tiny.build()
    assert is_exported(archive)
    found = exported_weights(archive)
    assert found.keys() == expected.keys() and all(torch.equal(item, expected[name]) for name, item in found.items())
    load_weights(other, archive)
    assert all(torch.equal(item, expected[name]) for name, item in other.state_dict().items())


def altered(archive: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of the archive with another table."""
    path = folder / "other.pt2"
    shutil.copy(archive, path)
    with zipfile.ZipFile(archive) as before, zipfile.ZipFile(path, "w") as after:
        for item in before.infolist():
            data = before.read(item)
            if item.filename.endswith("_weights_config.json"):
                table = json.loads(data)
                change(table)
                data = json.dumps(table).encode()
            after.writestr(item.filename, data)
    return path


def each(**fields: Any) -> Callable[[dict[str, Any]], object]:
    return lambda table: [entry.update(fields) for entry in table["config"].values()]


def each_shape(**fields: Any) -> Callable[[dict[str, Any]], object]:
    return lambda table: [entry["tensor_meta"].update(fields) for entry in table["config"].values()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (each(use_pickle=True), "must be plain numbers, it is an object"),
        (each(path_name="../../secret"), "must have a file and a shape"),
        (each(tensor_meta=None), "must have a file and a shape"),
        (each_shape(dtype=99), "it is number 99"),
        (each_shape(storage_offset={"as_int": 10**9}), "must lie within its file"),
        (each_shape(sizes=[{"as_int": -1}]), "whole numbers as sizes"),
        (each_shape(strides=[{"as_expr": "x"}]), "whole numbers as sizes and strides"),
        (lambda table: table.update(config=[]), "must have a table called config"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    archive: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    """Nothing outside of the archive is read, no memory beyond a tensor's own, and nothing is unpickled."""
    path = altered(archive, tmp_path, change)
    with pytest.raises(ValueError, match=message):
        exported_weights(path)
    with pytest.raises(WeightsError, match="cannot be read"):
        load_weights(tiny.build(), path)
