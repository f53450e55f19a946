"""The one reader of tables of cases: which columns say what, and what is wrong with a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoopt.workloads.data.columns import split_named
from autoopt.workloads.data.manifest import Manifest, file_below, lines_of_files, read_manifest


def manifest(path: Path, text: str, **more: object) -> tuple[Manifest | None, list[str]]:
    path.write_text(text)
    problems: list[str] = []
    return read_manifest(path, problems, **more), problems  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("header", "group", "split"),
    [
        ("name,patient,split", "patient", "split"),
        ("name,Patient_ID,SPLIT", "Patient_ID", "SPLIT"),
        ("name,case,group", "group", None),
        ("name,SubjectID,Split", "SubjectID", "Split"),
        ("name,scanner", None, None),
    ],
)
def test_columns_are_found_however_they_are_written(
    tmp_path: Path, header: str, group: str | None, split: str | None
) -> None:
    """The patient and the split have many names, in any case; the first known name of the patient counts."""
    found, problems = manifest(tmp_path / "manifest.csv", f"{header}\n")
    assert found is not None and not problems
    assert (found.group, found.split) == (group, split)


def test_the_usual_column_of_a_workload_counts_first(tmp_path: Path) -> None:
    """Where a workload's own name of the patient is there, another such column is a tag."""
    found, _ = manifest(tmp_path / "m.csv", "name,case,split,group\na,p1,train,site-2\n", group="case")
    assert found is not None and found.group == "case"
    assert found.tags(found.lines[0], "name") == {"group": "site-2"}


def test_what_must_be_there(tmp_path: Path) -> None:
    """A built-in workload needs the patient and the split; the message has what is there."""
    found, problems = manifest(tmp_path / "m.csv", "name,person\n", group="patient")
    assert found is None
    assert problems == [
        f"{tmp_path / 'm.csv'} must have the columns name, patient, split; patient, split missing, it has name, person"
    ]
    (tmp_path / "m.csv").write_bytes(b"name\n\xff\xfe")
    assert read_manifest(tmp_path / "m.csv", problems) is None and "must be CSV text in UTF-8" in problems[1]


def test_patient_and_split_of_a_line(tmp_path: Path) -> None:
    """Space around a patient means nothing, an empty one is named with its line, and so is an unknown split."""
    text = "name,patient,split\na, p1 ,Validation\nb,,train\nc,p3,trian\nd,p4,\n"
    found, problems = manifest(tmp_path / "m.csv", text)
    assert found is not None
    got = [found.group_and_split(line, line["name"], problems) for line in found.lines]
    assert got == [("p1", "val"), ("", "train"), ("p3", None), ("p4", None)]
    assert [text.partition("m.csv ")[2] for text in problems] == [
        "line 3: patient must not be empty, it keeps a patient in one split",
        "line 4: split must be train, val, test or calibration, got 'trian'",
    ]


def test_every_file_once(tmp_path: Path) -> None:
    """Names that are missing, unknown or twice are named; files that cannot be used may be listed or not."""
    text = "name\nb\na\nb\nx\nspare\n"
    found, problems = manifest(tmp_path / "m.csv", text)
    assert found is not None
    lines = lines_of_files(
        found, {"a": (), "b": (), "c": ()}, problems, described="images/ without .png", others=["spare", "gone"]
    )
    assert list(lines) == ["b", "a"]
    assert [text.partition("m.csv ")[2] for text in problems] == [
        "line 4: name 'b' is there twice",
        "line 5: name must be that of a file in images/ without .png, there is no 'x'",
        "must list every file, c is missing",
    ]
    empty, problems = manifest(tmp_path / "m.csv", "name\n")
    assert empty is not None and lines_of_files(empty, {"a": ()}, problems, described="") == {}
    assert problems == [f"{tmp_path / 'm.csv'} must list every file, it has no lines"]


@pytest.mark.parametrize("text", ["../a.png", "/etc/passwd", "C:\\a.png", "", ".", "a/../../b"])
def test_no_file_above_the_table(tmp_path: Path, text: str) -> None:
    """A table names files below its folder only."""
    problems: list[str] = []
    assert file_below(tmp_path, text, "m.csv line 2", problems) is None
    assert "must be named by its path below the folder of the table" in problems[0]


def test_files_below_the_table(tmp_path: Path) -> None:
    """Either slash does; what is not there, or can be no name, is said."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.png").touch()
    problems: list[str] = []
    assert file_below(tmp_path, "a\\b.png", "here", problems) == tmp_path / "a" / "b.png"
    assert file_below(tmp_path, "a/c.png", "here", problems) is None
    assert file_below(tmp_path, "x" * 5000, "here", problems) is None
    assert problems[0] == "here: there is no file 'a/c.png'" and len(problems) == 2


def test_names_of_splits() -> None:
    """The usual spellings of a split are known; an empty one is none given."""
    problems: list[str] = []
    assert [split_named(text, "here", problems) for text in ("Train", "valid", " testing ", "")] == [
        "train",
        "val",
        "test",
        None,
    ]
    assert not problems
