"""A damaged study.db, mlflow.db or artifact.json is read, or refused as a storage, in little time and memory."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.core.store import MANIFEST, Store
from autoopt.study.space import load_space
from autoopt.study.study import open_study
from autoopt.tracking.tracker import Tracker
from tests.fuzz.probe import ACCEPTED, REFUSED, Probe
from tests.fuzz.strategies import ODD, altered, damaged, examples, nested
from tests.fuzz.targets import HOST
from tests.study.test_storage import SPACE, card, spend

Probes = Callable[[str], Probe]
ATTRIBUTES = ("study_user_attributes", "trial_user_attributes", "study_system_attributes", "trial_system_attributes")


@pytest.fixture(scope="module")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a study of four trials."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "space.yaml").write_text(SPACE)
    space = load_space(folder / "space.yaml", HOST)
    with open_study(f"sqlite:///{folder / 'study.db'}", card(space), space) as study:
        spend(study, 4)
    return folder / "study.db"


@pytest.fixture(scope="module")
def mlflow_file(tmp_path_factory: pytest.TempPathFactory, study_file: Path) -> Path:
    """A home folder's MLflow with that study in it."""
    from autoopt.study.storage import read_study

    home = tmp_path_factory.mktemp("home")
    found = read_study(f"sqlite:///{study_file}", None)
    tracker = Tracker(f"sqlite:///{home / 'mlflow.db'}", home)
    tracker.open(found)
    for record in found.judged:
        tracker.trial(record, found)
    tracker.close("finished")
    return home / "mlflow.db"


def altered_rows(file: Path, draw: Callable[[Any], Any]) -> None:
    """Change the JSON in one row of a database of Optuna."""
    with closing(sqlite3.connect(file)) as database, database:
        table = draw(st.sampled_from(ATTRIBUTES))
        column = f"{table.removesuffix('s')}_id"
        rows = database.execute(f"SELECT {column}, value_json FROM {table} ORDER BY 1").fetchall()
        if not rows:
            return
        row, text = rows[draw(st.integers(0, len(rows) - 1))]
        value = json.loads(text)
        new = draw(altered(value)) if isinstance(value, dict | list) else draw(st.sampled_from(ODD))
        written = draw(st.sampled_from([json.dumps(new), text[: len(text) // 2], nested(100_000), ""]))
        database.execute(f"UPDATE {table} SET value_json = ? WHERE {column} = ?", (written, row))


def cells(file: Path) -> list[tuple[str, str]]:
    """Every column, with its table, of the tables of a database that have rows."""
    with closing(sqlite3.connect(file)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        filled = [name for name in names if database.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone()]
        return [(name, row[1]) for name in filled for row in database.execute(f'PRAGMA table_info("{name}")')]


def altered_cell(file: Path, draw: Callable[[Any], Any]) -> None:
    """Put an odd value in one cell of any table of a database."""
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA ignore_check_constraints = 1")
        table, column = draw(st.sampled_from(cells(file)))
        odd = draw(st.sampled_from([None, "", "x", -1, 2**62, 1.5, b"\xff\xfe", "9" * 400, "x" * 100_000, "\x00"]))
        try:
            with database:
                database.execute(f'UPDATE "{table}" SET "{column}" = ?', (odd,))
        except sqlite3.Error:
            return  # the database itself does not take it


def tried(probe: Probe, path: Path, **arguments: Any) -> str:
    outcome = probe(path, **arguments)
    assert outcome.good, outcome
    return outcome.kind


def test_whole_storages_are_read(probe: Probes, study_file: Path, mlflow_file: Path) -> None:
    """The storages that all others here are made of can be used."""
    assert tried(probe("study"), study_file) == ACCEPTED
    assert tried(probe("mlflow"), mlflow_file, study="s") == ACCEPTED


@pytest.mark.parametrize("content", [b"", b"hello", b"SQLite format 3\0" + bytes(100), bytes(8192)])
def test_a_file_that_is_no_study_is_refused(probe: Probes, tmp_path: Path, content: bytes) -> None:
    """A file of another kind in the place of study.db is refused in words."""
    (tmp_path / "study.db").write_bytes(content)
    assert tried(probe("study"), tmp_path / "study.db") == REFUSED


@examples(15)
@given(data=st.data())
def test_a_flipped_bit_in_a_study_is_refused_or_harmless(probe: Probes, study_file: Path, data: st.DataObject) -> None:
    """A study.db with any bytes changed is read, or refused as a storage."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "study.db"
        path.write_bytes(data.draw(damaged(study_file.read_bytes())))
        tried(probe("study"), path)


@examples(15)
@given(data=st.data())
def test_odd_values_in_a_study_are_refused_or_harmless(probe: Probes, study_file: Path, data: st.DataObject) -> None:
    """A study.db with odd JSON in a row, or an odd value in a cell, is read, or refused as a storage."""
    with TemporaryDirectory() as folder:
        path = Path(shutil.copy(study_file, folder))
        data.draw(st.sampled_from([altered_rows, altered_rows, altered_cell]))(path, data.draw)
        tried(probe("study"), path)


def test_a_long_text_in_any_cell_of_a_study_is_refused_briefly(probe: Probes, study_file: Path, tmp_path: Path) -> None:
    """A study.db with a hundred thousand letters in any of its columns is read, or refused without repeating them."""
    read = probe("study")
    for table, column in cells(study_file):
        path = Path(shutil.copy(study_file, tmp_path / "study.db"))
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA ignore_check_constraints = 1")
            try:
                with database:
                    database.execute(f'UPDATE "{table}" SET "{column}" = ?', ("x" * 100_000,))
            except sqlite3.Error:
                continue  # the database itself does not take it
        assert read(path).good, f"{table}.{column}"


@examples(6)
@given(data=st.data())
def test_a_damaged_mlflow_is_refused_or_harmless(probe: Probes, mlflow_file: Path, data: st.DataObject) -> None:
    """An mlflow.db with any bytes changed, or an odd value in a cell, is used, or refused as a tracking database."""
    with TemporaryDirectory() as folder:
        path = Path(shutil.copytree(mlflow_file.parent, Path(folder) / "home")) / "mlflow.db"
        if data.draw(st.booleans()):
            path.write_bytes(data.draw(damaged(path.read_bytes())))
        else:
            altered_cell(path, data.draw)
        tried(probe("mlflow"), path, study="s")


def made_store(root: Path) -> Path:
    def build(folder: Path) -> dict[str, Any]:
        (folder / "model.bin").write_bytes(b"weights")
        (folder / "inner").mkdir()
        (folder / "inner" / "notes.txt").write_text("below a folder")
        return {"bytes": 7}

    return Store(root).put("model", "key", {"step": "export"}, build).path / MANIFEST


BAD_MANIFESTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a path that escapes": lambda m: m["files"].update({"../../x": {"sha256": "0", "bytes": 1}}),
    "a path from the root": lambda m: m["files"].update({"/etc/passwd": {"sha256": "0", "bytes": 1}}),
    "a path that is too long": lambda m: m["files"].update({"x" * 5000: {"sha256": "0", "bytes": 1}}),
    "a path that cannot be written": lambda m: m["files"].update({"\ud800": {"sha256": "0", "bytes": 1}}),
    "files that are a list": lambda m: m.update(files=[1]),
    "a file without a digest": lambda m: m["files"].update({"model.bin": {}}),
    "bytes in words": lambda m: m["files"].update({"model.bin": {"sha256": "0", "bytes": "many"}}),
    "a report that is none": lambda m: m.update(report=[1]),
    "a maker that is none": lambda m: m.update(made_by="x"),
    "another schema": lambda m: m.update(schema=["long " * 100_000]),
    "another key": lambda m: m.update(key="other"),
}


@pytest.mark.parametrize("name", BAD_MANIFESTS)
def test_a_manifest_that_cannot_be_right_is_refused(probe: Probes, tmp_path: Path, name: str) -> None:
    """A manifest of an artifact that escapes, or whose fields are of another kind, is refused in words."""
    path = made_store(tmp_path / "store")
    manifest = json.loads(path.read_text())
    BAD_MANIFESTS[name](manifest)
    path.write_text(json.dumps(manifest))
    assert tried(probe("store"), tmp_path / "store") == REFUSED


@pytest.mark.parametrize("text", [nested(100_000), "[]", "", "\0", '{"x": [' + "[]," * 5_000_000 + "1]}"])
def test_a_manifest_that_is_none_is_refused(probe: Probes, tmp_path: Path, text: str) -> None:
    """A manifest that is deep, huge or of another kind is refused in words."""
    made_store(tmp_path / "store").write_text(text)
    assert tried(probe("store"), tmp_path / "store") == REFUSED


@examples(40)
@given(data=st.data())
def test_a_damaged_manifest_is_refused_or_harmless(probe: Probes, data: st.DataObject) -> None:
    """A manifest with any bytes changed, or odd values in any place, is read, or refused."""
    with TemporaryDirectory() as folder:
        path = made_store(Path(folder) / "store")
        whole = path.read_bytes()
        if data.draw(st.booleans()):
            path.write_bytes(data.draw(damaged(whole)))
        else:
            path.write_text(json.dumps(data.draw(altered(json.loads(whole)))))
        tried(probe("store"), Path(folder) / "store")
